"""The host executor: episodes of any policy in any environment, in Python, one at a time.

The rules of time are those of `rtc.control.executor`, and its code: see `rtc.control.host.deferred`. So are the keys of
all randomness: the same (seed, episode, query) draws the same delay, whatever policy and environment are.
"""

import copy
from collections import deque
from collections.abc import Sequence
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Float, Int

from rtc.control import executor
from rtc.control.blocks import stream_keys
from rtc.control.controller import Controller
from rtc.control.environment import Transition
from rtc.control.host import deferred
from rtc.control.host.environments import ExternalEnvironment, Observation, Step, is_finite
from rtc.control.host.measured import Measured
from rtc.control.host.policies import ExternalPolicy
from rtc.control.host.respondents import External, Native, Respondent
from rtc.control.host.seeds import seed_of
from rtc.control.records import Records
from rtc.control.slots import START
from rtc.delay.estimators import Oracle
from rtc.delay.sampling import UNBOUNDED
from rtc.methods import Policy
from rtc.shared.validation import require_int

DEFAULT_STEPS = 5
# Control ticks that records have room for, in powers of two: environments share compiled programs.
MIN_COLUMNS = 64


class Rollout(NamedTuple):
    """What happened.

    Attributes:
        records: as of `rtc.control.executor.rollout`.
        latency_ms: of the query launched at this tick, one row per episode; NaN where none was launched, and where
            nobody measured.
    """

    records: Records
    latency_ms: Float[np.ndarray, "n t"]


def rollout(
    environment: ExternalEnvironment,
    policy: ExternalPolicy | Policy,
    controller: Controller,
    *,
    seed: int,
    episodes: Int[np.ndarray, " n"] | Sequence[int],
    max_ticks: int | None = None,
    num_steps: int | None = None,
    measured: Measured | None = None,
    method_name: str | None = None,
) -> Rollout:
    """Runs episodes to their ends.

    Args:
        environment: the environment.
        policy: an external policy, or one of this project.
        controller: method, delays, estimator and execution rules, as for `rtc.control.executor.rollout`.
        seed: seed of all randomness; with the episode's number it determines what happens in an episode, as far as
            policy and environment keep to the seeds that they are given.
        episodes: episode numbers, at least 0, in any order.
        max_ticks: control ticks after which an episode ends; by default the environment's.
        num_steps: flow steps per query of a policy of this project, 5 by default. An external policy's spec says its
            own.
        measured: queries take as long as they really take; the controller's delays are `Measured.profile()` then.
        method_name: what messages call the method.

    Returns:
        Records whose row i belongs to `episodes[i]`, as numpy arrays, and latencies.

    Raises:
        ValueError: an argument is out of range, or environment, policy, method and delays do not go together.
    """
    name = method_name or type(controller.method).__name__
    max_ticks = _max_ticks(environment, max_ticks)
    _check(controller, measured, name)
    respondent = _respondent(policy, controller, num_steps, measured, name)
    _check_sizes(environment, controller, respondent)
    numbers = np.asarray(episodes, np.int32)
    if numbers.ndim != 1 or numbers.size == 0 or numbers.min() < 0:
        raise ValueError("episodes must be a non-empty vector of numbers of at least 0")
    rules = deferred.deferred(controller, respondent.sizes)
    runs = [_Episode(environment, respondent, rules, seed, int(number), max_ticks).run() for number in numbers]
    records, latency_ms = jax.tree.map(lambda *rows: np.concatenate(rows), *runs)
    # One program ran them all: its ticks stand in the first row, so that `executor.slot_ticks` finds them.
    ticks = np.zeros_like(records.slot_ticks)
    ticks[0] = records.length.sum()
    records = records._replace(slot_ticks=ticks)
    executor._check_origins(controller.method, respondent.sizes.action_chunk_size, records)
    return Rollout(records, latency_ms)


