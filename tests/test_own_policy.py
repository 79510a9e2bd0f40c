"""Policies and simulators of one's own: `rtc.evaluate`, and the examples of its page."""

import importlib.util
import re
import subprocess
import sys
import tomllib
import types
from pathlib import Path

import gymnasium
import jax.numpy as jnp
import numpy as np
import pytest
from packaging.requirements import Requirement

import rtc
from host_world import BOTH, DIM, EchoExternal, HashWorld, linear_flow
from rtc import worlds
from rtc.control import executor, host
from rtc.control.controller import ExecutionConfig, make_controller
from rtc.control.host import Measured, PolicySpec, Reply, Simulated, Step
from rtc.delay import sampling
from rtc.delay.estimators import EstimatorConfig
from rtc.delay.profiles import PROFILES, DelayProfileConfig
from rtc.methods import METHODS, MethodOptions, make
from rtc.shared import files
from rtc.study.evaluation import NonFiniteError
from stubs import HashEnv, SmoothEnv

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "docs/own-policy.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)
NAMES = [re.search(r"^class (\w+)|^def (\w+)", block, re.MULTILINE).group(0).split()[1] for block in BLOCKS]


@pytest.mark.parametrize("block", BLOCKS, ids=NAMES)
def test_the_examples_run(block, capsys):
    if "import torch" in block and importlib.util.find_spec("torch") is None:
        pytest.skip("PyTorch is not installed: pip install torch, to run its example")
    if "lerobot.policies" in block and importlib.util.find_spec("lerobot") is None:
        pytest.skip("LeRobot is not installed: pip install 'exp-delta[lerobot]', to run its example")
    module = types.ModuleType("example")
    exec(compile(block, "docs/own-policy.md", "exec"), module.__dict__)
    assert capsys.readouterr().out


def test_the_page_names_the_methods_that_need_only_chunks():
    sizes = types.SimpleNamespace(action_chunk_size=4, action_dim=6)
    fitting = []
    for name in METHODS:
        try:
            host.wanted(make(name), sizes, name, np.zeros((1, 7)))
        except ValueError:
            continue
        fitting.append(name)
    listed = PAGE.split("These methods need no more:")[1].split("and [methods")[0]
    assert sorted(fitting) == sorted(re.findall(r"`(\w+)`", listed))


def test_importing_the_package_stays_cheap():
    program = "import sys, rtc; assert 'jax' not in sys.modules and 'pandas' not in sys.modules; rtc.nothing"
    done = subprocess.run(
        [sys.executable, "-c", program], env={"PYTHONPATH": str(ROOT / "src")}, capture_output=True, text=True
    )
    assert "module 'rtc' has no attribute 'nothing'" in done.stderr


def test_declared_packages_are_locked_within_their_bounds():
    lines = [line.split(";")[0].strip() for line in (ROOT / "requirements.lock").read_text().splitlines()]
    locked: dict[str, list[str]] = {}
    for line in lines:
        if line and not line.startswith("#"):
            name, version = line.split("==")
            locked.setdefault(name, []).append(version)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = (one for name in ("dev", "wandb", "slurm", "served") for one in project["optional-dependencies"][name])
    declared = [Requirement(text) for text in (*project["dependencies"], *extras)]
    assert {"gymnasium", "jax"} <= {one.name for one in declared}
    for one in declared:
        assert all(one.specifier.contains(version) for version in locked[one.name]), one
        assert {spec.operator for spec in one.specifier} == {">=", "<"}, one


class Reach(gymnasium.Env):
    """A point on a line, brought to 0.5: dictionaries of observations, actions of shape (1, 1)."""

    observation_space = gymnasium.spaces.Dict({"x": gymnasium.spaces.Box(-9, 9, ()), "text": gymnasium.spaces.Text(9)})
    action_space = gymnasium.spaces.Box(-0.1, 0.2, (1, 1))

    def __init__(self, says="is_success"):
        self.says, self.closed, self.executed, self.seeds = says, False, [], []

    def reset(self, *, seed=None, options=None):
        self.seeds.append(seed)
        self.x = 0.0
        return {"x": self.x, "text": "to 0.5"}, {}

    def step(self, action):
        assert self.action_space.contains(action)
        self.executed.append(float(action[0, 0]))
        self.x += self.executed[-1]
        near = abs(self.x - 0.5) < 0.05
        info = {self.says: near} if self.says else {}
        return {"x": self.x, "text": "to 0.5"}, -abs(self.x - 0.5), near, False, info

    def close(self):
        self.closed = True


