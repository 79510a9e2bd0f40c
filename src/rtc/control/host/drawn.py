"""A policy of which only chunks are known, as methods see it."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from rtc.control.host.deferred import Sizes, unasked
from rtc.methods import Method


class BeyondChunks(AttributeError):
    """A method wants more of a policy than chunks."""


class Drawn:
    """The chunks of a query, drawn before the method is asked what it makes of them.

    A method may ask once, where the robot is: for a chunk (`action`), for several (`condition` and `sample`), or for
    one that the policy has joined by itself (`conditioned`).

    Attributes:
        action_chunk_size, action_dim: as of `rtc.methods.Policy`.
        asked: chunks that the method has asked for.
        joins: it has asked for a chunk that the policy joins by itself.
    """

    def __init__(
        self,
        sizes: Sizes,
        obs: Float[Array, "1 o"],
        chunks: Float[Array, "n h a"] | None = None,
        origin: Int[Array, " 1"] | None = None,
    ):
        """`obs` is the query's; without `chunks`, as many zeros as the method asks for."""
        self.action_chunk_size, self.action_dim = sizes.action_chunk_size, sizes.action_dim
        self.asked, self.joins = 0, False
        self._obs = obs
        self._chunks = None if chunks is None else jnp.asarray(chunks)
        self._origin = jnp.zeros(1, jnp.int32) if origin is None else jnp.asarray(origin)

    def action(
        self, rng: Any, obs: Float[Array, "1 o"], num_steps: int, *, noise: Any = None, flow_steps: Any = None
    ) -> Float[Array, "1 h a"]:
        """A chunk."""
        self._require_here(obs)
        return self._given(1)

    def condition(self, obs: Float[Array, "1 o"]) -> Float[Array, "1 0"]:
        """What a sample needs of the observation: nothing, since the policy has seen it."""
        self._require_here(obs)
        return jnp.zeros((1, 0))

    def sample(
        self, condition: Float[Array, "n 0"], noise: Float[Array, "n h a"], num_steps: int, flow_steps: Any = None
    ) -> Float[Array, "n h a"]:
        """Chunks, one per row of the noise."""
        return self._given(len(noise))

    def conditioned(self, obs: Float[Array, "1 o"]) -> tuple[Float[Array, "1 h a"], Int[Array, " 1"]]:
        """A chunk that the policy has joined to what is being executed, and its origin."""
        self._require_here(obs)
        self.joins = True
        return self._given(1), self._origin

    def _given(self, count: int) -> Float[Array, "n h a"]:
        if self.asked:
            raise BeyondChunks("it asks the policy twice in a query")
        self.asked = count
        return jnp.zeros((count, self.action_chunk_size, self.action_dim)) if self._chunks is None else self._chunks

    def _require_here(self, obs: Any) -> None:
        if obs is not self._obs:
            raise BeyondChunks("it asks for a chunk from another observation than the robot's")

    def __getattr__(self, name: str) -> Any:
        raise BeyondChunks(f"it uses the policy's {name}")


def wanted(method: Method, sizes: Sizes, name: str, obs: Float[np.ndarray, "1 o"]) -> tuple[int, bool]:
    """How many chunks a method wants per query, and whether the policy has to join them by itself.

    Args:
        method: the method.
        sizes: of the policy.
        name: of the method, for messages.
        obs: any observation, as the method's own networks read it.

    Raises:
        ValueError: the method works inside the policy, beyond its chunks.
    """
    found: list[Drawn] = []

    def answer(query: Any, obs: Any, drawn: Any) -> Any:
        policy = Drawn(sizes, obs)
        found.append(policy)
        if problem := method.problem(policy):
            raise BeyondChunks(f"it {problem}")
        keys = jax.random.wrap_key_data(query.key)
        return method.answer(policy, query._replace(key=keys, obs=obs), method.init(policy, 1), drawn, 1)

    heard = unasked(sizes, method.max_origin(sizes.action_chunk_size), 1)
    try:
        jax.eval_shape(answer, heard.query, obs, heard.drawn)
    except Exception as error:  # whatever it meets on its way beyond the chunks
        raise ValueError(
            f"method={name!r} works inside the policy, of which only chunks are known here ({error}): choose a method "
            "that needs only chunks, such as naive; or, if the policy can join its chunks by itself, say so in its "
            "spec, PolicySpec(conditioning=('planned_delay', 'leftover')), and choose method='conditioned'"
        ) from error
    return found[0].asked, found[0].joins
