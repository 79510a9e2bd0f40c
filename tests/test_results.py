"""Cells on disk: atomic, verified, resumable."""

import dataclasses
import errno
import json
import os
import random
import signal
import subprocess
import sys
import time
import types
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from rtc.control.controller import ExecutionConfig
from rtc.delay.profiles import DelayProfileConfig
from rtc.methods import MethodOptions
from rtc.policies.mixer import ModelConfig
from rtc.shared import files as results_files
from rtc.shared import provenance
from rtc.study import cells as results_cells
from rtc.study import identity
from rtc.study.cells import Cell, CellError
from rtc.study.evaluation import EvalConfig, ModelSize
from rtc.study.subject import FlowSubject
from rtc.study.tokens import Decoding
from rtc.worlds.kinetix import levels

CELL = Cell("long_tail", "realtime", 3, "grasp_easy")
INPUTS = {"config": {"s": 1}, "checkpoint_sha256": "c", "level_sha256": "l", "code": "v"}
METRICS = dict.fromkeys(results_cells.MAIN_COLUMNS[4:], 0.5)


def write(root, cell=CELL, row=METRICS, **overrides):
    episodes = pd.DataFrame({"episode": [0, 1], "returned_episode_returns": [1 / 3, np.pi * 1e-7]})
    facts = {"inputs": INPUTS, "episodes": episodes, "delay_counts": {4: 1, 0: 7}, "provenance": {"command": "test"}}
    directory = results_cells.cell_dir(root, cell)
    results_cells.write_cell(directory, cell, result_row=row, **(facts | overrides))
    return directory


def status(directory, cell=None, inputs=None):
    return results_cells.standing(directory, cell, inputs).status


def test_atomic_write_replaces_and_leaves_nothing_else(tmp_path):
    path = tmp_path / "new" / "file.csv"
    results_files.atomic_write(path, "old")
    results_files.atomic_write(path, b"new")
    assert path.read_text() == "new"
    assert os.listdir(path.parent) == ["file.csv"]


def test_failed_write_keeps_the_old_file(tmp_path):
    path = tmp_path / "file.npz"
    results_files.atomic_write(path, "old")

    def fail_half_way():
        with results_files.atomic_path(path) as temporary:
            assert temporary.suffix == ".npz"
            temporary.write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail_half_way()
    with pytest.raises(FileNotFoundError), results_files.atomic_path(path):
        pass
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["file.npz"]


def test_cell_round_trip(tmp_path):
    directory = write(tmp_path, row={"extra": np.float32(0.1), **METRICS})
    assert directory == tmp_path / "long_tail" / "realtime" / "seed_3"
    assert status(directory, CELL, INPUTS) == "complete"
    data = results_cells.read_cell(directory)
    assert (data.cell, data.directory) == (CELL, directory)
    assert data.inputs == INPUTS
    assert data.delay_counts == {0: 7, 4: 1}
    assert list(data.result) == [*results_cells.MAIN_COLUMNS, "extra"]
    assert data.result["seed"] == 3
    assert data.result["extra"] == float(np.float32(0.1))
    assert data.episodes["returned_episode_returns"].tolist() == [1 / 3, np.pi * 1e-7]


def test_a_cell_may_have_columns_of_its_own_and_no_delays(tmp_path):
    directory = write(tmp_path, row={"steps": 3, "success": 1}, delay_counts=None, leading=("success",))
    data = results_cells.read_cell(directory, CELL)
    assert list(data.result) == ["profile", "method", "seed", "level", "success", "steps"]
    assert data.delay_counts == {}
    assert not (directory / results_cells.DELAYS).exists()


