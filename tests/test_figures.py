"""Figures, timelines and previews."""

import dataclasses
import types

import numpy as np
import pandas as pd
import pytest

from rtc import methods
from rtc.control import timeline
from rtc.control.records import NEVER
from rtc.control.timeline import EpisodeTrace
from rtc.report import preview, web
from rtc.report.figures import delays, palette, rows, style
from rtc.report.figures import timeline as timeline_figure
from rtc.shared import files, tables
from rtc.study.cells import Cell, CellData
from rtc.study.evaluation import EvalConfig
from rtc.study.statistics import Interval
from stubs import episode_trace


def test_format_table():
    table = pd.DataFrame({"name": ["a|b", "c"], "value": [1.0, np.nan], "count": [3, 20]})
    assert tables.format_table(table).splitlines() == [
        "| name | value | count |",
        "| ---- | ----: | ----: |",
        r"| a\|b |     1 |     3 |",
        "| c    |   n/a |    20 |",
    ]


def test_chunk_spans_by_hand():
    # H = 4. Query 0 takes 1 tick, so the bootstrap chunk acts at tick 0; query 1 takes 4 and starves tick 4.
    values = {
        "query": [1, 1, 0, 0, 0, 1],
        "delay": [1, 4, -1, -1, -1, 0],
        "planned_delay": [0, 1, -1, -1, -1, 4],
        "length_executed": [1, 4, -1, -1, -1, 1],
        "age": [0, 1, 2, 3, -1, 0],
    }
    arrays = {name: np.array(value) for name, value in values.items()}
    spans = timeline_figure.chunk_spans(
        EpisodeTrace(**arrays | {"query": arrays["query"] == 1}, action=np.zeros((6, 1)), horizon=4)
    )
    found = [(span.start, span.arrival, span.end, span.executed.tolist()) for span in spans]
    assert found == [(0, 0, 4, [0]), (0, 1, 4, [1, 2, 3]), (1, 5, 5, []), (5, 5, 9, [5])]


def test_trace_round_trip(tmp_path):
    files.atomic_write(tmp_path / "timeline.npz", timeline.to_bytes(episode_trace()))
    back = timeline.load_trace(tmp_path / "timeline.npz")
    for field in dataclasses.fields(EpisodeTrace):
        np.testing.assert_array_equal(getattr(back, field.name), getattr(episode_trace(), field.name))
    np.savez(tmp_path / "other.npz", query=[True])
    with pytest.raises(ValueError, match="lacks delay"):
        timeline.load_trace(tmp_path / "other.npz")
    with pytest.raises(ValueError, match="age has 3 ticks"):
        dataclasses.replace(episode_trace(), age=np.zeros(3))


def test_figures_are_reproducible(tmp_path):
    for name in ("a", "b"):
        style.save(delays.distributions({"long_tail": {0: 9, 4: 1}}, 3), tmp_path / name)
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()


def test_a_method_has_one_colour_and_mark_wherever_it_is_drawn():
    assert set(palette.LOOKS) == set(methods.METHODS)
    marks = [(look.color, look.mark) for look in palette.LOOKS.values()]
    assert len(set(marks)) == len(marks)
    few, many = {"realtime+oracle": "realtime"}, {"naive": "naive", "realtime": "realtime", "realtime_q80": "realtime"}
    assert palette.looks(few)["realtime+oracle"] == palette.LOOKS["realtime"] == palette.looks(many)["realtime"]
    variant = palette.looks(many)["realtime_q80"]
    assert (variant.color, variant.mark) == (palette.LOOKS["realtime"].color, palette.LOOKS["realtime"].mark)
    assert variant.fill != palette.LOOKS["realtime"].fill
    own = palette.looks({"mine": "mine", "another": "another", "naive": "naive"})
    assert len({(look.color, look.mark) for look in own.values()}) == 3


def test_panels_have_eight_rows_at_most_and_figures_four_panels():
    def panel(count):
        row = rows.Row("naive", palette.LOOKS["naive"], Interval(0.5, 0.4, 0.6), [0.4, 0.6])
        return rows.Panel([row] * count, {"naive": 0.5})

    parts = rows.divided({"a": panel(8), "b": panel(17)})
    assert [(title, len(one.rows)) for title, one in parts.items()] == [
        ("a", 8),
        ("b (1 of 3)", 6),
        ("b (2 of 3)", 6),
        ("b (3 of 3)", 5),
    ]
    drawn = rows.figures({"a": panel(8), "b": panel(17), "c": panel(1)}, "solved", 100)
    assert list(drawn) == ["", "_2"]
    assert [len(figure.axes) for figure in drawn.values()] == [3, 2]
    for figure in drawn.values():
        assert figure.get_size_inches()[0] == style.WIDTH
        assert all(line.get_xdata()[0] == 50 for ax in figure.axes for line in ax.get_lines()[-1:])  # the reference


