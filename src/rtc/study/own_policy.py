"""A policy or a simulator of one's own, under the benchmark's delays: `rtc.evaluate`."""

import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import gymnasium
import numpy as np
import pandas as pd

from rtc import methods, worlds
from rtc.control import host, metrics
from rtc.control.controller import ExecutionConfig, make_controller
from rtc.control.host import CONDITIONED, ExternalEnvironment, ExternalPolicy, FunctionPolicy, Measured
from rtc.control.host.heads import adapted
from rtc.control.records import NEVER, Records
from rtc.delay.estimators import EstimatorConfig
from rtc.delay.profiles import DelayProfileConfig, profile
from rtc.delay.sampling import make_process
from rtc.methods import METHODS, Method, MethodOptions, Policy
from rtc.policies import kinds
from rtc.shared.validation import require_choice, require_int
from rtc.study import policy_kinds, statistics
from rtc.study.evaluation import LARGEST_SEED, EvalConfig, require_finite
from rtc.study.statistics import Interval
from rtc.worlds.gym import GymEnvironment, Solved

Delay = str | int | DelayProfileConfig | Measured


@dataclass(frozen=True)
class Evaluated:
    """What an evaluation found.

    Attributes:
        method: name of the method.
        policy: what the policy is, as its spec says.
        seed: seed of all randomness.
        episodes: one row per episode, with the columns of the benchmark's episodes.csv (docs/metrics.md).
        queries: one row per query: `episode`, `tick` of its launch, realised `delay` and `planned_delay` in ticks,
            `abandoned`, and `latency_ms` (NaN where nobody measured).
        solve_rate: share of solved episodes, with its 95 % Wilson interval.
        metrics: the scalar metrics, by name (docs/metrics.md).
        records: what happened at every tick.
    """

    method: str
    policy: str
    seed: int
    episodes: pd.DataFrame
    queries: pd.DataFrame
    solve_rate: Interval
    metrics: dict[str, float]
    records: Records

    def __str__(self) -> str:
        rate = self.solve_rate
        return (
            f"{self.policy}, {self.method}: solved {rate.value:.1%} [{rate.low:.1%}, {rate.high:.1%}] of "
            f"{len(self.episodes)} episodes, mean delay {self.metrics['mean_delay']:.2f} ticks, "
            f"starved {self.metrics['starved_fraction']:.1%} of the ticks"
        )

    __repr__ = __str__


def evaluate(
    *,
    env: str | gymnasium.Env | ExternalEnvironment | Callable[[], Any],
    policy: ExternalPolicy | Policy | Callable[..., Any],
    method: str = "naive",
    delay: Delay = "no_delay",
    episodes: int = 100,
    seed: int = 0,
    estimator: EstimatorConfig | None = None,
    execution: ExecutionConfig | None = None,
    method_options: MethodOptions | None = None,
    networks: Mapping[str, Any] | None = None,
    num_flow_steps: int | None = None,
    max_ticks: int | None = None,
    solved: Solved | None = None,
) -> Evaluated:
    """Runs a policy in an environment under inference delay, and sums it up as the benchmark does.

    Episode i meets the same delays and seeds with every policy, method and environment, so that results of one `seed`
    can be compared episode by episode (`rtc.study.pairs.table_interval`).

    Args:
        env: a `gymnasium.Env` with continuous actions; an `rtc.control.host.ExternalEnvironment`; a function without
            arguments that makes one of them, which is closed in the end; or the name of a world ("grasp_easy").
        policy: a function from an observation to a chunk (H x A); with a parameter `rng`, it is given a generator that
            depends on the query. Or an `rtc.control.host.ExternalPolicy`, or a policy of this project.
        method: name of a method. Of a function or an external policy, only chunks are known: methods that work inside a
            policy are refused. `conditioned` tells the policy what its spec says that it can be told, planned delay
            and leftover.
        delay: name of a delay profile, a constant delay in ticks, a profile, or `rtc.control.host.Measured`.
        episodes: number of episodes.
        seed: seed of all randomness.
        estimator: what the method is told about the delay; by default the largest of the last ten.
        execution: how chunks are executed; by default s = 1 without action noise.
        method_options: numbers of the method.
        networks: networks that the method needs, by name: for `a2c2` a `head`, a function (obs, action, phase) ->
            correction or an `rtc.policies.heads.CorrectionHead`.
        num_flow_steps: flow steps per query of a policy of this project, 5 by default.
        max_ticks: control ticks after which an episode ends; by default the environment's own limit.
        solved: of a `gymnasium.Env`, whether a tick has solved the episode: see `rtc.worlds.gym.GymEnvironment`.

    Raises:
        ValueError: an argument is out of range, or they do not go together; the message has the fix.
        NonFiniteError: a NaN or infinity appeared; the message says in which episode and tick.
    """
    episodes, seed, delay, max_ticks = map(_plain, (episodes, seed, delay, max_ticks))
    require_int("episodes", episodes, low=1)
    require_int("seed", seed, low=0, high=LARGEST_SEED)
    for name, value, kind in (("estimator", estimator, EstimatorConfig), ("execution", execution, ExecutionConfig)):
        _require_kind(name, value, kind)
    measured = delay if isinstance(delay, Measured) else None
    delays = _profile(delay)
    numbers = np.arange(episodes)
    with _opened(env, solved, max_ticks) as environment:
        asked = _policy(policy, environment)
        num_flow_steps = _flow_steps(asked, num_flow_steps, method, method_options, delays)
        process, chooser = make_process(delays), (estimator or EstimatorConfig()).make()
        made = _method(method, method_options or MethodOptions(), asked)
        controller = make_controller(made, process, chooser, execution or ExecutionConfig(action_noise=0.0))
        bound = made.bind(_networks(made, method, networks or {}, environment, asked))
        controller = dataclasses.replace(controller, method=bound)
        records, latency_ms = host.rollout(
            environment,
            asked,
            controller,
            seed=seed,
            episodes=numbers,
            max_ticks=max_ticks,
            num_steps=num_flow_steps,
            measured=measured,
            method_name=method,
        )
        moves = getattr(environment, "bound_actions", None)
    spec = getattr(asked, "spec", None)
    identity = spec.identity if spec is not None else type(asked).__name__
    require_finite(records, f"policy {identity}, method {method}, seed {seed}")
    steps = host.DEFAULT_STEPS if num_flow_steps is None else num_flow_steps
    summary = metrics.summarise(
        records,
        numbers,
        chunk_size=asked.action_chunk_size if spec is None else spec.chunk_size,
        bound_actions=np.ones(records.actions.shape[2], bool) if moves is None else np.asarray(moves, bool),
        evaluations=lambda taken: bound.network_evaluations(taken) * delays.tail.hedge,
        bootstrap_evaluations=bound.bootstrap_evaluations(asked, steps if spec is None else spec.num_steps or 1),
    )
    rate = statistics.wilson(int(records.solved.sum()), episodes)
    queries = _queries(records, latency_ms)
    return Evaluated(method, identity, seed, summary.episodes, queries, rate, summary.row, records)


