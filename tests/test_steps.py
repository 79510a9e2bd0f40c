"""The experiment's steps end to end on a tiny untrained policy: outputs, resume, recomputation, SIGKILL."""

import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import pandas as pd
import pytest
import tyro
from flax import nnx

import eval_flow
from model import FlowPolicy
from rtc.control import executor, timeline
from rtc.delay import profiles
from rtc.policies import checkpoints
from rtc.programs import compare_groups, tail_baseline, tail_matrix, tail_summary
from rtc.report import preview
from rtc.study import cells as results
from rtc.study import evaluation
from rtc.study import subject as subjects
from rtc.study.evaluation import EvalConfig
from rtc.study.runner import ConflictError
from stubs import TINY

ROOT = Path(__file__).resolve().parents[1]
NAME, CROWDED = "hard_lunar_lander", "grasp_easy"  # the first takes the compiler two thirds of the time
LEVEL = f"worlds/l/{NAME}.json"
SMALL = {"seeds": (0, 1), "num_evals": 4, "num_slots": 4}


@pytest.fixture(scope="module")
def run_path(tmp_path_factory):
    """A run with an untrained policy of two levels."""
    run = tmp_path_factory.mktemp("logs-bc") / "tiny"
    policy = FlowPolicy(obs_dim=679, action_dim=6, config=TINY, rngs=nnx.Rngs(0))
    for level in (NAME, CROWDED):
        checkpoints.save_policy(run / "1" / "policies" / checkpoints.level_slug(level), policy, {"note": "untrained"})
    return str(run)


@pytest.fixture(scope="module")
def step_a(run_path, tmp_path_factory):
    root = str(tmp_path_factory.mktemp("stepA"))
    args = tail_baseline.Arguments(level_path=NAME, run_path=run_path, output_root=root, **SMALL)
    tail_baseline.run(args)
    return args


@pytest.fixture(scope="module")
def compiles():
    """Programs that step D compiled."""
    return []


@pytest.fixture(scope="module")
def step_d(run_path, tmp_path_factory, compiles):
    root = str(tmp_path_factory.mktemp("stepD"))
    args = tail_matrix.Arguments(level_path=NAME, run_path=run_path, output_root=root, **SMALL)
    before = executor._run_sharded._cache_size()
    tail_matrix.run(args)
    compiles.append(executor._run_sharded._cache_size() - before)
    return args


def eval_flow_main(argv):
    eval_flow.run(tyro.cli(eval_flow.Arguments, args=argv))


def marker_times(root):
    return {path: path.stat().st_mtime_ns for path in Path(root).rglob("cell.json")}


def test_step_a_writes_results_and_video(step_a):
    table = pd.read_csv(Path(step_a.output_root) / "results.csv")
    assert tuple(table.columns[: len(results.MAIN_COLUMNS)]) == results.MAIN_COLUMNS
    assert table["seed"].tolist() == [0, 1]
    assert (table[["d_p99", "p_violate", "starved_fraction"]] == 0).all(axis=None)
    video = (Path(step_a.output_root) / "preview.mp4").read_bytes()
    assert video[4:8] == b"ftyp"
    assert len(video) > 2000
    note = json.loads((Path(step_a.output_root) / "preview.json").read_text())
    assert note["episode"].startswith(f"{NAME}, seed 0, episode ")
    assert note["episode"].endswith(": naive under no_delay")
    assert note["differs"] == {"naive under no_delay": []}


def test_preview_shows_the_recorded_episode(step_d):
    """The second pass reproduces a delayed episode action for action, and its bodies move."""
    subject = subjects.load(step_d.run_path, LEVEL)
    cell = results.Cell("long_tail", "naive", 0, NAME)
    trace = timeline.load_trace(results.cell_dir(step_d.output_root, cell) / results.TRACE)
    config = EvalConfig(num_evals=4, model=TINY, delay_profile=profiles.PROFILES["long_tail"])
    records = preview.play(subject, config, trace.seed, trace.episode)
    take = preview.Take(subject, config, results.read_cell(results.cell_dir(step_d.output_root, cell)))
    assert preview.differences(records, take.row(trace.episode), subject.level) == []
    np.testing.assert_array_equal(records.actions[0, : records.length[0]][:, subject.level.bound_actions], trace.action)
    position = records.poses[0][0][0, : records.length[0]]
    assert np.ptp(position, axis=0).max() > 0.01
    assert len(list(preview.frames(take, records))) == 1 + records.length[0]


