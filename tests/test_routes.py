"""A level of Kinetix with two routes: its file, demonstrations of both, which route an episode takes."""

import types

import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

from rtc.control.metrics import Summary
from rtc.control.records import NEVER
from rtc.programs import route_demonstrations as program
from rtc.study import modes
from rtc.study.evaluation import EvalConfig, Evaluation
from rtc.study.protocols import several_answers
from rtc.training import demonstrations, route_demonstrations
from rtc.training.route_demonstrations import RecordingConfig
from rtc.worlds.kinetix import levels, routes
from rtc.worlds.kinetix.routes import ROUTES
from rtc.worlds.modes import ANSWER, FIRST, NONE, PLACE, SECOND, SWITCHES

LEVEL = "worlds/choice/two_routes.json"
TWO = ROUTES["two_routes"]


def poses(paths):
    """As of `Records.poses`: polygons, then circles, positions and rotations."""
    circles = np.zeros((len(paths), len(paths[0]), 4, 2))
    circles[:, :, TWO.ball] = paths
    return (np.zeros((1, 1)), np.zeros((1, 1))), (circles, np.zeros(circles.shape[:3]))


def commands(pushes, ticks):
    """Actions that push to the right by so much, or to the left; NaN after them."""
    found = np.full((ticks, 6), np.nan)
    found[: len(pushes)] = 0
    for tick, push in enumerate(pushes):
        found[tick, TWO.push_right if push > 0 else TWO.push_left] = abs(push)
    return found


def test_the_route_is_the_side_on_which_a_ball_passes_the_front():
    left = [(2.5, 0.6), (2.3, 1.0), (1.6, 1.6), (1.45, 2.1), (1.5, 2.6), (0, 0)]
    right = [(2.5, 0.6), (2.45, 0.8), (2.5, 1.0), (2.6, 1.5), (3.4, 2.0), (3.5, 2.5)]
    lost = [(2.5, 0.6), (2.5, 1.0), (2.5, 1.5), (2.5, 1.9), (0, 0), (0, 0)]
    actions = np.stack(
        [
            commands([-1, -1, -1, 1, 1], 6),  # pushes beyond the middle 40 % say nothing
            commands([1, -1, 1, 1, -1, -1], 6),
            commands([1, 0.4, -0.4, 0.2], 6),  # not firm
        ]
    )
    found = routes.noted(TWO, poses([left, right, lost]), actions, np.array([True, True, False]))
    assert [one[ANSWER] for one in found] == [0, 1, NONE]
    assert [one[FIRST] for one in found] == [0, 0, NONE]
    assert [one[SWITCHES] for one in found] == [0, 2, 0]
    assert found[0][PLACE] == pytest.approx(-1)
    assert found[1][PLACE] == pytest.approx(0.9 / 1.05)
    assert np.isnan(found[2][PLACE])


def test_a_cell_of_such_a_level_has_the_columns_and_others_have_not():
    length, ticks = 3, 5
    path = np.array([[(2.5, 1.0), (3.0, 1.9), (3.5, 2.1), (0, 0), (0, 0)]] * 2, float)
    asked = {}

    def rollout(config, **options):
        asked.update(options)
        actions = np.stack([commands([1] * length, ticks)] * 2)
        return types.SimpleNamespace(poses=poses(path), actions=actions, solved=np.array([True, False]))

    def evaluation():
        return Evaluation(Summary({}, pd.DataFrame({"episode": [0, 1]}), {}), None, 0.0, 1.0)

    subject = types.SimpleNamespace(level=types.SimpleNamespace(name="two_routes"), rollout=rollout)
    found = modes.completed(evaluation(), subject, EvalConfig(), 3).summary
    assert found.episodes[ANSWER].tolist() == [1, NEVER]
    assert found.row[SECOND] == 1.0
    assert (asked["seed"], asked["record_poses"]) == (3, True)
    subject.level.name = "grasp_easy"
    assert list(modes.completed(evaluation(), subject, EvalConfig(), 3).summary.episodes) == ["episode"]


def test_cells_depend_on_what_says_which_route_they_took():
    config = EvalConfig()
    assert modes.code("a", "grasp_easy", config) == "a"
    assert modes.code("a", "two_routes", config) not in ("a", modes.code("b", "two_routes", config))


def test_the_expert_pushes_towards_its_route_and_slows_down():
    speed, way = jnp.array([0.0, 0.0, 2.0]), jnp.array([1.0, -0.2, 0.5])
    action = np.asarray(route_demonstrations.expert(TWO, 6, speed, way))
    np.testing.assert_allclose(action[:, TWO.push_right], [1, 0, 0])
    np.testing.assert_allclose(action[:, TWO.push_left], [0, 0.4, 1])
    np.testing.assert_array_equal(action[:, :4], 0)


def test_demonstrations_take_both_routes(tmp_path, capsys):
    flags = ["--config.episodes", "4", "--folder", str(tmp_path)]
    program.main(flags)
    path = tmp_path / "worlds_l_two_routes.npz"
    written = path.stat().st_mtime_ns
    program.main(flags)
    assert path.stat().st_mtime_ns == written
    data = demonstrations.load(path)
    assert data.facts["level_sha256"] == levels.load(LEVEL).sha256
    assert (data.facts["episodes"], data.facts["solve_rate"]) == (4, 1.0)
    ends = np.flatnonzero(data.done)
    x, y = data.obs[:, 0], data.obs[:, 1]
    assert sorted(x[ends] > 2.5) == [False, False, True, True]
    beside = (y > 2.0) & (y < 2.6)
    assert np.abs(x[beside] - 2.5).min() > 0.8  # half of the block and the ball's radius
    assert "100.0% solved" in capsys.readouterr().out
    with pytest.raises(SystemExit, match="recorded otherwise"):
        program.main([*flags[2:], "--config.episodes", "6"])


def test_settings_and_levels_are_checked(grasp):
    with pytest.raises(ValueError, match="episodes=1 must be an integer, at least 2"):
        RecordingConfig(episodes=1)
    with pytest.raises(ValueError, match="level with two routes='grasp_easy' is unknown"):
        route_demonstrations.record(grasp, RecordingConfig())


def test_the_protocol_names_the_level_and_its_start_noise():
    study = several_answers.study(several_answers.PLACES["routes"])
    assert study.levels == (LEVEL,)
    assert {one.config.start_noise for one in study.arms} == {RecordingConfig().start_noise}
    assert study.arm(("delay_0", "l1")).run_path == "logs-bc/routes/l1"
