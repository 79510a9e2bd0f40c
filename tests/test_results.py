"""Cells on disk: atomic, verified, resumable."""

import dataclasses
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from rtc.shared import files as results_files
from rtc.shared import provenance
from rtc.study import cells as results_cells
from rtc.study.cells import Cell, CellError

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
    for content in ("", marker[:-20], "[]", '{"schema": 3}', marker.replace('"schema": 3', '"schema": 99')):
        (directory / "cell.json").write_text(content)
        assert status(directory, CELL, INPUTS) == ("other" if "99" in content else "damaged")


@pytest.mark.parametrize("name", ["files", "inputs"])
@pytest.mark.parametrize("value", [[], True, "x"])
def test_a_marker_with_something_else_than_a_table_is_damaged(tmp_path, name, value):
    directory = write(tmp_path)
    marker = json.loads((directory / "cell.json").read_text())
    (directory / "cell.json").write_text(json.dumps(marker | {name: value}))
    found = results_cells.standing(directory, CELL, INPUTS)
    assert (found.status, found.reason) == ("damaged", f"cell.json is damaged ({name}={value!r} is no table)")


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
