"""Levels as the published code simulates them, and the two readings of a Kinetix dump."""

import contextlib
import json
import types
import warnings
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from kinetix.util.saving import import_env_state_from_json

from level_facts import exported, write
from rtc import worlds
from rtc.policies import checkpoints
from rtc.policies.flow import FlowPolicy
from rtc.programs import delay_sweep, eval_flow, generate_data, presets, render_levels, train_expert, train_flow
from rtc.shared import paths
from rtc.study import subject as subjects
from rtc.study.arguments import StudyArguments
from rtc.study.evaluation import EvalConfig
from rtc.worlds.kinetix import levels
from stubs import TINY


def difference(one: Any, other: Any) -> float:
    leaves = zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True)
    return max(float(np.abs(np.asarray(a, np.float64) - np.asarray(b, np.float64)).max(initial=0)) for a, b in leaves)


@pytest.mark.parametrize("name", levels.LEVEL_NAMES)
def test_a_level_is_what_kinetixs_importer_builds(name: str, tmp_path: Path) -> None:
    level = levels.load(name)
    state, static_params, env_params = import_env_state_from_json(exported(level, tmp_path))
    np.testing.assert_array_equal(level.start.collision_matrix, state.collision_matrix)
    np.testing.assert_allclose(level.start.gravity, state.gravity)
    for part in ("polygon", "circle", "joint", "thruster", "motor_bindings", "thruster_bindings"):
        assert difference(getattr(state, part), getattr(level.start, part)) < 1e-6, part
    for part in ("polygon_shape_roles", "circle_shape_roles", "polygon_densities", "circle_densities"):
        assert difference(getattr(state, part), getattr(level.start, part)) < 1e-6, part
    names = ("num_polygons", "num_circles", "num_joints", "num_thrusters", "frame_skip", "num_solver_iterations")
    assert [getattr(static_params, name) for name in names] == [getattr(level.static_params, name) for name in names]
    assert (env_params.dt, env_params.max_timesteps) == (level.env_params.dt, level.env_params.max_timesteps)


