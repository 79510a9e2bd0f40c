"""Flow-matching action-chunk policy: an MLP-mixer over the tokens of a chunk.

A chunk is H actions for H consecutive control ticks. The network predicts the velocity of a flow that carries
Gaussian noise at flow time 0 to a chunk at flow time 1. Execution methods compose `condition`, `velocity` and
`integrate` in ways of their own; the policy knows plain sampling and its training loss.
"""

from collections.abc import Callable, Sequence
from typing import Self

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Int, PRNGKeyArray

from rtc.policies.mixer import (
    MixerBlock,
    ModelConfig,
    Modulation,
    embed_time,
    modulated_norm,
    prefix_mask,
    select,
    zero_linear,
)
from rtc.shared.validation import require_int

__all__ = ["FlowPolicy", "ModelConfig", "VelocityFn"]

# Velocity of (x_t, flow time, modulation at that flow time, lengths of the step in units of 1/num_steps).
VelocityFn = Callable[[Array, Array, Modulation, Array], Array]


class FlowPolicy(nnx.Module):
    """Velocity field v(x_t, obs, t) over action chunks, with plain sampling and its training loss.

    In a query the observation is fixed and the flow times are known beforehand. So samplers compute what
    depends on the observation alone once per query (`condition`), and what depends on the flow time alone once per
    step (`modulation`).

    Args:
        obs_dim: size of the flat observation.
        action_dim: size of one action.
        config: size of the network.
        rngs: source of the initial weights.

    Raises:
        ValueError: `obs_dim` or `action_dim` is not a positive int.
    """

    def __init__(self, *, obs_dim: int, action_dim: int, config: ModelConfig, rngs: nnx.Rngs):
        require_int("obs_dim", obs_dim, low=1)
        require_int("action_dim", action_dim, low=1)
        self.obs_dim, self.action_dim, self.config = obs_dim, action_dim, config
        channels = config.channel_dim
        self.in_proj = nnx.Linear(action_dim + obs_dim, channels, rngs=rngs)
        self.mlp_stack = nnx.List([MixerBlock(config, rngs) for _ in range(config.num_layers)])
        self.time_mlp = nnx.Sequential(
            nnx.Linear(channels, channels, rngs=rngs),
            nnx.swish,
            nnx.Linear(channels, channels, rngs=rngs),
            nnx.swish,
        )
        self.final_adaln = zero_linear(channels, 2 * channels, rngs)
        self.out_proj = nnx.Linear(channels, action_dim, rngs=rngs)

    @property
    def action_chunk_size(self) -> int:
        """H, in control ticks."""
        return self.config.action_chunk_size

    def observing(self, entries: Sequence[int], constants: Float[np.ndarray, " o"]) -> Self:
        """The same policy for observations that hold only some entries: the others are folded into a bias.

        Args:
            entries: entries of the full observation, in the order in which the new policy gets them.
            constants: full observation; its other entries are what they are for ever.

        Raises:
            ValueError: `entries` is empty, holds an entry twice or one that the observation does not have, or
                `constants` is not one observation.
        """
        entries, constants = np.asarray(entries, int), np.asarray(constants, np.float64)
        _check_shape("constants", constants, (self.obs_dim,))
        fixed = np.setdiff1d(np.arange(self.obs_dim), entries)
        if not 0 < len(entries) == self.obs_dim - len(fixed):
            raise ValueError(f"entries={entries.tolist()} must be distinct entries of {self.obs_dim}, at least one")
        kernel = np.asarray(self.in_proj.kernel[...])
        for_actions, for_obs = kernel[: self.action_dim], kernel[self.action_dim :]
        bias = np.asarray(self.in_proj.bias[...], np.float64) + constants[fixed] @ for_obs[fixed].astype(np.float64)
        folded = nnx.clone(self)
        folded.obs_dim = len(entries)
        folded.in_proj.in_features = self.action_dim + len(entries)
        folded.in_proj.kernel = nnx.Param(jnp.asarray(np.concatenate([for_actions, for_obs[entries]])))
        folded.in_proj.bias = nnx.Param(jnp.asarray(bias, jnp.float32))
        return folded

    def __call__(
        self,
        obs: Float[Array, "b o"],
        x_t: Float[Array, "b h a"],
        time: float | Float[Array, ""] | Float[Array, " b"] | Float[Array, "b h"],
    ) -> Float[Array, "b h a"]:
        """Velocity at flow time `time`: one for the batch, one per sample, or one per token.

        Raises:
            ValueError: `obs` or `x_t` does not have the policy's shape.
        """
        self.check_inputs(obs, x_t=x_t)
        time = jnp.asarray(time, jnp.float32)
        time = time.reshape(time.shape + (1,) * (2 - time.ndim)) if time.ndim else time[None, None]
        per_token_obs = jnp.broadcast_to(obs[:, None], (*x_t.shape[:2], self.obs_dim))
        x = self.in_proj(jnp.concatenate([x_t, per_token_obs], axis=-1))
        return self._mix(x, self.modulation(time))

    def action(
        self,
        rng: PRNGKeyArray | None,
        obs: Float[Array, "b o"],
        num_steps: int,
        *,
        noise: Float[Array, "b h a"] | None = None,
        flow_steps: Int[Array, " b"] | None = None,
    ) -> Float[Array, "b h a"]:
        """Samples a chunk per observation with `num_steps` Euler steps.

        Args:
            rng: key of the initial noise; unused where `noise` is given.
            obs: observations.
            num_steps: flow steps.
            noise: initial noise at flow time 0; standard normal by default.
            flow_steps: steps per sample, from 1 to `num_steps`: the last of them goes the rest of the way. None takes
                all of them.

        Raises:
            ValueError: `num_steps` < 1, a wrong shape, or neither `rng` nor `noise`.
        """
        condition = self.condition(obs)
        return self.sample(condition, self.initial_noise(rng, noise, obs.shape[0]), num_steps, flow_steps)

    def loss(self, rng: PRNGKeyArray, obs: Float[Array, "b o"], action: Float[Array, "b h a"]) -> Float[Array, ""]:
        """Conditional flow-matching loss: mean squared error of the velocity over the actions to predict.

        With `ModelConfig.simulated_delay` a prefix of each chunk is given at flow time 1 and left out of the
        loss (training-time RTC, arXiv 2512.05964); length i has probability ∝ exp(simulated_delay - 1 - i).

        Raises:
            ValueError: a wrong shape.
        """
        self.check_inputs(obs, action=action)
        noise_rng, time_rng, delay_rng = jax.random.split(rng, 3)
        noise = jax.random.normal(noise_rng, action.shape)
        time = jax.random.uniform(time_rng, (obs.shape[0], 1, 1))
        x_t, modulation = (1 - time) * noise + time * action, self.modulation(time[..., 0])
        is_prefix = jnp.zeros_like(time, dtype=bool)
        if self.config.simulated_delay is not None:
            logits = jnp.arange(self.config.simulated_delay, 0, -1.0)
            delay = jax.random.categorical(delay_rng, logits, shape=(obs.shape[0],))
            is_prefix = prefix_mask(delay, self.action_chunk_size)
            x_t = jnp.where(is_prefix, action, x_t)
            modulation = select(is_prefix, self.modulation(jnp.ones((1, 1))), modulation)
        error = self.velocity(self.condition(obs), x_t, modulation) - (action - noise)
        return jnp.mean(jnp.square(error), where=~is_prefix)

    def condition(self, obs: Float[Array, "b o"]) -> Float[Array, "b c"]:
        """What depends on the observation alone: its share of the first layer, the same for every token and flow step.

        Raises:
            ValueError: a wrong shape.
        """
        self.check_inputs(obs)
        return obs @ self.in_proj.kernel[self.action_dim :] + self.in_proj.bias[...]

    def modulation(self, time: Float[Array, "*n"]) -> Modulation:
        """What depends on the flow time alone."""
        condition = self.time_mlp(embed_time(time, self.config.channel_dim))
        blocks = tuple(block.modulation(condition) for block in self.mlp_stack)
        return Modulation(blocks, self.final_adaln(condition))

    def velocity(
        self, condition: Float[Array, "b c"], x_t: Float[Array, "b h a"], modulation: Modulation
    ) -> Float[Array, "b h a"]:
        """`__call__`, from what `condition` and `modulation` returned."""
        x = x_t @ self.in_proj.kernel[: self.action_dim] + condition[:, None]
        return self._mix(x, modulation)

    def sample(
        self,
        condition: Float[Array, "b c"],
        noise: Float[Array, "b h a"],
        num_steps: int,
        flow_steps: Int[Array, " b"] | None = None,
    ) -> Float[Array, "b h a"]:
        """`action`, from what `condition` returned."""

        def velocity(x_t: Array, _time: Array, modulation: Modulation, _length: Array) -> Array:
            return self.velocity(condition, x_t, modulation)

        return self.integrate(velocity, noise, num_steps, flow_steps)

    def integrate(
        self,
        velocity: VelocityFn,
        noise: Float[Array, "b h a"],
        num_steps: int,
        flow_steps: Int[Array, " b"] | None = None,
        constrain: Callable[[Array], Array] = lambda x_t: x_t,
    ) -> Float[Array, "b h a"]:
        """Euler steps of any velocity from flow time 0 to 1.

        Args:
            velocity: of (x_t, flow time, modulation at that flow time, length of the step in units of 1/num_steps).
            noise: where the steps start.
            num_steps: number of steps.
            flow_steps: as in `action`.
            constrain: changes x_t before each step.

        Raises:
            ValueError: `num_steps` < 1.
        """
        require_int("num_steps", num_steps, low=1)
        times = jnp.arange(num_steps, dtype=jnp.float32) / num_steps
        steps = jnp.full(1, num_steps) if flow_steps is None else flow_steps
        lengths = step_lengths(steps, num_steps)[..., None, None]

        def step(x_t: Array, inputs: tuple[Array, Modulation, Array]) -> tuple[Array, None]:
            # Cut out once, and not by every operation that reads a part of it.
            time, modulation, length = jax.lax.optimization_barrier(inputs)
            x_t = constrain(x_t)
            return x_t + velocity(x_t, time, modulation, length) * length / num_steps, None

        return jax.lax.scan(step, noise, (times, self.modulation(times[:, None, None]), lengths))[0]

    def _mix(self, x: Array, modulation: Modulation) -> Array:
        for block, block_modulation in zip(self.mlp_stack, modulation.blocks, strict=True):
            x = block(x, block_modulation)
        return self.out_proj(modulated_norm(x, *jnp.split(modulation.final, 2, axis=-1)))

    def initial_noise(
        self, rng: PRNGKeyArray | None, noise: Float[Array, "b h a"] | None, batch: int
    ) -> Float[Array, "b h a"]:
        """The noise at flow time 0: the given one, or standard normal.

        Raises:
            ValueError: a wrong shape, or neither `rng` nor `noise`.
        """
        shape = (batch, self.action_chunk_size, self.action_dim)
        if noise is not None:
            _check_shape("noise", noise, shape)
            return noise
        if rng is None:
            raise ValueError("rng=None without noise; pass a jax.random key, or noise=")
        return jax.random.normal(rng, shape)

    def check_inputs(self, obs: Array, **chunks: Array) -> None:
        """Raises ValueError unless observations, and chunks by the name of their argument, have the policy's shapes."""
        batch = obs.shape[0] if obs.ndim else 1
        _check_shape("obs", obs, (batch, self.obs_dim))
        for name, chunk in chunks.items():
            _check_shape(name, chunk, (batch, self.action_chunk_size, self.action_dim))


def step_lengths(flow_steps: Int[Array, " b"], num_steps: int) -> Float[Array, "t b"]:
    """Euler steps, in units of 1/num_steps, of samples that stop early: the last one goes the rest of the way."""
    index = jnp.arange(num_steps)[:, None]
    last = jnp.where(index == flow_steps - 1, num_steps - index, 0)
    return jnp.where(index < flow_steps - 1, 1, last).astype(jnp.float32)


def _check_shape(name: str, array: Array, expected: tuple[int, ...]) -> None:
    if array.shape != expected:
        raise ValueError(f"{name} has shape {list(array.shape)}; this policy expects {list(expected)}")