def test_attachments_are_committed_with_the_cell(tmp_path):
    directory = write(tmp_path, attachments={"timeline.npz": b"ticks"})
    assert (directory / "timeline.npz").read_bytes() == b"ticks"
    assert status(directory, CELL, INPUTS) == "complete"
    (directory / "timeline.npz").write_bytes(b"tocks")
    assert results_cells.standing(directory).reason == "timeline.npz does not match its recorded sha256"
    (directory / "timeline.npz").unlink()
    assert results_cells.standing(directory).reason == "timeline.npz is missing"


def test_csv_keeps_every_bit():
    values = np.random.default_rng(0).standard_normal(4000) * np.logspace(-30, 30, 4000)
    table = pd.DataFrame({"double": values, "single": values.astype("float32")})
    path = pd.io.common.StringIO(results_files.to_csv(table))
    back = results_files.read_csv(path)
    assert (back["double"] == values).all()
    assert (back["single"] == values.astype("float32").astype("float64")).all()


@pytest.mark.parametrize("name", ["results.csv", "episodes.csv", "delays.csv"])
def test_damaged_file_makes_a_cell_incomplete(tmp_path, name):
    directory = write(tmp_path)
    write(tmp_path, dataclasses.replace(CELL, seed=4))
    content = (directory / name).read_bytes()
    (directory / name).write_bytes(content.replace(b"0", b"1", 1))
    assert status(directory, CELL, INPUTS) == "damaged"
    with pytest.raises(CellError, match=rf"long_tail/realtime/seed_3: {name} does not match"):
        results_cells.read_cell(directory)
    assert results_cells.collect(tmp_path)["seed"].tolist() == [4]
    (directory / name).unlink()
    assert results_cells.standing(directory).reason == f"{name} is missing"


def test_other_inputs_make_another_cell_and_other_code_an_older_one(tmp_path):
    directory = write(tmp_path)
    for field in INPUTS:
        changed = INPUTS | {field: "changed"}
        assert results_cells.fingerprint(changed) != results_cells.fingerprint(INPUTS)
        assert status(directory, CELL, changed) == ("older" if field == "code" else "other")
        with pytest.raises(CellError, match="computed with another"):
            results_cells.read_cell(directory, CELL, changed)
    reason = results_cells.standing(directory, CELL, INPUTS | {"config": {"s": 2, "new": 1}, "code": "w"}).reason
    assert reason == "computed with another configuration: config.new = none, not 1; config.s = 1, not 2"
    older = results_cells.read_cell(directory, CELL, INPUTS | {"code": "changed"}, older=True)
    assert older.inputs == INPUTS


def test_a_cell_copied_to_another_place_does_not_count(tmp_path):
    other = dataclasses.replace(CELL, seed=9)
    directory = results_cells.cell_dir(tmp_path, other)
    write(tmp_path).rename(directory)
    assert status(directory, other, INPUTS) == "other"


def test_damaged_marker_is_reported(tmp_path):
    directory = write(tmp_path)
    marker = (directory / "cell.json").read_text()
    for content in ("", marker[:-20], "[]", '{"schema": 2}', marker.replace('"schema": 2', '"schema": 99')):
        (directory / "cell.json").write_text(content)
        assert status(directory, CELL, INPUTS) == ("other" if "99" in content else "damaged")


def test_collect_takes_all_complete_cells_in_order(tmp_path):
    for seed in (10, 9, 1):
        write(tmp_path, dataclasses.replace(CELL, seed=seed))
    table = results_cells.collect(tmp_path)
    assert table["seed"].tolist() == [1, 9, 10]
    pd.testing.assert_frame_equal(results_files.read_csv(tmp_path / "results_all.csv"), table)
    with pytest.raises(CellError, match="no complete cells"):
        results_cells.collect(tmp_path / "elsewhere")


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"row": {}}, "lacks returned_episode_solved"),
        ({"row": METRICS | {"seed": 4}}, "seed=4"),
        ({"episodes": pd.DataFrame({"episode": [1, 1]})}, "distinct"),
        ({"delay_counts": {-1: 2}}, "delay_counts"),
    ],
)
def test_write_cell_rejects_bad_input(tmp_path, overrides, message):
    with pytest.raises(ValueError, match=message):
        write(tmp_path, **overrides)
    assert not (tmp_path / "long_tail").exists()


