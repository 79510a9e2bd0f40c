"""Figures, timelines and previews."""

import dataclasses
import types

import numpy as np
import pandas as pd
import pytest

from rtc.control import timeline
from rtc.control.timeline import EpisodeTrace
from rtc.report import preview, web
from rtc.report.figures import delays, style
from rtc.report.figures import timeline as timeline_figure
from rtc.shared import files, tables
from rtc.study.evaluation import EvalConfig
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


def test_a_method_has_one_colour_wherever_it_is_drawn():
    methods = ["naive", "realtime", "bid", "hard_masking", "mine", "another"]
    assert len({style.method_color(method, methods) for method in methods}) == len(methods)
    assert style.method_color("bid", ["bid"]) == style.method_color("bid+oracle", methods)
    assert len(set(style.METHOD_COLORS.values())) == len(style.METHOD_COLORS)


def test_a_missing_image_is_an_error(tmp_path):
    (tmp_path / "summary.md").write_text("![x](figures/x.png)\n")
    with pytest.raises(FileNotFoundError, match=r"x\.png"):
        web.write(tmp_path, "a page", {"en": tmp_path / "summary.md"})


@pytest.mark.parametrize(
    ("actions", "tick"), [([0, 1, 2], None), ([0, 1, 5], 2), ([0, 1], 2), ([0, 1, 2, 3], 3), ([9, 1, 2], 0)]
)
def test_where_a_replay_leaves_the_record(actions, tick):
    recorded = types.SimpleNamespace(action=np.array([[0.0], [1.0], [2.0]]))
    level = types.SimpleNamespace(bound_actions=np.array([True, False]))
    replay = np.stack([np.array(actions, float), np.full(len(actions), 7.0)], axis=1)
    records = types.SimpleNamespace(actions=replay[None], length=np.array([len(actions)]))
    assert preview.first_difference(records, recorded, level) == tick


def test_a_video_of_another_episode_says_so_in_every_frame(monkeypatch):
    captions = []
    monkeypatch.setattr(preview.render, "draw", lambda shapes, caption: captions.append(caption))
    monkeypatch.setattr(preview, "shapes", lambda level, state: ())
    monkeypatch.setattr(preview.levels, "at_poses", lambda level, poses: None)
    subject = types.SimpleNamespace(level=types.SimpleNamespace(name="a", start=None))
    none = np.full((1, 2), -1)
    records = types.SimpleNamespace(length=np.array([2]), poses=(), age=none, solved=[True])
    records.delay = np.array([[0, -1]])
    list(preview.frames(subject, records, differs_from=1))
    assert len(captions) == 3
    assert all(caption[-2:] == ["replayed; differs from the", "recorded episode from tick 2"] for caption in captions)
    captions.clear()
    list(preview.frames(subject, records, starts_alike=False))
    assert len(captions) == 2
    assert not any("replayed" in line for caption in captions for line in caption)


def test_a_replay_runs_as_many_slots_as_the_record(monkeypatch):
    seen = {}

    def rollout(config, **options):
        seen.update(options)
        return {"length": np.arange(len(options["episodes"]))}

    monkeypatch.setattr(preview.jax, "local_device_count", lambda: 2)
    config = EvalConfig(num_evals=9, num_slots=3)
    shown = preview.play(
        types.SimpleNamespace(rollout=rollout), config, dataclasses.replace(episode_trace(), episode=4, seed=7)
    )
    assert seen["episodes"].tolist() == [4, 0, 1, 2, 3, 5]
    assert (seen["seed"], seen["num_slots"], seen["record_poses"]) == (7, 3, True)
    assert shown["length"].tolist() == [0]
