"""A2C2: every action is corrected by a small network just before it is executed."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp

from rtc.methods.assets import network_spec
from rtc.methods.base import Act, AssetSpec, Now, State
from rtc.methods.foresee import foresee_learned, foresee_simulator
from rtc.methods.naive import naive
from rtc.methods.trained_prefix import trained_prefix
from rtc.methods.wrapper import Wrapper
from rtc.policies.heads import CorrectionHead, HeadOnly


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Corrected(Wrapper):
    """Asynchronous action chunk correction (A2C2, arXiv 2509.23224): a head adds a correction to every action.

    The head sees the newest observation, the planned action and the action's place in its chunk, at every tick; the
    chunk is left as it was. It needs no estimate of the delay. Where a tick is starved there is no planned action: the
    fallback is corrected as if it were the chunk's last one.

    Cost: the inner method's, and one evaluation of the head per tick.

    Attributes:
        inner: makes the chunks.
        head: a `CorrectionHead` that was trained on this policy.
        alone: the head's output is the action: what it does without the chunk's actions.
    """

    head: Any = None
    alone: bool = field(default=False, metadata={"static": True})

    def act(self, policy: Any, now: Now, state: State) -> tuple[Act, State]:
        act, state = self.inner.act(policy, now, state)
        size = policy.action_chunk_size
        entry = jnp.where(now.starved, size - 1, now.entry)
        planned = jnp.clip(act.action, -1, 1)
        correction = self.head(now.obs, planned, entry / size)
        action = correction if self.alone else planned + correction
        age = now.obs_age if self.alone else jnp.minimum(act.age, now.obs_age)
        return Act(action, age, act.evaluations + 1), state

    def own_assets(self) -> Mapping[str, AssetSpec]:
        return {"head": HEAD_ALONE if self.alone else HEAD}


HEAD = network_spec(CorrectionHead, "a correction head for the policy")
HEAD_ALONE = network_spec(HeadOnly, "a head that acts without a planned action")


def a2c2(noise_scale: float = 1.0) -> Corrected:
    return Corrected(naive(noise_scale))


def head_only(noise_scale: float = 1.0) -> Corrected:
    """What the head could do by itself: a policy that is fast enough to be asked at every tick."""
    return Corrected(naive(noise_scale), alone=True)


def trained_prefix_a2c2(noise_scale: float = 1.0) -> Corrected:
    return Corrected(trained_prefix(noise_scale))


def foresee_learned_a2c2(noise_scale: float = 1.0) -> Corrected:
    return Corrected(foresee_learned(noise_scale))


def foresee_simulator_a2c2(noise_scale: float = 1.0) -> Corrected:
    return Corrected(foresee_simulator(noise_scale))
