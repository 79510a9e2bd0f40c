"""All cells of a study in one file: exact, checked like cells of their own, and enough to go on from."""

import base64
import dataclasses
import json
import lzma
import shutil
import zlib

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from flax import nnx

from model import FlowPolicy
from rtc.policies import checkpoints
from rtc.programs import delay_sweep
from rtc.study import archive, plan, runner
from rtc.study.cells import Cell, CellData
from rtc.study.outcome import Outcome
from stubs import TINY

pytestmark = pytest.mark.usefixtures("without_physics")

INPUTS = {"config": {"num_evals": 3, "seed": 0}, "code": "a" * 64}
EPISODES = pd.DataFrame(
    {
        "episode": [0, 1, 2],
        "returned_episode_solved": [1, 0, 1],
        "returned_episode_returns": np.float32([0.1, -0.25, 1 / 3]).astype(float),
        "rms_ddelta_action": [0.1, 0.2, 1 / 3],
        "max_delta_action": [1.0, 2.0, 3.0],
        "flow_evals": [300, 70_000, 0],
    }
)


def cell(method, seed=0, **changes):
    frame = EPISODES.assign(flow_evals=EPISODES.flow_evals + seed)
    result = {"method": method, "returned_episode_solved": 2 / 3, "age_p50": float("nan")}
    fields = {"delay_counts": {0: 5, 3: 1}, "inputs": INPUTS, "provenance": {"wall_s": 1.5}}
    return CellData(Cell("burst", method, seed, "grasp_easy"), result, frame, **fields | changes)


def test_cells_come_back_as_they_were(tmp_path):
    kept = [cell("naive"), cell("naive", 1), cell("bid", delay_counts={})]
    archive.write(tmp_path, kept)
    found = archive.read(tmp_path).cells
    assert list(found) == [one.cell for one in kept]
    for one in kept:
        there = found[one.cell]
        pd.testing.assert_frame_equal(there.episodes, one.episodes.drop(columns="max_delta_action"))
        assert str(there.result) == str(one.result)
        assert (there.delay_counts, there.inputs, there.provenance) == (one.delay_counts, INPUTS, {"wall_s": 1.5})
    table = pd.read_parquet(archive.path(tmp_path))
    assert list(table.columns[:5]) == ["profile", "method", "seed", "level", "episode"]
    assert table.groupby(["method", "seed"], observed=True).size().tolist() == [3, 3, 3]
    assert table["rms_ddelta_action"].dtype == np.float64  # one third does not fit into single precision
    assert table["returned_episode_returns"].dtype == np.float32
    assert table["returned_episode_solved"].dtype == np.int8


def test_a_kept_cell_is_checked_like_one_of_its_own(tmp_path):
    archive.write(tmp_path, [cell("naive")])
    kept, naive = archive.read(tmp_path), cell("naive").cell
    assert kept.standing(naive, INPUTS).status == "complete"
    assert kept.standing(naive, {**INPUTS, "code": "b" * 64}).status == "older"
    other = kept.standing(naive, {**INPUTS, "config": {"num_evals": 4, "seed": 0}})
    assert (other.status, "num_evals = 3, not 4" in other.reason) == ("other", True)
    assert kept.standing(cell("bid").cell, INPUTS).status == "missing"
    assert archive.read(tmp_path / "nowhere").standing(naive, INPUTS).status == "missing"


def test_new_cells_replace_old_ones_and_others_stay(tmp_path):
    archive.write(tmp_path, [cell("naive"), cell("naive", 1)])
    before = archive.path(tmp_path).stat().st_mtime_ns
    archive.update(tmp_path, [cell("naive")])
    assert archive.path(tmp_path).stat().st_mtime_ns == before  # the same
    newer = cell("naive", inputs={**INPUTS, "code": "b" * 64})
    archive.update(tmp_path, [newer, cell("realtime")])
    found = archive.read(tmp_path).cells
    assert {(one.method, one.seed) for one in found} == {("naive", 0), ("naive", 1), ("realtime", 0)}
    assert found[newer.cell].inputs == newer.inputs
    assert not (tmp_path / ".lock").exists()


def test_an_archive_packed_as_before_is_read(tmp_path):
    archive.write(tmp_path, [cell("naive"), cell("bid")])
    table = pq.read_table(archive.path(tmp_path))
    about = lzma.decompress(base64.b85decode(table.schema.metadata[b"cells_xz"]))
    before = table.replace_schema_metadata({b"cells": base64.b85encode(zlib.compress(about))})
    (tmp_path / "before").mkdir()
    pq.write_table(before, archive.path(tmp_path / "before"))
    wanted, found = archive.read(tmp_path).cells, archive.read(tmp_path / "before").cells
    assert list(found) == list(wanted)
    for name, one in found.items():
        pd.testing.assert_frame_equal(one.episodes, wanted[name].episodes)
        assert str(one.result) == str(wanted[name].result)


