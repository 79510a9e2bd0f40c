"""The summary of an experiment, from synthetic cells written the way a run writes them."""

import dataclasses
import re

import numpy as np
import pandas as pd
import pytest

import summarize_tail_v1
from rtc.control import timeline
from rtc.control.timeline import EpisodeTrace
from rtc.policies import checkpoints
from rtc.report import figures
from rtc.report import tail_v1 as report_tail_v1
from rtc.shared import commands, files, provenance, tables
from rtc.study import cells
from rtc.study.cells import Cell
from rtc.study.protocols import tail_v1

PROFILES, METHODS, SEEDS = ("long_tail", "tail_controlled"), ("naive", "realtime"), (0, 1)
SOLVE_RATE = {"naive": 0.5, "realtime": 0.75}
EPISODES = 24


def config(profile, method, seed):
    return {
        "num_evals": EPISODES,
        "num_flow_steps": 5,
        "method": method,
        "seed": seed,
        "delay_profile": {"p_spike": 0.05, "tail_cap": 2 if profile == "tail_controlled" else None},
        "estimator": {"kind": "window_max", "window": 5},
        "execution": {"execute_horizon": 1, "horizon": "fixed"},
        "model": {"action_chunk_size": 4},
    }


def episodes(rate, seed, bonus):
    rng = np.random.default_rng(seed)  # the same in all groups, like common random numbers
    luck = rng.permutation(EPISODES) / EPISODES
    frame = pd.DataFrame({"episode": np.arange(EPISODES), "returned_episode_solved": (luck < rate).astype(int)})
    frame["returned_episode_returns"] = luck + bonus
    frame["returned_episode_lengths"] = rng.integers(40, 256, EPISODES)
    for column in ("max_delta_action", "max_ddelta_action", "rms_ddelta_action"):
        frame[column] = rng.uniform(0.1, 1.0, EPISODES)
    return frame


def write(root, profile, method, seed, *, rate=None, changes=None):
    cell = Cell(profile, method, seed, "grasp_easy")
    tail = {"long_tail": 4, "tail_controlled": 2}.get(profile, 0)
    frame = episodes(SOLVE_RATE[method] if rate is None else rate, seed, bonus=0.25 * (tail == 2))
    inputs = {
        "config": config(profile, method, seed),
        "checkpoint_sha256": "c" * 64,
        "level_sha256": "l" * 64,
        "code_version": "v" * 64,
    } | (changes or {})
    row = frame.drop(columns="episode").mean().to_dict()
    row |= {"d_p50": 0.0, "d_p95": float(tail), "d_p99": float(tail), "p_violate": 0.05 * (tail > 3)}
    row |= {"starved_fraction": 0.01 * tail, "p_starve_condition": 0.05 * (tail > 3)}
    record = {"git_commit": "f" * 40, "git_dirty": False, "packages": {"jax": "0.9.0"}, "device_kind": "cpu"}
    record |= {"command": "python exp/run.py", "start_time_utc": "2026-01-01T00:00:00+00:00", "wall_s": 1.5}
    counts = {0: 90, 1: 5, tail: 5} if tail else {0: 100}
    key = provenance.fingerprint(**inputs)
    return cells.write_cell(root, cell, key, row, frame, counts, record, inputs=inputs)


@pytest.fixture
def roots(tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoints, "policy_path", lambda run_path, level_path: run_path)
    monkeypatch.setattr(checkpoints, "sha256", lambda path: "c" * 64)
    root, baseline = tmp_path / "tail_v1", tmp_path / "stepA"
    for profile in PROFILES:
        for method in METHODS:
            for seed in SEEDS:
                write(root, profile, method, seed)
    for seed in SEEDS:
        write(baseline, "no_delay", "naive", seed, rate=0.9)
    return root, baseline


def summarise(roots):
    root, baseline = roots
    argv = ["--output-root", str(root), "--baseline-root", str(baseline), "--num-evals", str(EPISODES), "--seeds"]
    argv += [str(seed) for seed in SEEDS]
    commands.start(summarize_tail_v1.Arguments, summarize_tail_v1.run, "", argv)
    return (root / "summary.md").read_text()


def text_of(roots):
    experiment = load(roots)
    return report_tail_v1.markdown(experiment, tail_v1.summarise(experiment), [], "command")


def load(roots, **changes):
    arguments = summarize_tail_v1.Arguments(
        output_root=str(roots[0]), baseline_root=str(roots[1]), seeds=SEEDS, num_evals=EPISODES
    )
    return summarize_tail_v1.load(dataclasses.replace(arguments, **changes))


