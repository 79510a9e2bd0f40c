"""Policies that join their chunks to what is being executed by themselves."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int

from rtc.methods import Answer, FlowMethod, Method, Query
from rtc.methods.a2c2 import Corrected
from rtc.methods.base import State


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Conditioned(FlowMethod):
    """The policy is told what its spec says that it can be told, and does the rest itself.

    For policies with Real-Time Chunking of their own, such as LeRobot's `predict_action_chunk(batch, inference_delay=…,
    prev_chunk_left_over=…)`; trained on committed prefixes (arXiv 2512.05964); or planning for the state at hand-over
    (arXiv 2512.01031), with `Reply.origin`. Cost: one query per chunk.

    Attributes:
        noise_scale: without effect.
        ahead: largest origin of the policy's chunks, in ticks.
    """

    noise_scale: Any = 1.0
    ahead: int = field(default=0, metadata={"static": True})

    def answer(
        self, policy: Any, query: Query, state: State, drawn: Int[Array, " b"], num_steps: int
    ) -> tuple[Answer, State]:
        chunk, origin = policy.conditioned(query.obs)
        return Answer(chunk, drawn, query.flow_steps, origin if self.ahead else 0), state

    def max_origin(self, chunk_size: int) -> int:
        return self.ahead

    def problem(self, policy: Any) -> str | None:
        if not hasattr(policy, "conditioned"):
            return "needs a policy with a `PolicySpec` whose conditioning says what it can be told"
        return None


# Methods that only the host executor has, by name: from the largest origin of the policy's chunks to the method.
CONDITIONED: Mapping[str, Callable[[int], Method]] = MappingProxyType(
    {
        "conditioned": lambda ahead: Conditioned(jnp.float32(1), ahead),
        "conditioned+a2c2": lambda ahead: Corrected(Conditioned(jnp.float32(1), ahead)),
    }
)