def to_the_goal(obs):
    assert obs["text"] == "to 0.5"
    return np.full((4, 1), 0.5 - obs["x"])


def test_a_gymnasium_environment_is_run_as_it_is():
    made = []

    def env():
        made.append(Reach())
        return made[-1]

    result = rtc.evaluate(env=env, policy=to_the_goal, delay=1, episodes=3, max_ticks=30, seed=5)
    (one,) = made
    assert one.closed
    # What was wanted a tick before, clipped to the bounds: it goes too far and comes back.
    np.testing.assert_allclose(one.executed[:6], [0.2, 0.2, 0.2, 0.1, -0.1, -0.1], atol=1e-6)
    assert result.episodes["returned_episode_lengths"].tolist() == [6, 6, 6]
    assert len(set(one.seeds[-3:])) == 3
    assert all(0 <= seed < 2**32 for seed in one.seeds)
    assert result.solve_rate.value == 1.0
    assert 0 < result.solve_rate.low < 1
    assert set(result.queries["delay"]) == {1}
    assert result.queries["latency_ms"].isna().all()
    assert "solved 100.0%" in str(result)


def test_columns_are_those_of_the_benchmark():
    result = rtc.evaluate(env=HashWorld(17), policy=EchoExternal(), delay="long_tail", episodes=2)
    cell = ROOT / "exp_runs/tail_v1/long_tail/naive/seed_0"
    assert list(result.episodes.columns) == list(files.read_csv(cell / "episodes.csv").columns)
    of_programs = {"profile", "method", "seed", "level", "wall_s", "slot_utilisation"}
    of_programs |= {"query_multiplications", "multiplications_per_tick"}
    assert set(result.metrics) == set(files.read_csv(cell / "results.csv").columns) - of_programs
    assert result.policy == "echo"
    # Every query, and the chunk before the first.
    assert (result.episodes["flow_evals"] == result.episodes["num_queries"] + 1).all()


def test_an_environment_is_told_its_episode_before_every_reset():
    """The function is asked for a chunk before the first episode, too. The class is a function that makes one."""

    class Told(HashWorld):
        def __init__(self):
            super().__init__(0)

        def begin_episode(self, number):
            self.number = number

        def reset(self, seed):
            del self.number  # what was told holds for one reset
            return super().reset(seed)

    result = rtc.evaluate(env=Told, policy=lambda obs: CHUNK, episodes=np.int64(2), delay=np.int64(1))
    assert (len(result.episodes), result.queries["delay"].max()) == (2, 1)


def test_pendulum_runs_to_its_time_limit():
    """A callable with randomness of its own; the same seed gives the same episodes."""

    def policy(obs, rng):
        return rng.uniform(-2, 2, (4, 1))

    def run(seed):
        env = gymnasium.make("Pendulum-v1", max_episode_steps=20)
        return rtc.evaluate(
            env=env, policy=policy, method="bid", delay="heavy", episodes=2, seed=seed, solved=lambda step, info: False
        )

    first, again, other = run(0), run(0), run(1)
    assert first.episodes["returned_episode_lengths"].tolist() == [20, 20]
    assert first.episodes.equals(again.episodes)
    assert not first.episodes.equals(other.episodes)
    assert first.solve_rate.value == 0


@pytest.fixture
def toys():
    """A kind of worlds whose only one is the smooth world."""
    name = "rtc_toys"
    module = types.ModuleType(name)
    module.load = lambda level: types.SimpleNamespace(kind="toys", name="smooth", bound_actions=np.arange(6) < 2)
    module.make_env = lambda level, physics, start_noise: SmoothEnv()
    sys.modules[name] = module
    worlds.register("toys", name)
    yield
    del sys.modules[name], worlds.registry._MODULES["toys"]