def trace():
    ticks = np.arange(40)
    query = ticks % 2 == 0
    return EpisodeTrace(
        query=query,
        delay=np.where(query, np.where(ticks == 20, 4, ticks % 4 // 2), -1),
        planned_delay=np.where(query, 1, -1),
        length_executed=np.where(query, 2, -1),
        age=np.where(ticks == 22, -1, ticks % 2),
        action=np.sin(ticks[:, None] / [5, 9]),
        horizon=4,
        description="realtime",
    )


def test_report_contains_every_part(roots, capsys):
    shown = Cell("long_tail", "realtime", 0, "grasp_easy")
    files.atomic_write(cells.cell_dir(roots[0], shown) / cells.TRACE, timeline.to_bytes(trace()))
    text = summarise(roots)
    assert re.findall(r"^## (.*)", text, re.MULTILINE) == [
        "Verdict",
        "Results",
        "Paired differences",
        "Figures",
        "Protocol",
        "Provenance",
        "Metrics",
        "Cautions",
    ]
    for line in (
        "- **PASS**: d_p99 falls: 4.0 → 2.0 ticks",
        "- **PASS**: p_violate falls: 5.0% → 0.0%",
        "75.0% → 75.0% (limit 75.0%)",
        "Conclusion: **PASS**",
        "- estimator.kind: window_max",
        "- execution.execute_horizon: 1",
        "- delay_profile.tail_cap, by profile: long_tail = None; tail_controlled = 2",
        "- method, by method: naive = naive; realtime = realtime",
        "- seed, by seed: 0 = 0; 1 = 1",
        f"- git_commit: `{'f' * 40}`",
        "- packages.jax: `0.9.0`",
        "- wall time of all cells: 12 s",
        "p_violate` is not the starvation condition",
    ):
        assert line in text
    for name in re.findall(r"\]\((figures/.*?)\)", text):
        assert (roots[0] / name).stat().st_size > 10_000
        assert (roots[0] / name).with_suffix(".svg").exists()
    assert "figures/timeline.png" in text
    printed = capsys.readouterr().out
    assert "Conclusion: **PASS**" in printed
    assert str(roots[0] / "summary.md") in printed


def test_summary_table_by_hand(roots):
    summarise(roots)
    table = files.read_csv(roots[0] / "summary.csv").set_index(["profile", "method"])
    assert list(table.index) == [*((p, m) for p in PROFILES for m in METHODS), ("zero_delay", "naive")]
    row = table.loc["tail_controlled", "realtime"]
    assert (row["seeds"], row["episodes"]) == (2, 48)
    assert row["returned_episode_solved"] == 0.75
    assert row["returned_episode_solved_std"] == 0
    assert row["returned_episode_solved_low"] == pytest.approx(0.612, abs=1e-3)  # Wilson of 36 of 48
    assert row["returned_episode_returns"] == pytest.approx(23 / 48 + 0.25)
    assert row["d_p99"] == 2
    assert len(files.read_csv(roots[0] / "results_all.csv")) == 8


def test_paired_differences_cancel_what_the_pairs_share(roots):
    table = tail_v1.differences(load(roots)).set_index(["candidate", "metric"])
    returns = table.loc["tail_controlled/naive", "returned_episode_returns"]
    assert (returns["difference"], returns["low"], returns["high"]) == pytest.approx((0.25, 0.25, 0.25))
    assert returns["pairs"] == 48
    solved = table.loc["long_tail/realtime", "returned_episode_solved"]
    assert solved["reference"] == "long_tail/naive"
    assert solved["difference"] == 0.25
    assert 0 < solved["low"] < 0.25 < solved["high"]
    shown = report_tail_v1.difference_table(tail_v1.differences(load(roots))).set_index("difference")
    assert shown.loc["tail_controlled/naive - long_tail/naive", "return"] == "+0.250 [+0.250, +0.250] *"
    assert shown.loc["tail_controlled/naive - long_tail/naive", "solved (pp)"] == "+0.0 [+0.0, +0.0]"
    assert shown.loc["long_tail/realtime - long_tail/naive", "solved (pp)"].startswith("+25.0 [")


def test_verdict_fails_when_fewer_episodes_are_solved(roots):
    for seed in SEEDS:
        write(roots[0], "tail_controlled", "realtime", seed, rate=0.5)
    text = text_of(roots)
    assert "- **FAIL**: solve rate does not fall" in text
    assert "75.0% → 50.0%" in text
    assert "Conclusion: **FAIL**" in text


@pytest.mark.parametrize(
    ("break_baseline", "reason"),
    [
        (lambda root: next(root.rglob("cell.json")).unlink(), "baseline is missing"),
        (lambda root: [write(root, "no_delay", "naive", seed, rate=0) for seed in SEEDS], "0.0% of the episodes"),
        (
            lambda root: write(root, "no_delay", "naive", 0, changes={"checkpoint_sha256": "d" * 64}),
            "another checkpoint",
        ),
    ],
)
def test_no_conclusion_without_a_working_baseline(roots, break_baseline, reason):
    break_baseline(roots[1])
    text = text_of(roots)
    assert "**No conclusion** about the policy" in text
    assert "- **NOT JUDGED**: solve rate" in text
    assert reason in text
    assert "Conclusion: **" not in text


def test_baseline_of_several_seeds(roots):
    for seed, rate in ((0, 0.75), (1, 1.0), (9, 0.0)):
        write(roots[1], "no_delay", "naive", seed, rate=rate)
    baseline = tail_v1.summarise(load(roots)).iloc[-1]
    assert (baseline["profile"], baseline["seeds"], baseline["episodes"]) == ("zero_delay", 2, 48)
    assert baseline["returned_episode_solved"] == 0.875
    assert tail_v1.judge(load(roots)).conclusive


def test_timeline_is_left_out_without_a_trace(roots):
    files.atomic_write(roots[0] / "figures" / "timeline.png", "of an earlier report")
    text = summarise(roots)
    assert "no episode trace was recorded" in text
    assert not (roots[0] / "figures" / "timeline.png").exists()


def test_missing_and_damaged_cells_are_named(roots):
    (roots[0] / "long_tail" / "naive" / "seed_1" / "cell.json").unlink()
    with (roots[0] / "tail_controlled" / "realtime" / "seed_0" / "results.csv").open("a") as file:
        file.write(" ")
    with pytest.raises(SystemExit) as stop:
        summarise(roots)
    message = str(stop.value)
    assert "2 of 8 cells are incomplete" in message
    assert "long_tail/naive/seed_1: not computed yet" in message
    assert "tail_controlled/realtime/seed_0: results.csv does not match" in message
    assert f"python exp/run_stepD_tail_v1.py --output-root {roots[0]}" in message
    assert not (roots[0] / "summary.md").exists()


def test_damaged_baseline_is_an_error(roots):
    next(roots[1].rglob("episodes.csv")).write_text("episode\n0\n")
    with pytest.raises(cells.CellError, match=r"stepA/.*: episodes.csv does not match(.|\n)*run_stepA_baseline"):
        load(roots)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"code_version": "w" * 64}, "differ in code_version"),
        ({"checkpoint_sha256": "d" * 64}, "differ in checkpoint_sha256"),
        ({"config": config("long_tail", "naive", 0) | {"num_evals": 5}}, "num_evals"),
    ],
)
def test_mixed_experiments_are_refused(roots, changes, message):
    write(roots[0], "long_tail", "naive", 0, changes=changes)
    with pytest.raises(ValueError, match=message):
        load(roots)


