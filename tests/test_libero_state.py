"""LIBERO on state observations, as far as it needs no LIBERO: observations, episodes, the expert, initial states."""

import io
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest

import rtc
from libero_kinematic import PLATE, KinematicTabletop, environment
from rtc.worlds.libero import scene, setup_check, state, tasks
from rtc.worlds.libero.expert import BowlExpert, Phase
from rtc.worlds.libero.scene import ENTRIES, STATE_DIM, Scene

ROOT = Path(__file__).resolve().parents[1]


def run(simulation, noise=0.0, ticks=220):
    """Phases in their order, attempts, and whether the expert solved an episode."""
    env, expert, rng = environment(simulation), BowlExpert(), np.random.default_rng(0)
    env.reset(1)
    phases = []
    for _ in range(ticks):
        action = expert.act(env.scene())
        assert action.shape == (7,)
        assert np.abs(action).max() <= 1
        if phases[-1:] != [expert.phase]:
            phases.append(expert.phase)
        action[:6] += noise * rng.standard_normal(6)
        if env.step(action).solved:
            return phases, expert.attempts, True
    return phases, expert.attempts, False


# --- observations -------------------------------------------------------------------------------------------------


def test_the_observation_is_what_its_entries_say():
    axes = np.arange(9.0).reshape(3, 3)
    given = Scene(
        hand=np.array([1.0, 2, 3]),
        hand_axes=axes,
        hand_velocity=np.array([7.0, 8, 9]),
        fingers=np.array([0.04, -0.03]),
        gripper=-0.5,
        bowl=np.array([10.0, 20, 30]),
        bowl_up=np.array([0.0, 0.6, 0.8]),
        plate=np.array([100.0, 200, 300]),
    )
    expected = {
        "hand position": [1, 2, 3],
        "hand's x axis": [0, 3, 6],
        "hand's y axis": [1, 4, 7],
        "finger positions": [0.04, -0.03],
        "gripper's": [-0.5],
        "bowl position (": [10, 20, 30],
        "bowl position minus hand position": [9, 18, 27],
        "plate position minus bowl position": [90, 180, 270],
        "bowl's up vector": [0, 0.6, 0.8],
        "plate position": [100, 200, 300],
        "hand velocity": [7, 8, 9],
    }
    assert STATE_DIM == 30
    assert [len(numbers) for numbers in expected.values()] == [entry.size for entry in ENTRIES]
    assert all(entry.name.startswith(name) for entry, name in zip(ENTRIES, expected, strict=True))
    found = scene.observation(given, task=2, num_tasks=10)
    assert found.dtype == np.float32
    one_hot = np.eye(10)[2]
    np.testing.assert_allclose(found, np.concatenate([*expected.values(), one_hot]), rtol=1e-6)


def test_the_page_lists_the_observation():
    for page in ("docs/libero.md", "docs/libero.zh-CN.md"):
        text = (ROOT / page).read_text()
        table = text.split("<!-- observation -->")[1]
        rows = [line.split("|") for line in table.splitlines() if line.startswith("|")]
        sizes = [int(row[2]) for row in rows if row[2].strip().isdecimal()]
        assert sizes == [*(entry.size for entry in ENTRIES), 10], page


# --- episodes -----------------------------------------------------------------------------------------------------


def test_objects_settle_before_the_first_observation():
    simulation = KinematicTabletop()
    env = environment(simulation)
    obs = env.reset(5)
    np.testing.assert_array_equal(simulation.actions, [[0, 0, 0, 0, 0, 0, -1]] * 10)
    assert obs.shape == (env.observation_dim,) == (40,)
    assert list(obs[30:]) == [0, 0, 0, 1, 0, 0, 0, 0, 0, 0]
    assert simulation.seeds == [5]
    assert (env.action_dim, env.max_ticks, list(env.bound_actions)) == (7, 220, [True] * 7)


def test_an_episode_ends_after_its_ticks_without_the_settling_steps():
    env = environment()
    env.reset(0)
    steps = [env.step(np.zeros(7)) for _ in range(220)]
    assert [step.truncated for step in steps] == [False] * 219 + [True]
    assert not any(step.solved or step.terminated or step.reward for step in steps)
    env.reset(0)
    assert not env.step(np.zeros(7)).truncated


def test_reaching_the_goal_ends_an_episode():
    simulation = KinematicTabletop(bowl_at=PLATE[:2])
    env = environment(simulation)
    env.reset(0)
    step = env.step(np.zeros(7))
    assert (step.solved, step.terminated, step.truncated, step.reward) == (True, True, False, 1.0)


def test_actions_are_clipped():
    simulation = KinematicTabletop()
    env = environment(simulation)
    env.reset(0)
    env.step(np.array([2, -3, 0.5, 0, 0, 0, 9.0]))
    np.testing.assert_array_equal(simulation.actions[-1], [1, -1, 0.5, 0, 0, 0, 1])


def test_bowls_that_topple_are_placed_again():
    simulation = KinematicTabletop(topples=(5, 6))
    environment(simulation).reset(5)
    assert simulation.seeds == [5, 6, 7]
    simulation = KinematicTabletop(topples=range(1000))
    environment(simulation).reset(5)
    assert len(simulation.seeds) == state.DRAWS


def test_an_episode_starts_from_the_benchmark_s_state_of_its_number_or_else_of_the_seed():
    simulation = KinematicTabletop(topples=range(1000))
    env = environment(simulation, states=np.arange(100.0).reshape(50, 2))
    env.reset(53)
    env.begin_episode(7)
    env.reset(53)
    assert [list(one) for one in simulation.states] == [[6, 7], [14, 15]]
    assert simulation.seeds == [53, 53]
    with pytest.raises(ValueError, match="episode 50 has no initial state: the benchmark has 50"):
        env.begin_episode(50)
    drawn = environment()
    drawn.begin_episode(50)  # its places are drawn
    drawn.reset(0)