def _plain(value: Any) -> Any:
    """A number of NumPy's as one of Python's."""
    return value.item() if isinstance(value, np.generic) else value


def _require_kind(name: str, value: object, kind: type) -> None:
    """Raises ValueError where a setting is given as something else, a text or a dictionary for instance."""
    if value is not None and not isinstance(value, kind):
        raise ValueError(f"{name}={value!r} is a {type(value).__name__}: give an rtc {kind.__name__}")


def _profile(delay: Delay) -> DelayProfileConfig:
    if isinstance(delay, Measured):
        return delay.profile()
    if isinstance(delay, str):
        return profile(delay)
    if isinstance(delay, DelayProfileConfig):
        return delay
    require_int("delay", delay, low=0)
    return DelayProfileConfig(fixed_delay=delay)


@contextlib.contextmanager
def _opened(env: Any, solved: Solved | None, max_ticks: int | None) -> Iterator[ExternalEnvironment]:
    """The environment that is meant; closed in the end if it was made here."""
    if isinstance(env, str):
        world = worlds.load(env)
        if worlds.is_hosted(env):
            with contextlib.closing(worlds.open_env(world)) as opened:
                _require_within(max_ticks, opened.max_ticks)
                yield _own(opened, solved)
            return
        simulated = host.Simulated(worlds.make_env(world), world.bound_actions)
        _require_within(max_ticks, simulated.max_ticks)
        yield _own(simulated, solved)
        return
    made = isinstance(env, type) or (not isinstance(env, gymnasium.Env) and not hasattr(env, "step") and callable(env))
    found = env() if made else env
    with contextlib.ExitStack() as stack:
        if made and hasattr(found, "close"):
            stack.callback(found.close)
        if isinstance(found, gymnasium.Env):
            _require_within(max_ticks, getattr(found.spec, "max_episode_steps", None))
            yield GymEnvironment(found, solved=solved, max_ticks=max_ticks)
        else:
            if isinstance(found, host.Simulated):
                _require_within(max_ticks, found.max_ticks)
            yield _own(found, solved)


def _require_within(max_ticks: int | None, limit: int | None) -> None:
    """Raises ValueError where an episode is to last for longer than its environment lets it."""
    if max_ticks is not None and limit is not None and max_ticks > limit:
        raise ValueError(f"max_ticks={max_ticks} has no effect: this world's episodes end after {limit}")