@pytest.mark.usefixtures("toys")
def test_a_world_by_name_and_a_policy_of_this_project():
    """The same numbers as of the executor in JAX, cost and smoothness of the driven actions included."""
    result = rtc.evaluate(env="toys:smooth", policy=linear_flow(), method="bid", delay="burst", episodes=2)
    controller = make_controller(
        make("bid"),
        sampling.make_process(PROFILES["burst"]),
        EstimatorConfig().make(),
        ExecutionConfig(action_noise=0.0),
    )
    expected = executor.rollout(SmoothEnv(), linear_flow(), controller, seed=0, episodes=np.arange(2), num_steps=5)
    np.testing.assert_allclose(result.records.actions, expected.actions, atol=1e-5)
    spent = 5 + np.where(expected.delay != -1, expected.steps * 16, 0).sum(axis=1)
    assert result.episodes["flow_evals"].tolist() == spent.tolist()
    change = np.diff(expected.actions[0, : expected.length[0], :2], axis=0)
    np.testing.assert_allclose(result.episodes["max_delta_action"][0], np.linalg.norm(change, axis=1).max(), rtol=1e-4)


def test_a_head_in_python_corrects_every_action():
    seen = []

    def head(obs, action, phase):
        seen.append((obs["text"], phase))
        return 0.1 - action

    result = rtc.evaluate(
        env=Reach(), policy=to_the_goal, method="a2c2", networks={"head": head}, delay=2, episodes=1, max_ticks=30
    )
    np.testing.assert_allclose(result.records.actions[0, : result.records.length[0]], 0.1, atol=1e-6)
    assert {text for text, _ in seen} == {"to 0.5"}
    assert {phase for _, phase in seen} <= {0.0, 0.25, 0.5, 0.75}
    assert len(seen) == result.records.length[0]


class Nothing(EchoExternal):
    """Replies that are none."""

    def __init__(self, reply, reach=0):
        super().__init__(reach=reach)
        self.reply = reply

    def infer(self, request):
        return self.reply


class Short(HashWorld):
    """Steps that are none."""

    def step(self, action):
        return np.zeros(2)


class Endless(HashWorld):
    max_ticks = None


CHUNK = np.zeros((4, DIM))
MOUNTAIN = gymnasium.spaces.Discrete(3)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"method": "realtime"}, "method='realtime' works inside the policy.*integrate.*conditioned"),
        ({"method": "trained_prefix"}, "works inside the policy"),
        ({"method": "hard_masking"}, "works inside the policy"),
        ({"method": "foresee_learned"}, "plans for a state that is predicted"),
        ({"method": "foresee_simulator"}, "looks at the simulator"),
        ({"method": "delay_expert"}, "has learned a level by itself"),
        ({"method": "bid"}, "compares 16 chunks per query, and this policy gives the same one.*rng"),
        ({"method": "naiv"}, "did you mean 'naive'"),
        ({"method": "conditioned"}, r"conditioning=\(\)"),
        ({"method": "conditioned", "policy": linear_flow(), "env": Simulated(SmoothEnv())}, "PolicySpec"),
        ({"method": "conditioned", "method_options": MethodOptions(noise_scale=0.5)}, "have no effect"),
        ({"method": "a2c2"}, r"needs a correction head.*networks=\{'head'"),
        ({"networks": {"head": len}}, "networks has 'head', without effect with method='naive', which needs none"),
        ({"method": "a2c2", "networks": {"head": 3}}, "cannot be called"),
        ({"method": "a2c2", "networks": {"head": lambda *_: np.zeros(2)}}, r"array of shape \(2,\)"),
        ({"method_options": MethodOptions(noise_scale=0.5)}, "noise_scale=0.5 has no effect"),
        ({"num_flow_steps": 3}, "num_steps=3 has no effect"),
        ({"delay": "long_tial"}, "did you mean 'long_tail'"),
        ({"delay": -1}, "delay=-1"),
        ({"delay": DelayProfileConfig(fixed_delay=2, anytime=1)}, "anytime has no effect"),
        ({"delay": Measured(10), "estimator": EstimatorConfig("oracle")}, "estimator='oracle'"),
        ({"episodes": 0}, "episodes=0"),
        ({"max_ticks": 0}, "max_ticks=0"),
        ({"env": Endless(0)}, "max_ticks=None"),
        ({"env": Simulated(HashEnv(jnp.int32(0))), "max_ticks": 99}, "max_ticks=99 has no effect"),
        ({"env": gymnasium.make("Pendulum-v1", max_episode_steps=9), "max_ticks": 10}, "max_ticks=10 has no effect"),
        ({"seed": -1}, "seed=-1 must be an integer, between 0 and 4294967295"),
        ({"seed": 2**32}, "seed=4294967296 must be"),
        ({"estimator": "oracle"}, "estimator='oracle' is a str: give an rtc EstimatorConfig"),
        ({"execution": {"execute_horizon": 2}}, "is a dict: give an rtc ExecutionConfig"),
        ({"policy": EchoExternal}, "policy=EchoExternal is a class: give an instance"),
        ({"env": HashEnv(jnp.int32(0))}, "give rtc.control.host.Simulated"),
        ({"env": 3}, "env is a int"),
        ({"env": Short(0)}, "step returned a ndarray"),
        ({"solved": lambda step, info: True}, "solved has no effect"),
        ({"execution": ExecutionConfig(execute_horizon=5)}, "execute_horizon=5 exceeds the chunk size 4"),
        ({"execution": ExecutionConfig(correction_delay=1)}, "correction_delay=1 has no effect"),
        ({"policy": 3}, "policy is a int"),
        ({"policy": types.SimpleNamespace(infer=None)}, "has no spec"),
        ({"policy": lambda obs: np.zeros(4)}, r"array of shape \(4,\)"),
        ({"policy": lambda obs: "left"}, "no array of numbers"),
        ({"policy": Nothing(CHUNK)}, "infer returned a ndarray"),
        ({"policy": Nothing(Reply(CHUNK[:3]))}, r"chunk has shape \(3, 6\), but the policy's spec says \(4, 6\)"),
        ({"policy": Nothing(Reply(CHUNK, latency_ms=-1.0))}, "latency_ms=-1.0"),
        ({"policy": Nothing(Reply(CHUNK, origin=2))}, "origin=2 must be an integer, between 0 and 0"),
        ({"policy": Nothing(Reply(CHUNK, origin=2), reach=3)}, "asked without conditions"),
        ({"policy": lambda obs: np.zeros((4, 3)), "env": Simulated(HashEnv(jnp.int32(0)))}, "action_dim=3"),
        ({"env": gymnasium.make("CartPole-v1")}, r"action space Discrete\(2\)"),
        ({"env": Reach(), "policy": to_the_goal}, "max_ticks=None"),
        ({"env": Reach(says=None), "policy": to_the_goal, "max_ticks": 9}, "says nowhere.*is_success or success"),
    ],
)
def test_what_does_not_go_together_is_refused(changes, message):
    arguments = {"env": HashWorld(0), "policy": EchoExternal(), "episodes": 1}
    with pytest.raises(ValueError, match=message):
        rtc.evaluate(**arguments | changes)