@pytest.mark.parametrize(("field", "value"), [("profile", "../up"), ("method", ""), ("method", "a/b"), ("seed", -1)])
def test_cell_names_stay_inside_the_root(field, value):
    with pytest.raises(ValueError, match=field):
        dataclasses.replace(CELL, **{field: value})


def test_fingerprint_is_canonical():
    @dataclasses.dataclass
    class Config:
        delay: int = 1
        weights: tuple = (0.9, 0.1)

    key = results_cells.fingerprint
    assert key({"a": 1, "b": np.float64(2.5)}) == key({"b": 2.5, "a": 1})
    assert key({"c": Config()}) == key({"c": Config(weights=np.array([0.9, 0.1]))}) != key({"c": Config(delay=2)})
    with pytest.raises(ValueError, match="no JSON form"):
        key({"a": object()})


def test_settings_at_their_default_are_not_named():
    """So that a new option changes no cell; a default that changes would change what such cells stand for."""
    assert identity.settings(EvalConfig()) == {
        "num_evals": 2048,
        "num_flow_steps": 5,
        "delay": DelayProfileConfig().identity(),
        "method": {"name": "naive", "noise_scale": 1.0},
        "estimator": {"kind": "window_max", "window": 10, "initial": 1},
        "execution": {"execute_horizon": 1},
    }
    changed = EvalConfig(physics="stock", execution=ExecutionConfig(fallback="zero"), start_noise=0.5, num_slots=3)
    assert identity.settings(changed).items() >= {"physics": "stock", "start_noise": 0.5}.items()
    assert identity.settings(changed)["execution"] == {"execute_horizon": 1, "fallback": "zero"}
    assert vars(ExecutionConfig()).items() >= {"horizon": "fixed", "fallback": "hold", "action_noise": 0.1}.items()
    assert identity.given(Decoding("blocks")) == {"main": "blocks"}
    plain = {"rule": "exact", "max_passes": 1000, "layers": 1000, "conditioned": True, "speculative": False}
    assert vars(Decoding("blocks")).items() >= plain.items()


def test_a_cell_depends_on_the_contents_of_its_trace_and_of_the_weak_policy(tmp_path):
    trace = tmp_path / "trace.csv"
    weak, policy = (tmp_path / f"{epoch}/policies/worlds_l_grasp_easy.safetensors" for epoch in (2, 8))
    for path in (weak, policy):
        path.parent.mkdir(parents=True)
        path.write_bytes(b"policy")
    trace.write_text("latency_ms\n10\n20\n")
    weak.write_bytes(b"first")
    level = levels.load("grasp_easy")
    subject = FlowSubject(level, "grasp_easy", None, policy, "c", {}, tmp_path)

    def key(method, path=trace):
        delay = DelayProfileConfig(mode="trace", trace_path=str(path))
        return results_cells.fingerprint(subject.inputs(EvalConfig(method=method, delay_profile=delay), 0))

    before = {method: key(method) for method in ("naive", "bid_contrast")}
    weak.write_bytes(b"second")
    assert key("naive") == before["naive"]
    assert key("bid_contrast") != before["bid_contrast"]
    weak.write_bytes(b"first")
    assert key("bid_contrast") == before["bid_contrast"]
    moved = tmp_path / "moved.csv"
    moved.write_bytes(trace.read_bytes())
    assert key("naive", moved) == before["naive"]
    moved.write_text("latency_ms\n10\n30\n")
    assert key("naive", moved) != before["naive"]