def test_cells_that_are_not_asked_for_stay_out(roots):
    write(roots[0], "long_tail", "realtime", 7)
    write(roots[0], "other", "realtime", 0)
    assert len(load(roots).cells) == 8


def test_another_number_of_episodes_is_an_error(roots):
    assert load(roots, num_evals=EPISODES).cells
    with pytest.raises(ValueError, match=r"the cells hold num_evals=24, not 5: .*--num-evals 5"):
        load(roots, num_evals=5)


def test_arguments_need_what_the_verdict_compares():
    with pytest.raises(ValueError, match=r"methods.*lacks realtime"):
        summarize_tail_v1.Arguments(methods=("naive",))


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
    spans = figures.chunk_spans(
        EpisodeTrace(**arrays | {"query": arrays["query"] == 1}, action=np.zeros((6, 1)), horizon=4)
    )
    found = [(span.start, span.arrival, span.end, span.executed.tolist()) for span in spans]
    assert found == [(0, 0, 4, [0]), (0, 1, 4, [1, 2, 3]), (1, 5, 5, []), (5, 5, 9, [5])]


def test_trace_round_trip(tmp_path):
    files.atomic_write(tmp_path / "timeline.npz", timeline.to_bytes(trace()))
    back = timeline.load_trace(tmp_path / "timeline.npz")
    for field in dataclasses.fields(EpisodeTrace):
        np.testing.assert_array_equal(getattr(back, field.name), getattr(trace(), field.name))
    np.savez(tmp_path / "other.npz", query=[True])
    with pytest.raises(ValueError, match="lacks delay"):
        timeline.load_trace(tmp_path / "other.npz")
    with pytest.raises(ValueError, match="age has 3 ticks"):
        dataclasses.replace(trace(), age=np.zeros(3))


def test_figures_are_reproducible(tmp_path):
    counts = {"long_tail": {0: 9, 4: 1}}
    for name in ("a", "b"):
        figures.save(figures.delay_distributions(counts, 3, log_scale=True), tmp_path / name)
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()


def test_methods_keep_distinct_colours():
    methods = ["naive", "realtime", "bid", "hard_masking", "low_noise"]
    assert len({figures.method_color(method, methods) for method in methods}) == len(methods)