def test_the_host_executor_says_which_episode_begins():
    simulation = KinematicTabletop()
    env = environment(simulation, states=np.arange(100.0).reshape(50, 2))
    for seed in (0, 1):
        rtc.evaluate(env=env, policy=lambda obs: np.zeros((8, 7)), episodes=2, seed=seed, max_ticks=2)
    # The policy is a function, whose chunk's shape is found at the start of episode 0, of the seed 0.
    assert [one[0] // 2 for one in simulation.states] == [0, 0, 1, 0, 0, 1]
    assert len(set(simulation.seeds)) == 5


def test_arguments_are_checked():
    with pytest.raises(ValueError, match="task=10 must be an integer, between 0 and 9"):
        environment(task=10)
    with pytest.raises(ValueError, match="task=-1 must be an integer, between 0 and 9"):
        state.opened(-1)
    with pytest.raises(ValueError, match="did you mean 'libero_spatial'"):
        state.opened(0, suite="libero_spatal")


def test_it_runs_under_the_host_executor():
    made = []

    def opened():
        made.append(environment())
        return made[-1]

    result = rtc.evaluate(env=opened, policy=lambda obs: np.zeros((8, 7)), delay=1, episodes=1, max_ticks=12)
    assert list(result.episodes["returned_episode_lengths"]) == [12]
    assert result.solve_rate.value == 0
    assert made[0].simulation.closed


# --- the expert ---------------------------------------------------------------------------------------------------


def test_the_expert_goes_through_its_phases():
    phases, attempts, solved = run(KinematicTabletop())
    assert phases == [Phase.APPROACH, Phase.DESCEND, Phase.GRASP, Phase.LIFT, Phase.CENTRE, Phase.LOWER]
    assert (attempts, solved) == (0, True)


def test_the_expert_copes_with_noise():
    assert run(KinematicTabletop(), noise=0.2)[2]


def test_the_expert_fetches_a_bowl_that_it_lost():
    phases, attempts, solved = run(KinematicTabletop(slips=True))
    assert phases.count(Phase.GRASP) == 2
    assert (attempts, solved) == (1, True)


@pytest.mark.parametrize(("bowl", "turned"), [((0.1, -0.15), True), ((-0.1, -0.15), False)])
def test_far_bowls_are_grasped_on_their_near_side_with_the_hand_turned(bowl, turned):
    simulation = KinematicTabletop(bowl_at=bowl)
    assert run(simulation)[2]
    across = simulation.axes[:, 0]
    np.testing.assert_allclose(across, [-1, 0, 0] if turned else [0, 1, 0], atol=0.05)
    place = simulation.hand - simulation.bowl
    assert (place[0] < -0.03) == turned
    assert (place[1] > 0.03) == (not turned)


def test_the_expert_gives_up_a_descent_that_is_blocked():
    env, expert = environment(KinematicTabletop()), BowlExpert()
    env.reset(1)
    while expert.phase is not Phase.DESCEND:
        env.step(expert.act(env.scene()))
    stuck = env.scene()
    for _ in range(100):
        expert.act(stuck)
        if expert.attempts:
            break
    assert (expert.attempts, expert.phase) == (1, Phase.APPROACH)


# --- the benchmark's initial states -------------------------------------------------------------------------------


def torch_file(path: Path, content: object, name: str = "archive/data.pkl", protocol: int = 2) -> Path:
    """A file as PyTorch writes one."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr(name, content if isinstance(content, bytes) else pickle.dumps(content, protocol))
        archive.writestr("archive/version", "3\n")
    return path


def test_initial_states_are_read_without_pytorch(tmp_path):
    states = np.random.default_rng(0).standard_normal((50, 92))
    np.testing.assert_array_equal(tasks.read_states(torch_file(tmp_path / "a.pruned_init", states)), states)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"cos\nsystem\n(S'true'\ntR.", "holds no initial states: .*refers to os.system"),
        ({"a": np.zeros((2, 2))}, "something else than one array"),
        (np.zeros(3), "something else than one array"),
        (np.zeros((2, 3), np.float32), "something else than one array"),
        (np.full((2, 3), np.nan), "not finite"),
        (b"damaged", "holds no initial states"),
    ],
)
def test_other_files_are_refused(tmp_path, content, message):
    with pytest.raises(ValueError, match=message):
        tasks.read_states(torch_file(tmp_path / "a.pruned_init", content))


def test_files_that_are_no_archives_are_refused(tmp_path):
    (tmp_path / "a").write_bytes(pickle.dumps(np.zeros((2, 2))))
    with pytest.raises(ValueError, match=r"is no file of initial states.*reinstall hf-libero"):
        tasks.read_states(tmp_path / "a")
    with pytest.raises(ValueError, match="is no file of initial states"):
        tasks.read_states(torch_file(tmp_path / "b", np.zeros((2, 2)), name="elsewhere.pkl"))
    content = io.BytesIO()
    np.save(content, np.zeros((2, 2)))
    (tmp_path / "c").write_bytes(content.getvalue())
    with pytest.raises(ValueError, match="is no file of initial states"):
        tasks.read_states(tmp_path / "c")


def test_state_observations_need_neither_pytorch_nor_a_renderer(monkeypatch):
    asked = []
    monkeypatch.setattr(setup_check.importlib.util, "find_spec", lambda name: asked.append(name))
    monkeypatch.setattr(setup_check, "choose_renderer", lambda: pytest.fail("asked for a renderer"))
    parts = setup_check.missing_parts(images=False)
    assert "libero" in asked
    assert "torch" not in asked
    assert "--no-deps" in parts[0].fix
    assert "libero-state" in parts[0].fix