def test_how_a_pickle_was_trained_is_part_of_a_cell(tmp_path):
    """The file does not say it: the user does, and methods that complete prefixes depend on it."""
    level = levels.load("grasp_easy")

    def config(suffix, simulated_delay):
        policy = types.SimpleNamespace(config=ModelConfig(simulated_delay=simulated_delay))
        subject = FlowSubject(level, "grasp_easy", policy, tmp_path / f"p{suffix}", "c", {}, tmp_path)
        return subject.inputs(EvalConfig(method="trained_prefix"), 0)["config"]

    assert [config(".pkl", delay)["simulated_delay"] for delay in (2, 3)] == [2, 3]
    assert config(".pkl", None) == config(".safetensors", 2) == config(".safetensors", None)
    with pytest.raises(ValueError, match="was trained with simulated_delay=2"):
        ModelSize(simulated_delay=3).wanted(ModelConfig(simulated_delay=2), trust=True)
    assert ModelSize(simulated_delay=3).wanted(ModelConfig(), trust=False).simulated_delay == 3


def test_the_code_of_one_method_is_no_part_of_another():
    naive, guided = (identity.code(EvalConfig(method=name)) for name in ("naive", "realtime"))
    assert naive != guided
    assert guided == identity.code(EvalConfig(method="realtime", method_options=MethodOptions(max_guidance_weight=2.0)))


def test_provenance(monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "argv", [f"{Path.cwd()}/exp/run.py", "--output-root", "out dir"])
    record = provenance.provenance(time.time() - 5)
    assert record["command"] == "python exp/run.py --output-root 'out dir'"
    assert record["wall_s"] >= 5
    assert record["start_time_utc"].endswith("+00:00")
    assert set(record["packages"]) == {"jax", "jaxlib", "flax", "jax2d", "kinetix-env", "numpy", "scipy"}
    assert record["packages"]["numpy"] == np.__version__
    assert record["device_count"] >= 1
    json.dumps(record)


def test_git_state(tmp_path):
    source = tmp_path / "src"
    source.mkdir()
    (source / "a.py").write_text("a = 1")
    assert provenance.git_state(source) == ("unknown", None)

    def git(*arguments):
        identity = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false"]
        subprocess.run(["git", "-C", tmp_path, *identity, *arguments], check=True, capture_output=True)

    git("init")
    assert provenance.git_state(source) == ("unknown", None)
    git("add", ".")
    git("commit", "-m", "first")
    commit, dirty = provenance.git_state(source)
    assert len(commit) == 40
    assert dirty is False
    for folder in ("exp_runs", "logs-bc"):
        results_files.atomic_write(tmp_path / folder / "summary.md", "a result")
    assert provenance.git_state(source) == (commit, False)
    (source / "a.py").write_text("a = 2")
    assert provenance.git_state(source) == (commit, True)
    assert provenance.git_state(tmp_path) == ("unknown", None)


def test_require_writable(tmp_path, monkeypatch):
    root = results_files.require_writable(tmp_path / "a" / "b")
    assert root.is_dir()
    assert not list(root.iterdir())
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match=r"cannot write to the output root.*choose another.*file/under"):
        results_files.require_writable(tmp_path / "file" / "under")

    def full(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match=r"No space left on device.*free some space") as caught:
        results_files.require_writable(root)
    assert caught.value.errno == errno.ENOSPC
    assert not list(root.iterdir())


HOLDER = """
import sys, time
from rtc.shared import files
with files.lock(sys.argv[1]):
    print("held", flush=True)
    time.sleep(60)
"""