def test_a_missing_image_is_an_error(tmp_path):
    (tmp_path / "summary.md").write_text("![x](figures/x.png)\n")
    with pytest.raises(FileNotFoundError, match=r"x\.png"):
        web.write(tmp_path, {"en": tmp_path / "summary.md"})


def recorded(**changes):
    """A cell with two episodes of which one starves, and the records of that one."""
    frame = pd.DataFrame({"episode": [0, 1], "starved_ticks": [0, 1], "returned_episode_solved": [0, 1]})
    frame = frame.assign(returned_episode_lengths=2, returned_episode_returns=0.5, rms_ddelta_action=0.0)
    cell = CellData(Cell("long_tail", "naive", 0, "a"), {}, frame, {}, {}, {})
    values = {"length": [2], "solved": [True], "returned": [0.5], "age": [[0, NEVER]], "delay": [[4, NEVER]]}
    values |= {"actions": np.zeros((1, 2, 1))} | changes
    return cell, types.SimpleNamespace(poses=(), **{name: np.asarray(value) for name, value in values.items()})


def test_where_a_replay_is_not_the_record():
    level = types.SimpleNamespace(bound_actions=np.array([True]))
    cell, records = recorded()
    row = preview.Take(None, None, cell).row(1)
    assert preview.typical(cell) == 1
    assert preview.differences(records, row, level) == []
    _, other = recorded(solved=[False], age=[[0, 0]], actions=np.array([[[0.0], [1.0], [0.0]]]), length=[3])
    assert set(preview.differences(other, row, level)) == {
        "returned_episode_solved",
        "returned_episode_lengths",
        "rms_ddelta_action",
        "starved_ticks",
    }


def test_every_frame_of_a_preview_names_profile_and_method(monkeypatch):
    captions = []
    monkeypatch.setattr(preview.render, "draw", lambda shapes, size, caption: captions.append(caption))
    monkeypatch.setattr(preview, "shapes", lambda level, state: ())
    monkeypatch.setattr(preview.levels, "at_poses", lambda level, poses: None)
    subject = types.SimpleNamespace(level=types.SimpleNamespace(name="a", start=None))
    cell, records = recorded()
    take = preview.Take(subject, EvalConfig(), cell)
    list(preview.frames(take, records, differs=True))
    assert len(captions) == 3
    assert all(caption[:3] == ["naive", "long_tail, a", preview.DIFFERS] for caption in captions)
    captions.clear()
    list(preview.frames(dataclasses.replace(take, config=EvalConfig(start_noise=0.1)), records))
    assert [caption[:3] for caption in captions] == [["naive", "long_tail, a", f"tick {tick}"] for tick in (1, 2)]
    assert captions[1][-2:] == ["starved", "solved"]


def test_who_ends_first_stays_on_the_last_picture():
    short, long = (
        iter([np.full((2, 2, 3), value, np.uint8) for value in range(first, last)])
        for first, last in ((1, 3), (11, 14))
    )
    found = [(int(frame[0, 0, 0]), int(frame[0, -1, 0])) for frame in preview.side_by_side([short, long])]
    assert found == [(1, 11), (2, 12), (2, 13)] + [(2, 13)] * preview.HOLD_FRAMES


def test_a_replay_runs_as_many_slots_as_the_record(monkeypatch):
    seen = {}

    def rollout(config, **options):
        seen.update(options)
        return {"length": np.arange(len(options["episodes"]))}

    monkeypatch.setattr(preview.jax, "local_device_count", lambda: 2)
    config = EvalConfig(num_evals=9, num_slots=3)
    shown = preview.play(types.SimpleNamespace(rollout=rollout), config, 7, 4)
    assert seen["episodes"].tolist() == [4, 0, 1, 2, 3, 5]
    assert (seen["seed"], seen["num_slots"], seen["record_poses"]) == (7, 3, True)
    assert shown["length"].tolist() == [0]