def test_cells_may_have_columns_of_their_own(tmp_path):
    more = dataclasses.replace(cell("bid"), episodes=EPISODES.assign(word=["a", "b", "c"], late=[True, False, True]))
    archive.write(tmp_path, [cell("naive"), more])
    found = archive.read(tmp_path).cells
    pd.testing.assert_frame_equal(found[more.cell].episodes, more.episodes.drop(columns="max_delta_action"))
    assert "word" not in found[cell("naive").cell].episodes
    assert found[cell("naive").cell].episodes["flow_evals"].dtype == np.int64


def test_a_damaged_archive_is_named(tmp_path):
    archive.write(tmp_path, [cell("naive")])
    path = archive.path(tmp_path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ValueError, match=r"episodes\.parquet is damaged .*git checkout"):
        archive.read(tmp_path)
    pd.DataFrame({"episode": [1]}).to_parquet(path)
    with pytest.raises(ValueError, match="is damaged"):
        archive.read(tmp_path)


def test_a_study_goes_on_from_its_archive(tmp_path, monkeypatch, capsys):
    policy = FlowPolicy(obs_dim=679, action_dim=6, config=TINY, rngs=nnx.Rngs(0))
    checkpoints.save_policy(tmp_path / "run/1/policies/worlds_l_grasp_easy", policy, {})
    places = {"run_path": str(tmp_path / "run"), "output_root": str(tmp_path / "sweep")}
    common = {"levels": ("grasp_easy",), "methods": ("naive",), "num_evals": 4, "num_slots": 4}
    small = delay_sweep.Arguments(delays=(0, 1), **common, **places)
    delay_sweep.run(small)
    root = tmp_path / "sweep"
    table, page = (root / "results_all.csv").read_text(), (root / "summary.md").read_text()
    shutil.rmtree(root / "cells")
    computed, compute = [], runner.compute
    monkeypatch.setattr(
        runner, "compute", lambda planned, started: computed.append(planned.cell) or compute(planned, started)
    )
    capsys.readouterr()
    delay_sweep.run(small)
    assert "0 of 2 cells to compute" in capsys.readouterr().out
    assert (root / "results_all.csv").read_text() == table
    assert (root / "summary.md").read_text().split("Made by")[0] == page.split("Made by")[0]
    full = archive.path(root).stat().st_size
    delay_sweep.run(dataclasses.replace(small, left_out=("rms_ddelta_action",)))
    assert (root / "results_all.csv").read_text() == table
    assert (root / "summary.md").read_text().split("Made by")[0] == page.split("Made by")[0]
    assert archive.path(root).stat().st_size < full
    assert all("rms_ddelta_action" not in one.episodes for one in archive.read(root).cells.values())
    delay_sweep.run(dataclasses.replace(small, delays=(0, 1, 2)))
    assert [one.profile for one in computed] == ["d2_s2"]
    assert len(archive.read(root).cells) == 3
    (marker,), kept = root.glob("cells/**/cell.json"), archive.path(root).read_bytes()
    fields = json.loads(marker.read_text())
    fields["inputs"]["code"] = "0" * 64  # older than the archive's, as after a pull
    marker.write_text(json.dumps(fields))
    delay_sweep.run(dataclasses.replace(small, delays=(0, 1, 2)))
    assert len(computed) == 1
    assert archive.path(root).read_bytes() == kept
    with pytest.raises(ValueError, match="num_flow_steps = 5, not 2"):
        delay_sweep.run(dataclasses.replace(small, num_flow_steps=2))
    shutil.rmtree(root / "cells")
    again = Outcome.read(small.study(), small.of_study())
    assert (len(again.cells), again.missing) == (2, {})
    shutil.move(tmp_path / "run", tmp_path / "elsewhere")  # a clone without the policies
    plan._flow.cache_clear()
    there = Outcome.read(again.study, small.of_study())
    assert there.cells.keys() == again.cells.keys()
    other = Outcome.read(again.study, dataclasses.replace(small, num_evals=5).of_study())
    assert (other.cells, len(other.missing)) == ({}, 2)
    assert all("run" in reason for reason in other.missing.values())
    shutil.move(tmp_path / "elsewhere", tmp_path / "run")
    delay_sweep.run(dataclasses.replace(small, overwrite=True))
    assert len(computed) == 3