def test_step_d_fills_the_matrix(step_d):
    table = pd.read_csv(Path(step_d.output_root) / results.COLLECTED)
    assert len(table) == 2 * 2 * 2
    by_profile = table.groupby("profile")["d_p99"].max()
    assert by_profile["tail_controlled"] <= 2
    cells = list(Path(step_d.output_root).rglob("results.csv"))
    assert len(cells) == 8
    for cell in cells:
        assert len(pd.read_csv(cell.with_name("episodes.csv"))) == 4


def test_capped_profile_has_a_shorter_tail(step_d):
    root = Path(step_d.output_root)
    counts = [
        pd.read_csv(root / profile / "naive" / "seed_0" / "delays.csv").set_index("delay_ticks")["count"]
        for profile in ("long_tail", "tail_controlled")
    ]
    assert counts[0].index.max() == 4
    assert counts[1].index.max() == 2


def test_summary_has_everything(step_a, step_d, capsys):
    args = tail_summary.Arguments(
        level_path=NAME,
        seeds=step_d.seeds,
        num_evals=4,
        run_path=step_d.run_path,
        output_root=step_d.output_root,
        baseline_root=step_a.output_root,
    )
    tail_summary.run(args)
    text = (Path(step_d.output_root) / "summary.md").read_text()
    for part in (
        "d_p99",
        "p_violate",
        "solved",
        "95",
        "long_tail",
        "tail_controlled",
        "realtime",
        "naive",
        "jax",
        "commit",
    ):
        assert part in text
    assert sum(text.count(f"**{mark}**") for mark in ("PASS", "FAIL", "BY CONSTRUCTION")) == 2
    # An untrained policy solves nothing, so the report must refuse the third verdict.
    assert "**NOT JUDGED**" in text
    assert "No conclusion" in text
    figures = list((Path(step_d.output_root) / "figures").glob("*.png"))
    assert len(figures) >= 3
    lines = capsys.readouterr().out.splitlines()
    assert any("No conclusion" in line for line in lines)
    assert lines[-1] == f"open first: {Path(step_d.output_root) / 'index.html'}"


def test_finished_cells_are_skipped(step_d, capsys):
    before = marker_times(step_d.output_root)
    tail_matrix.run(step_d)
    out = capsys.readouterr().out
    assert "0 of 8 cells to compute" in out
    assert marker_times(step_d.output_root) == before


def test_one_compile_per_method(step_d, compiles):
    """Profiles and seeds of a method share its program, so two methods need at most two."""
    assert compiles[0] <= 2


def test_a_changed_configuration_needs_a_place_of_its_own(step_d, tmp_path, capsys):
    args = dataclasses.replace(step_d, methods=("naive",), profiles=("long_tail",), output_root=str(tmp_path))
    tail_matrix.run(args)
    first = marker_times(tmp_path)
    changed = dataclasses.replace(
        args, seeds=(0,), execution=dataclasses.replace(args.execution, fallback="zero"), overwrite=False
    )
    with pytest.raises(ConflictError, match=r"execution\.fallback = none, not zero.*--overwrite"):
        tail_matrix.run(changed)
    assert marker_times(tmp_path) == first
    tail_matrix.run(dataclasses.replace(changed, overwrite=True))
    assert "(replaced)" in capsys.readouterr().out
    second = marker_times(tmp_path)
    renewed = {path for path in first if first[path] != second[path]}
    assert renewed == {tmp_path / "long_tail" / "naive" / "seed_0" / "cell.json"}