def _own(env: Any, solved: Solved | None) -> ExternalEnvironment:
    """An environment that is no `gymnasium.Env`. Raises ValueError where it is none at all."""
    if hasattr(env, "num_envs"):
        raise ValueError(f"env is a {type(env).__name__} of several environments: give one")
    if not hasattr(env, "reset") or not hasattr(env, "step"):
        raise ValueError(
            f"env is a {type(env).__name__}: give a gymnasium.Env, an rtc.control.host.ExternalEnvironment, a function "
            "that makes one, or the name of a world"
        )
    if hasattr(env, "select"):
        raise ValueError(f"env is a batch of {type(env).__name__}: give rtc.control.host.Simulated(env)")
    if solved is not None:
        raise ValueError("solved has no effect: only a gymnasium.Env needs it, another one says it in its Step")
    return env


def _first_observation(environment: ExternalEnvironment) -> Any:
    """What the first episode begins with."""
    if hasattr(environment, "begin_episode"):
        environment.begin_episode(0)
    return environment.reset(0)


def _policy(policy: Any, environment: ExternalEnvironment) -> Any:
    """An external policy, or one of this project."""
    if isinstance(policy, type):
        raise ValueError(f"policy={policy.__name__} is a class: give an instance of it")
    if hasattr(policy, "infer") or hasattr(policy, "action_chunk_size"):
        if hasattr(policy, "infer") and not isinstance(getattr(policy, "spec", None), host.PolicySpec):
            raise ValueError(f"policy={type(policy).__name__} has no spec: give it one, an rtc.control.host.PolicySpec")
        return policy
    if not callable(policy):
        raise ValueError(
            f"policy is a {type(policy).__name__}: give a function from an observation to a chunk, an "
            "rtc.control.host.ExternalPolicy, or a policy of this project"
        )
    return FunctionPolicy(policy, _first_observation(environment))


def _flow_steps(
    policy: Any, given: int | None, method: str, options: MethodOptions | None, delays: DelayProfileConfig
) -> int | None:
    """Flow steps of a query. Raises ValueError for settings and methods of flows where the policy has none."""
    kind = kinds.of_policy(policy)
    if kind is None or kind.flows or method not in METHODS:
        return given
    asked = EvalConfig(method=method, method_options=options or MethodOptions(), delay_profile=delays)
    asked = asked if given is None else dataclasses.replace(asked, num_flow_steps=given)
    policy_kinds.check(kind, asked)
    return policy_kinds.in_force(kind, asked).num_flow_steps


def _method(name: str, options: MethodOptions, policy: Any) -> Method:
    """A method by name, its networks missing."""
    require_choice("method", name, (*METHODS, *CONDITIONED))
    external = hasattr(policy, "infer")
    if name in CONDITIONED:
        if options.given():
            raise ValueError(f"method_options={options.given()} have no effect with method={name!r}: leave them out")
        return CONDITIONED[name](policy.spec.max_origin if external else 0)
    if external and options.noise_scale is not None:
        raise ValueError(
            f"method_options.noise_scale={options.noise_scale} has no effect: this policy draws its chunks by itself; "
            "leave it out"
        )
    return methods.make(name, options)


def _networks(
    method: Method, name: str, given: Mapping[str, Any], environment: ExternalEnvironment, policy: Any
) -> dict[str, Any]:
    """The networks that a method needs, as it uses them here."""
    needed = method.assets()
    for other in given:
        if other not in needed:
            names = ", ".join(needed) or "none"
            raise ValueError(f"networks has {other!r}, without effect with method={name!r}, which needs {names}")
    if method.knows_delays:
        raise ValueError(
            f"method={name!r} has learned a level by itself and executes no policy's chunks: it is for this project's "
            "own levels, choose another one"
        )
    for one, spec in needed.items():
        if one not in given and hasattr(policy, "infer") and method.max_origin(policy.spec.chunk_size):
            raise ValueError(
                f"method={name!r} plans for a state that is predicted, where this policy cannot be asked: choose "
                "another one; or, if the policy predicts it by itself, conditioned, with max_origin in its spec"
            )
        if one not in given:
            raise ValueError(f"method={name!r} needs {spec.what}: give networks={{{one!r}: ...}}, or another method")
    obs = _first_observation(environment) if given else None
    return {one: adapted(network, obs) for one, network in given.items()}


def _queries(records: Records, latency_ms: np.ndarray) -> pd.DataFrame:
    """One row per query."""
    row, tick = np.nonzero(records.delay != NEVER)
    return pd.DataFrame(
        {
            "episode": row,
            "tick": tick,
            "delay": records.delay[row, tick],
            "planned_delay": records.planned[row, tick],
            "abandoned": records.abandoned[row, tick],
            "latency_ms": latency_ms[row, tick],
        }
    )