@pytest.mark.parametrize(
    ("field", "message"),
    [
        ({"chunk_size": 0}, "chunk_size=0"),
        ({"conditioning": "leftover"}, r"must be a tuple: \('leftover',\)"),
        ({"conditioning": ("leftovers",)}, "did you mean 'leftover'"),
        ({"max_origin": -1}, "max_origin=-1"),
        ({"num_steps": 0}, "num_steps=0"),
    ],
)
def test_specs_are_checked(field, message):
    with pytest.raises(ValueError, match=message):
        PolicySpec(**{"chunk_size": 4, "action_dim": 6} | field)
    with pytest.raises(ValueError, match="control_hz=0"):
        Measured(0)


def test_numbers_that_are_not_finite_stop_the_evaluation():
    def broken(obs):
        return np.full((4, DIM), np.nan if obs[0] == 3 else 0.0)

    class Lost(HashWorld):
        def step(self, action):
            step = super().step(action)
            return Step(step.obs, np.nan if self.tick == 2 else 0.0)

    with pytest.raises(NonFiniteError, match=r"the policy produced a non-finite number: policy broken.*tick 3"):
        rtc.evaluate(env=HashWorld(0), policy=broken, episodes=1)
    with pytest.raises(NonFiniteError, match=r"the simulator produced.*tick 1"):
        rtc.evaluate(env=Lost(0), policy=EchoExternal(), episodes=1)


def test_what_conditions_itself_is_told_and_corrected():
    policy = EchoExternal(BOTH)
    rtc.evaluate(
        env=HashWorld(0),
        policy=policy,
        method="conditioned+a2c2",
        networks={"head": lambda obs, action, phase: 0 * action},
        delay=2,
        episodes=1,
    )
    assert policy.requests[0].leftover is None
    assert [len(request.leftover) for request in policy.requests[1:3]] == [4, 2]