def test_eval_flow_command(run_path, tmp_path, capsys):
    common = ["--run-path", run_path, "--level-paths", LEVEL, "--output-dir", str(tmp_path), "--config.num-slots", "4"]
    argv = [*common, "--config.num-evals", "4", "--config.num-flow-steps", "5"]
    eval_flow_main(argv)
    size = ["--config.model.action-chunk-size", "4", "--config.model.channel-dim", "8"]
    eval_flow_main([*argv, *size, "--seed", "5"])
    assert capsys.readouterr().out.splitlines()[-1] == f"open first: {tmp_path / 'results.csv'}"
    eval_flow_main([*argv, "--config.execution.fallback", "zero"])
    table = pd.read_csv(tmp_path / "results.csv")
    assert table["profile"].str.fullmatch("no_delay(-[0-9a-f]{8})?").all()
    assert table.groupby("profile")["seed"].apply(list).tolist() == [[0, 5], [0]]
    assert table[["method", "level"]].drop_duplicates().to_numpy().tolist() == [["naive", NAME]]
    eval_flow_main([*argv, "--config.execution.fallback", "zero", "--name", "mine"])
    assert "mine" in pd.read_csv(tmp_path / "results.csv")["profile"].tolist()


def test_eval_flow_names_the_first_mismatch(run_path, tmp_path):
    place = ["--run-path", run_path, "--level-paths", LEVEL, "--output-dir", str(tmp_path)]
    with pytest.raises(ValueError, match=r"channel_dim.*8.*256|channel_dim.*256.*8"):
        eval_flow_main([*place, "--config.model.channel-dim", "256"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"methods": ("realtim",)}, "did you mean 'realtime'"),
        ({"profiles": ("longtail",)}, "did you mean 'long_tail'"),
        ({"level_path": "grasp_esy"}, "did you mean 'grasp_easy'"),
        ({"methods": ("trained_prefix",)}, "simulated-delay"),
        ({"num_evals": 0}, "num_evals=0"),
        ({"seeds": ()}, "seeds"),
        ({"seeds": (1, 1)}, "seeds"),
    ],
)
def test_bad_arguments_stop_before_any_work(step_d, tmp_path, change, message):
    with pytest.raises(ValueError, match=message):
        tail_matrix.run(dataclasses.replace(step_d, output_root=str(tmp_path / "out"), **change))
    assert not list(tmp_path.rglob("results.csv"))


def test_read_only_output_root_is_reported_before_any_work(step_d, monkeypatch):
    def no_work(*args, **kwargs):
        raise AssertionError("work started")

    monkeypatch.setattr(evaluation, "evaluate", no_work)
    with pytest.raises(OSError, match="output root"):
        tail_matrix.run(dataclasses.replace(step_d, output_root="/proc/exp_delta"))


def test_out_of_memory_falls_back_to_fewer_slots(step_d, monkeypatch):
    tried, run = [], executor.rollout

    def rollout(*args, num_slots, **kwargs):
        tried.append(num_slots)
        if num_slots > 4:
            raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: out of memory")
        return run(*args, num_slots=num_slots, **kwargs)

    subject = subjects.load(step_d.run_path, LEVEL)
    config = EvalConfig(num_evals=4, model=TINY, num_slots=16)
    monkeypatch.setattr(executor, "rollout", rollout)
    with pytest.warns(UserWarning, match="num_slots=4"):
        small = evaluation.evaluate(config, subject.level, subject.policy)
    assert tried == [16, 8, 4]
    direct = evaluation.evaluate(dataclasses.replace(config, num_slots=4), subject.level, subject.policy)
    assert small.summary.row == direct.summary.row