class _Episode:
    """One episode."""

    def __init__(
        self,
        environment: ExternalEnvironment,
        respondent: Respondent,
        rules: Controller,
        seed: int,
        number: int,
        max_ticks: int,
    ):
        self.environment, self.respondent, self.rules = environment, respondent, rules
        self.number, self.max_ticks = number, max_ticks
        self.key = jax.random.fold_in(jax.random.key(seed), number)
        self.tick = 0
        self.unanswered = deferred.no_replies(respondent.sizes)
        self.seen: deque[Observation] = deque(maxlen=rules.observation_lag + rules.correction_delay + 1)
        self.latency_ms = np.full((1, max_ticks), np.nan)

    def run(self) -> Rollout:
        if hasattr(self.environment, "begin_episode"):
            self.environment.begin_episode(self.number)
        obs = self.environment.reset(seed_of(stream_keys(self.key[None], START)[0]))
        self._see(obs)
        bootstrap = self.respondent.begin(self.key, obs, int(self.rules.execute_horizon))
        columns = max(MIN_COLUMNS, 1 << (self.max_ticks - 1).bit_length())
        carry = deferred.begin(self.rules, self.respondent.sizes, self.key, bootstrap, columns)
        while not deferred.is_over(carry):
            carry = self._after_tick(carry)
        return Rollout(jax.tree.map(self._within, carry.records), self.latency_ms)

    def _within(self, record: Array) -> np.ndarray:
        """A record without the columns that no tick can reach."""
        return np.asarray(record if record.ndim == 1 else record[:, : self.max_ticks])

    def _after_tick(self, carry: deferred.Carry) -> deferred.Carry:
        """One control tick: what is asked is answered, then the environment is stepped."""
        replies = self.unanswered
        _, heard, action = self._attempt(carry, replies)
        if np.asarray(heard.asked)[0]:
            answer, latency_ms = self.respondent.answer(heard, self._observed(heard.query.obs), self.tick)
            self.latency_ms[0, self.tick] = latency_ms
            replies = replies._replace(answer=answer)
            _, heard, action = self._attempt(carry, replies)
        if self.rules.method.acts:
            replies = replies._replace(act=self.respondent.act(heard, self._observed(heard.now.obs)))
            _, _, action = self._attempt(carry, replies)
        carry, _, _ = self._attempt(carry, replies._replace(transition=self._step(np.array(action)[0])))
        return carry

    def _attempt(self, carry: deferred.Carry, replies: deferred.Replies) -> tuple:
        return deferred.attempt(self.rules, self.respondent.sizes, carry, replies, self.respondent.num_steps)

    def _see(self, obs: Observation) -> None:
        """Keeps an observation; a copy where it is read later, when a simulator may have written into it."""
        self.seen.append(obs if self.seen.maxlen == 1 else copy.deepcopy(obs))

    def _observed(self, tick: Float[Array, "1 1"]) -> Observation:
        """The observation of a tick, which is one of the last few."""
        return self.seen[int(np.asarray(tick)[0, 0]) - self.tick - 1]

    def _step(self, action: Float[np.ndarray, " a"]) -> Transition:
        """What an action leads to. A simulator is spared one that is not finite, which ends the episode anyway."""
        step = self.environment.step(action) if np.isfinite(action).all() else Step(self.seen[-1])
        if not isinstance(step, Step):
            raise ValueError(f"step returned a {type(step).__name__}: let it return a Step")
        self._see(step.obs)
        self.tick += 1
        done = step.terminated or step.truncated or self.tick >= self.max_ticks
        return Transition(
            obs=np.full((1, 1), self.tick, np.float32),
            reward=np.full(1, step.reward, np.float32),
            done=np.full(1, done, bool),
            solved=np.full(1, step.solved, bool),
            finite=np.full(1, is_finite(step), bool),
            distance=np.zeros(1, np.float32),
        )


def _max_ticks(environment: ExternalEnvironment, given: int | None) -> int:
    found = getattr(environment, "max_ticks", None) if given is None else given
    if found is None:
        raise ValueError("max_ticks=None: this environment has no limit of its own, so give one, in control ticks")
    require_int("max_ticks", found, low=1)
    return found


def _check(controller: Controller, measured: Measured | None, name: str) -> None:
    """Raises ValueError where method or estimator cannot be used here."""
    if controller.method.privileged:
        raise ValueError(
            f"method={name!r} looks at the simulator, which is stepped elsewhere: choose one that is not privileged"
        )
    if measured is not None and isinstance(controller.estimator, Oracle):
        raise ValueError("estimator='oracle' knows delays in advance, and measured ones are not known: choose another")


def _respondent(
    policy: ExternalPolicy | Policy, controller: Controller, num_steps: int | None, measured: Measured | None, name: str
) -> Respondent:
    if hasattr(policy, "infer"):
        if num_steps is not None:
            raise ValueError(f"num_steps={num_steps} has no effect: an external policy's spec says its own")
        if int(controller.process.anytime) < UNBOUNDED and policy.spec.num_steps is None:
            raise ValueError(
                "anytime has no effect: this policy cannot stop early; let its spec have num_steps and its queries "
                "keep to Request.num_steps, or leave anytime out"
            )
        return External(policy, controller.method, measured, name)
    num_steps = DEFAULT_STEPS if num_steps is None else num_steps
    require_int("num_steps", num_steps, low=1)
    executor._check_method(controller.method, policy)
    return Native(policy, controller.method, num_steps, measured)


def _check_sizes(environment: ExternalEnvironment, controller: Controller, respondent: Respondent) -> None:
    """Raises ValueError where numbers of the environment, the controller and the policy do not go together."""
    sizes, horizon = respondent.sizes, int(controller.execute_horizon)
    size, dim = sizes.action_chunk_size, sizes.action_dim
    if horizon > size:
        raise ValueError(f"execute_horizon={horizon} exceeds the chunk size {size}: choose at most that")
    takes = getattr(environment, "action_dim", dim)
    if takes != dim:
        raise ValueError(
            f"action_dim={dim} of the policy, but the environment takes {takes} numbers: adapt one of them"
        )
    if controller.method.waits and controller.method.max_origin(size):
        raise ValueError("a method that waits for its chunks cannot plan ahead: let max_origin be 0")
