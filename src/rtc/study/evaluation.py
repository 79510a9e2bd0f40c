"""Evaluates a policy on a level under one delay profile: configuration in, metrics and records out."""

import dataclasses
import functools
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

import jax
import numpy as np
from jaxtyping import Int

from rtc import methods
from rtc.control import executor, metrics
from rtc.control.controller import ExecutionConfig
from rtc.control.metrics import Summary
from rtc.control.records import NEVER, Records
from rtc.delay.estimators import EstimatorConfig
from rtc.delay.profiles import DelayProfileConfig
from rtc.methods import MethodOptions
from rtc.policies.flow import FlowPolicy
from rtc.policies.mixer import ModelConfig
from rtc.shared import runtime
from rtc.shared.validation import require_choice, require_float, require_int
from rtc.study.preparation import Assets, prepare
from rtc.worlds.kinetix import levels
from rtc.worlds.kinetix.levels import Level

DEFAULT_SLOTS = 64
# Randomness starts from 32 bits: a larger seed would be another one again.
LARGEST_SEED = 2**32 - 1
Result = TypeVar("Result")


@dataclass(frozen=True)
class ModelSize:
    """Size that a policy has to have; None leaves a field to the checkpoint.

    Attributes:
        channel_dim, channel_hidden_dim, token_hidden_dim, num_layers, action_chunk_size: as in `ModelConfig`.
        simulated_delay: how a policy was trained whose checkpoint does not say so (a pickle); others know it.
    """

    channel_dim: int | None = None
    channel_hidden_dim: int | None = None
    token_hidden_dim: int | None = None
    num_layers: int | None = None
    action_chunk_size: int | None = None
    simulated_delay: int | None = None

    def wanted(self, there: ModelConfig, trust: bool) -> ModelConfig:
        """The configuration to check a checkpoint against.

        Args:
            there: what the checkpoint says.
            trust: it knows how it was trained.

        Raises:
            ValueError: it says that it was trained with another simulated delay.
        """
        if trust and self.simulated_delay not in (None, there.simulated_delay):
            raise ValueError(
                f"model.simulated_delay={self.simulated_delay}, but the checkpoint was trained with "
                f"simulated_delay={there.simulated_delay}: leave it out"
            )
        given = {name: value for name, value in dataclasses.asdict(self).items() if value is not None}
        return dataclasses.replace(there, **given)


@dataclass(frozen=True)
class EvalConfig:
    """One evaluation of one policy on one level.

    Attributes:
        step: epoch of the checkpoint; -1 takes the last one.
        num_evals: episodes.
        num_flow_steps: Euler steps per chunk.
        delay_profile: distribution of the inference delay; none by default.
        method: execution method, a name from `rtc.methods.METHODS`.
        method_options: numbers of the methods.
        estimator: what the method is told about the delay.
        execution: how chunks are executed.
        physics: the simulator's step: "fast", or "stock" for Kinetix's own.
        start_noise: perturbation of the start states; 0 starts every episode alike.
        num_slots: episodes simulated at a time, per device; results do not depend on it.
        model: what the policy's size has to be; by default whatever the checkpoint has.
    """

    step: int = -1
    num_evals: int = 2048
    num_flow_steps: int = 5
    delay_profile: DelayProfileConfig = field(default_factory=DelayProfileConfig)
    method: str = "naive"
    method_options: MethodOptions = field(default_factory=MethodOptions)
    estimator: EstimatorConfig = field(default_factory=EstimatorConfig)
    execution: ExecutionConfig = field(default_factory=ExecutionConfig)
    physics: str = "fast"
    start_noise: float = 0.0
    num_slots: int = DEFAULT_SLOTS
    model: ModelSize = field(default_factory=ModelSize)

    def __post_init__(self):
        require_int("num_evals", self.num_evals, low=1)
        require_int("num_flow_steps", self.num_flow_steps, low=1)
        require_int("num_slots", self.num_slots, low=1)
        require_choice("method", self.method, methods.METHODS)
        require_choice("physics", self.physics, levels.PHYSICS)
        require_float("start_noise", self.start_noise, low=0.0, high=levels.LARGEST_START_NOISE)
        if isinstance(self.model, ModelConfig):
            sizes = {field.name: getattr(self.model, field.name) for field in dataclasses.fields(ModelSize)}
            object.__setattr__(self, "model", ModelSize(**sizes))
        chunk, horizon = self.model.action_chunk_size, self.execution.execute_horizon
        if chunk is not None:
            require_horizon(horizon, chunk)