@pytest.mark.parametrize(("action", "source"), [(np.nan, "policy"), (0.0, "simulator")])
def test_non_finite_numbers_are_reported_with_their_place(step_d, monkeypatch, action, source):
    run = executor.rollout

    def rollout(*args, **kwargs):
        records = jax.tree.map(np.copy, run(*args, **kwargs))
        records.bad_tick[1], records.actions[1, 3] = 3, action
        return records

    subject = subjects.load(step_d.run_path, LEVEL)
    monkeypatch.setattr(executor, "rollout", rollout)
    place = rf"the {source} produced .* level {NAME}, method naive, seed 7, episode 1, tick 3 \(1 of 4 episodes"
    with pytest.raises(evaluation.NonFiniteError, match=place):
        evaluation.evaluate(EvalConfig(num_evals=4, model=TINY, num_slots=4), subject.level, subject.policy, seed=7)


@pytest.mark.usefixtures("usual_code_generator")
def test_slots_do_not_change_results_on_the_simulator(run_path):
    subject = subjects.load(run_path, CROWDED)
    config = EvalConfig(num_evals=6, model=TINY, num_slots=1, delay_profile=profiles.PROFILES["long_tail"])
    few = evaluation.evaluate(config, subject.level, subject.policy)
    many = evaluation.evaluate(dataclasses.replace(config, num_slots=6), subject.level, subject.policy)
    for name in set(few.records._fields) - {"slot_ticks", "poses"}:
        np.testing.assert_array_equal(getattr(few.records, name), getattr(many.records, name), err_msg=name)


def test_groups_are_compared_in_pairs(step_a, step_d, run_path, tmp_path, capsys):
    groups = [f"{step_d.output_root}/{profile}/naive" for profile in ("tail_controlled", "long_tail")]
    compare_groups.run(compare_groups.Arguments(*groups))
    assert "over 8 pairs" in capsys.readouterr().out
    compare_groups.run(compare_groups.Arguments(groups[0], f"{step_a.output_root}/no_delay/naive"))
    with pytest.raises(ValueError, match="holds no cells"):
        compare_groups.run(compare_groups.Arguments(step_d.output_root, groups[0]))
    shutil.copytree(groups[1], tmp_path / "group")
    for marker in (tmp_path / "group").rglob("cell.json"):
        facts = json.loads(marker.read_text())
        facts["inputs"]["checkpoint_sha256"] = "another"
        marker.write_text(json.dumps(facts))
    with pytest.raises(ValueError, match="different policies"):
        compare_groups.run(compare_groups.Arguments(groups[0], str(tmp_path / "group")))


def test_a_folder_that_is_no_seed_s_is_named(tmp_path):
    (tmp_path / "seed_0").mkdir()
    (tmp_path / "seed_old").mkdir()
    with pytest.raises(ValueError, match=r"seed_old is no cell seed_<n>: move it out of the group"):
        compare_groups.read_group(str(tmp_path))


def test_killed_run_resumes(step_d, tmp_path):
    """SIGKILL after the first finished cell: the rest is computed later, and that cell is not touched again."""
    command = [
        sys.executable, "exp/run_stepD_tail_v1.py", "--run-path", step_d.run_path, "--level-path", NAME,
        "--num-evals", "4", "--seeds", "0", "1", "--methods", "naive", "--num-slots", "4",
        "--output-root", str(tmp_path),
    ]  # fmt: skip
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src")}
    process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 300
    while not marker_times(tmp_path) and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    survivors = marker_times(tmp_path)
    assert survivors
    args = dataclasses.replace(step_d, methods=("naive",), output_root=str(tmp_path))
    tail_matrix.run(args)
    after = marker_times(tmp_path)
    assert len(after) == 4
    assert {path: after[path] for path in survivors} == survivors
    assert not list(tmp_path.rglob("*.tmp-*"))
    killed = pd.read_csv(tmp_path / results.COLLECTED).set_index(["profile", "method", "seed"])
    whole = pd.read_csv(Path(step_d.output_root) / results.COLLECTED).set_index(["profile", "method", "seed"])
    timing = ["wall_s", "slot_utilisation"]
    pd.testing.assert_frame_equal(killed.drop(columns=timing), whole.loc[killed.index].drop(columns=timing))