@pytest.fixture(scope="module")
def dump(grasp: levels.Level, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dump with a gravity, a switched-off collision and a time limit that the importer drops."""
    folder = tmp_path_factory.mktemp("dump")
    data = exported(grasp, folder, gravity=jnp.array([0.5, -3.0]))
    matrix = data["env_state"]["collision_matrix"]
    matrix["0"]["12"] = matrix["12"]["0"] = False
    data["env_params"]["max_timesteps"] = 40
    return write(folder, data)


def test_the_named_variants_are_the_dumps_as_they_are_written() -> None:
    """And nothing else of them is another."""
    for variant in levels.VARIANTS:
        name = next(name for name in levels.LEVEL_NAMES if variant.startswith(name))
        ours, theirs = levels.load(name).start, levels.load(variant).start
        gravity = {"gravity": ours.gravity, "collision_matrix": ours.collision_matrix}
        assert difference(ours, theirs.replace(**gravity)) == 0
        assert difference(ours, theirs) > 0
    assert levels.load("h17_unicycle_low_gravity").start.gravity.tolist() == pytest.approx([0, -1.2])
    ours, theirs = (levels.load(name).start.collision_matrix for name in ("catcher_v3", "catcher_v3_open_arm"))
    assert np.argwhere(np.asarray(ours & ~theirs)).tolist() == [[4, 12], [5, 12], [12, 4], [12, 5]]


def test_a_dump_has_two_readings_and_says_which_it_took(dump: Path, grasp: levels.Level) -> None:
    other = r"gravity \(0\.0, -9\.81\) m/s\^2, bodies colliding \(pairs: 1\), a time limit of 256 ticks"
    with pytest.warns(UserWarning, match=rf"world_rules='dump'\); Kinetix's importer would give it {other}"):
        written = levels.load(dump)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # whoever chose need not be told
        imported = levels.load(f"importer:{dump}")
        assert levels.load(f"dump:{dump}") == written
        assert worlds.load(f"importer:{dump}") == imported
    np.testing.assert_allclose(written.start.gravity, [0.5, -3.0])
    assert difference(imported.start, grasp.start) < 1e-6
    assert (written.env_params.max_timesteps, imported.env_params.max_timesteps) == (40, 256)
    state, _, _ = import_env_state_from_json(json.loads(dump.read_text()))
    np.testing.assert_array_equal(state.collision_matrix, imported.start.collision_matrix)


def test_neither_reading_takes_the_others_policies_or_cells(dump: Path, tmp_path: Path) -> None:
    policy = FlowPolicy(obs_dim=679, action_dim=6, config=TINY, rngs=nnx.Rngs(0))
    one, other = f"dump:{dump}", f"importer:{dump}"
    assert paths.level_name(other) == "my_level"
    facts = {"level_sha256": levels.load(one).sha256}
    checkpoints.save_policy(tmp_path / "1/policies/worlds_l_my_level", policy, facts)
    mine = subjects.load(tmp_path, one)
    with pytest.raises(ValueError, match=r"was trained on .*read by other --world-rules"):
        subjects.load(tmp_path, other)
    with pytest.warns(UserWarning, match="was trained on"):
        taken = subjects.load(tmp_path, other, file=tmp_path / "1/policies/worlds_l_my_level")
    assert mine.inputs(EvalConfig(), 0)["level_sha256"] != taken.inputs(EvalConfig(), 0)["level_sha256"]


def test_a_dump_that_both_rules_read_alike_is_one_level(grasp: levels.Level, tmp_path: Path) -> None:
    path = write(tmp_path, exported(grasp, tmp_path))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert levels.load(f"importer:{path}") == levels.load(path)


def test_rules_that_would_have_no_effect_are_refused(dump: Path) -> None:
    for given in (["grasp_easy", "catapult"], [f"dump:{dump}"], ["grasp_easy", f"importer:{dump}"]):
        for rules in ("importer", "dump"):
            with pytest.raises(ValueError, match=f"world_rules='{rules}' has no effect on"):
                paths.under(rules, given)
    with pytest.raises(ValueError, match=r"grasp_easy\.json is no Kinetix dump.*importer:FILE"):
        levels.load("importer:worlds/l/grasp_easy.json")
    with pytest.raises(ValueError, match="world_rules='imported' is unknown; did you mean 'importer'"):
        paths.under("imported", ["my.json"])


def test_the_flag_is_for_files_without_rules_of_their_own(dump: Path) -> None:
    given = ("grasp_easy", str(dump), f"dump:{dump}")
    assert paths.under("importer", given) == ("grasp_easy", f"importer:{dump}", f"dump:{dump}")
    assert paths.under("dump", given) == paths.under(None, given) == given
    loaded = presets.load_levels(["all", str(dump)], "importer")
    assert len(loaded) == 13
    assert loaded["worlds_l_my_level"].env_params.max_timesteps == 256
    study = types.SimpleNamespace(name="small", levels=("grasp_easy",), seeds=(0,), num_evals=4)
    args = StudyArguments(levels=(str(dump),), world_rules="importer", output_root="elsewhere").of(study)
    assert args.levels == (f"importer:{dump}",)


@pytest.mark.parametrize("program", [eval_flow, delay_sweep, render_levels, train_expert, generate_data, train_flow])
def test_programs_that_name_levels_have_the_flag(dump: Path, program: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    for place in (levels, worlds):
        monkeypatch.setattr(place, "load", lambda level: seen.append(level) or pytest.fail.Exception)
    flag = "--levels" if program is delay_sweep else "--level-paths"
    needed = {eval_flow: "--run-path", delay_sweep: "--output-root"}
    folder = [needed[program], str(dump.parent)] if program in needed else []
    with contextlib.suppress(Exception, SystemExit):
        program.main([*folder, flag, str(dump), "--world-rules", "importer"])
    assert seen[:1] == [f"importer:{dump}"]