def test_lock_excludes_a_second_run_and_survives_a_kill(tmp_path):
    command = [sys.executable, "-c", HOLDER, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout.readline() == "held\n"
        with (
            pytest.raises(ValueError, match=rf"in use by pid {holder.pid} on .*choose another"),
            results_files.lock(tmp_path),
        ):
            pass
        holder.kill()
    with results_files.lock(tmp_path), pytest.raises(ValueError, match="in use"), results_files.lock(tmp_path):
        pass
    assert not (tmp_path / ".lock").exists()


RUN = """
import os, sys
import pandas as pd
from rtc.shared import files
from rtc.study import cells as results

root, crash_at = sys.argv[1], int(sys.argv[2])
cells = [results.Cell(p, m, s, "l") for p in ("p", "q") for m in ("m", "n") for s in range(int(sys.argv[3]))]
row = dict.fromkeys(results.MAIN_COLUMNS[4:], 0.5)
episodes = pd.DataFrame({"episode": range(20), "x": 0.1})

def run():
    with files.lock(root):
        files.remove_leftovers(root)
        for cell in cells:
            place = results.cell_dir(root, cell)
            if results.standing(place, cell, {"key": 1}).status == "complete":
                continue
            with open(os.path.join(root, "computed.log"), "a") as log:
                log.write(f"{cell}\\n")
            results.write_cell(place, cell, {"key": 1}, row, episodes, {}, delay_counts={0: 1})
        results.collect(root)

def crash_before(function):
    def wrapped(*arguments):
        global crash_at
        crash_at -= 1
        if crash_at == 0:
            os.kill(os.getpid(), 9)
        return function(*arguments)
    return wrapped

if crash_at == 0:
    run()
    sys.exit(0)

# Every system call that a cell's commit consists of is a place to die; forks save the start-up time.
os.fsync, os.replace = crash_before(os.fsync), crash_before(os.replace)
deaths = 0
while True:
    child = os.fork()
    if child == 0:
        run()
        os._exit(0)
    if os.waitpid(child, 0)[1] == 0:
        break
    deaths += 1
    # The next run gets one call further, so every call is at some time the one that never happens.
    crash_at += 1
print(deaths)
"""


def start(root, crash_at, seeds):
    command = [sys.executable, "-c", RUN, str(root), str(crash_at), str(seeds)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def finished(root):
    """Complete cells, with the time of their commit."""
    markers = {path: path.stat().st_mtime_ns for path in root.rglob("cell.json")}
    return {p: t for p, t in markers.items() if status(p.parent, inputs={"key": 1}) == "complete"}


def log_lines(root):
    log = root / "computed.log"
    return log.read_text().splitlines() if log.exists() else []


def assert_finished(root, count):
    names = sorted(f"{path.parent.relative_to(root)}" for path in finished(root))
    assert len(names) == count
    assert names == sorted(set(log_lines(root)))
    assert len(results_files.read_csv(root / "results_all.csv")) == count
    leftovers = {p.name for p in root.rglob("*") if p.is_file()}
    assert leftovers <= {"cell.json", "episodes.csv", "delays.csv", "results.csv", "computed.log", "results_all.csv"}


def test_killed_run_resumes_without_losing_or_repeating_a_cell(tmp_path):
    moments = random.Random(0)
    seeds, kills = 12, 0
    while True:
        before, computed = finished(tmp_path), len(log_lines(tmp_path))
        process = start(tmp_path, 0, seeds)
        if kills < 4:
            target = computed + moments.randint(1, 9)
            while process.poll() is None and len(log_lines(tmp_path)) < target:
                time.sleep(0.001)
            time.sleep(moments.uniform(0, 0.01))
            process.send_signal(signal.SIGKILL)
        process.communicate(timeout=120)
        after, recomputed = finished(tmp_path), log_lines(tmp_path)[computed:]
        assert before.items() <= after.items(), "a complete cell was lost or written again"
        assert not {str(p.parent.relative_to(tmp_path)) for p in before} & set(recomputed)
        if process.returncode == 0:
            break
        assert process.returncode == -signal.SIGKILL
        kills += 1
    assert kills >= 3
    assert_finished(tmp_path, 4 * seeds)


def test_dying_before_any_system_call_of_a_commit_is_harmless(tmp_path):
    process = start(tmp_path, 1, 1)
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 0
    assert int(output) > 10
    assert_finished(tmp_path, 4)