def require_horizon(horizon: int, chunk_size: int) -> None:
    """Raises ValueError where more of a chunk would be executed than there is."""
    if horizon > chunk_size:
        raise ValueError(
            f"execute_horizon={horizon} exceeds action_chunk_size={chunk_size}: choose at most {chunk_size}"
        )


@dataclass(frozen=True)
class Evaluation:
    """What an evaluation found.

    Attributes:
        summary: its metrics.
        records: what happened in each episode.
        wall_s: wall time in seconds, compilation included.
        utilisation: share of the simulated slot-ticks that belonged to an episode.
    """

    summary: Summary
    records: Records
    wall_s: float
    utilisation: float


class NonFiniteError(FloatingPointError):
    """The policy or the simulator produced a NaN or an infinity."""


def with_fewer_slots(run: Callable[[int], Result], num_slots: int) -> Result:
    """Calls `run(num_slots)`, halving the number of slots whenever the device runs out of memory."""
    while True:
        try:
            return run(num_slots)
        except (jax.errors.JaxRuntimeError, MemoryError) as error:
            exhausted = isinstance(error, MemoryError) or "RESOURCE_EXHAUSTED" in str(error)
            if not exhausted or num_slots == 1:
                raise
            num_slots //= 2
            warnings.warn(f"out of memory: trying again with num_slots={num_slots}; same results", stacklevel=2)


def evaluate(
    config: EvalConfig, level: Level, policy: FlowPolicy, *, assets: Assets | None = None, seed: int = 0
) -> Evaluation:
    """Runs `config.num_evals` episodes of a policy on a level.

    Args:
        assets: the networks that the method needs.

    Raises:
        ValueError: the method does not fit the policy, or lacks a network.
        NonFiniteError: a NaN or infinity appeared; the message says in which episode and tick.
    """
    runtime.make_room()
    env, folded, controller = prepare(config, level, policy, assets)
    hedge = config.delay_profile.tail.hedge
    return run(
        functools.partial(executor.rollout, env, folded, controller, seed=seed, num_steps=config.num_flow_steps),
        config,
        level,
        what=f"level {level.name}, method {config.method}, seed {seed}",
        chunk_size=policy.action_chunk_size,
        evaluations=lambda steps: controller.method.network_evaluations(steps) * hedge,
        bootstrap_evaluations=controller.method.bootstrap_evaluations(policy, config.num_flow_steps),
    )


def run(
    rollout: Callable[..., Records],
    config: EvalConfig,
    level: Level,
    *,
    what: str,
    chunk_size: int,
    evaluations: Callable[[Int[np.ndarray, "n t"]], Int[np.ndarray, "n t"]],
    bootstrap_evaluations: int,
) -> Evaluation:
    """Runs the episodes of a configuration, with fewer slots where memory is short, and summarises them.

    Args:
        rollout: `executor.rollout` of everything but `episodes` and `num_slots`.
        what: names the evaluation in messages.
        chunk_size, evaluations, bootstrap_evaluations: as of `metrics.summarise`.

    Raises:
        NonFiniteError: a NaN or infinity appeared; the message says in which episode and tick.
    """
    episodes = np.arange(config.num_evals)
    start = time.perf_counter()
    records = with_fewer_slots(lambda slots: rollout(episodes=episodes, num_slots=slots), config.num_slots)
    wall_s = time.perf_counter() - start
    require_finite(records, what)
    summary = metrics.summarise(
        records,
        episodes,
        chunk_size=chunk_size,
        bound_actions=level.bound_actions,
        evaluations=evaluations,
        bootstrap_evaluations=bootstrap_evaluations,
    )
    return Evaluation(summary, records, wall_s, float(records.length.sum() / executor.slot_ticks(records)))


def require_finite(records: Records, what: str) -> None:
    """Raises NonFiniteError, with `what` in its message, if an episode broke down."""
    bad = np.flatnonzero(records.bad_tick != NEVER)
    if bad.size == 0:
        return
    episode = int(bad[0])
    tick = int(records.bad_tick[episode])
    source = "simulator" if np.isfinite(records.actions[episode, tick]).all() else "policy"
    raise NonFiniteError(
        f"the {source} produced a non-finite number: {what}, episode {episode}, tick {tick} "
        f"({bad.size} of {len(records.length)} episodes affected)"
    )
