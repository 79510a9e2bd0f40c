"""Flow-matching action-chunk policy: an MLP-mixer over the tokens of a chunk, and the ways to sample from it.

A chunk is H actions for H consecutive control ticks. The network predicts the velocity of a flow that carries
Gaussian noise at flow time 0 to a chunk at flow time 1. Four samplers share it:

- `FlowPolicy.action`: plain Euler integration.
- `FlowPolicy.realtime_action`: guided inpainting of the previous chunk (RTC, arXiv 2506.07339).
- `FlowPolicy.prefix_action`: the committed prefix as an input (training-time RTC, arXiv 2512.05964).
- `FlowPolicy.bid_action`: best of n samples (bidirectional decoding, arXiv 2408.17355).

Delays and horizons are in control ticks: Python ints, traced scalars or one traced value per environment.
"""

from collections.abc import Callable, Sequence
from typing import Self

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Int, PRNGKeyArray

from rtc.policies import guidance
from rtc.policies.guidance import PrefixAttentionSchedule, Ticks, get_prefix_weights
from rtc.policies.mixer import MixerBlock, ModelConfig, Modulation, embed_time, modulated_norm, select, zero_linear
from rtc.shared.validation import require_int

__all__ = ["FlowPolicy", "ModelConfig", "get_prefix_weights"]

# Velocity of (x_t, flow time, modulation at that flow time, lengths of the step in units of 1/num_steps).
VelocityFn = Callable[[Array, Array, Modulation, Array], Array]


class FlowPolicy(nnx.Module):
    """Velocity field v(x_t, obs, t) over action chunks, with its samplers and its training loss.

    In a query the observation is fixed and the flow times are known beforehand. So the samplers compute what
    depends on the observation alone once per query, and what depends on the flow time alone once per step.

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

    def observing(self, entries: Sequence[int], constants: Float[np.ndarray, " o"]) -> "FlowPolicy":
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
        self._check_inputs(obs, x_t=x_t)
        time = jnp.asarray(time, jnp.float32)
        time = time.reshape(time.shape + (1,) * (2 - time.ndim)) if time.ndim else time[None, None]
        per_token_obs = jnp.broadcast_to(obs[:, None], (*x_t.shape[:2], self.obs_dim))
        x = self.in_proj(jnp.concatenate([x_t, per_token_obs], axis=-1))
        return self._mix(x, self._modulation(time))

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
        self._check_inputs(obs)
        return self._sample(self._project_obs(obs), self._noise(rng, noise, obs.shape[0]), num_steps, flow_steps)

    def realtime_action(
        self,
        rng: PRNGKeyArray | None,
        obs: Float[Array, "b o"],
        num_steps: int,
        prev_action_chunk: Float[Array, "b h a"],
        inference_delay: Ticks,
        prefix_attention_horizon: Ticks,
        prefix_attention_schedule: PrefixAttentionSchedule,
        max_guidance_weight: float | Float[Array, ""],
        *,
        noise: Float[Array, "b h a"] | None = None,
        flow_steps: Int[Array, " b"] | None = None,
        stop_gradient: bool = False,
    ) -> Float[Array, "b h a"]:
        """Samples a chunk guided towards the previous one (RTC, arXiv 2506.07339, Eq. 1–5).

        Args:
            rng: key of the initial noise; unused where `noise` is given.
            obs: observations.
            num_steps: flow steps.
            prev_action_chunk: the previous chunk, shifted so that its action 0 belongs to this query's tick.
            inference_delay: ticks until the new chunk arrives; actions before that are pulled with weight 1.
            prefix_attention_horizon: first action that the previous chunk no longer covers.
            prefix_attention_schedule: weights in between, see `get_prefix_weights`.
            max_guidance_weight: bound on the guidance weight (β in the paper).
            noise: initial noise; standard normal by default.
            flow_steps: as in `action`.
            stop_gradient: treat the velocity as constant when the error is carried back through the denoiser, which
                makes it the error itself and saves the backward pass.

        Raises:
            ValueError: `num_steps` < 1, a negative delay or guidance weight, an unknown schedule, a wrong
                shape, or neither `rng` nor `noise`.
        """
        self._check_inputs(obs, prev_action_chunk=prev_action_chunk)
        _check_not_negative("inference_delay", inference_delay)
        _check_not_negative("max_guidance_weight", max_guidance_weight)
        weights = get_prefix_weights(
            inference_delay, prefix_attention_horizon, self.action_chunk_size, prefix_attention_schedule
        )[..., None]
        obs_term = self._project_obs(obs)

        def guided_velocity(x_t: Array, time: Array, modulation: Modulation, length: Array) -> Array:
            def denoise(x_t: Array) -> tuple[Array, Array]:
                velocity = self._velocity(obs_term, x_t, modulation)
                return x_t + (1 - time) * velocity, velocity

            if stop_gradient:
                x_1, velocity = denoise(x_t)
                correction = (prev_action_chunk - x_1) * weights
            else:
                # Samples do not interact, so one vector-Jacobian product of the batch holds that of every sample.
                x_1, vjp, velocity = jax.vjp(denoise, x_t, has_aux=True)
                (correction,) = vjp((prev_action_chunk - x_1) * weights)
            # A query out of time takes a longer last step, but is pulled no more strongly in it.
            weight = guidance.guidance_weight(time, max_guidance_weight) / jnp.maximum(length, 1)
            return velocity + weight * correction

        return self._integrate(guided_velocity, self._noise(rng, noise, obs.shape[0]), num_steps, flow_steps)

    def prefix_action(
        self,
        rng: PRNGKeyArray | None,
        obs: Float[Array, "b o"],
        num_steps: int,
        prev_action_chunk: Float[Array, "b h a"],
        inference_delay: Ticks,
        *,
        noise: Float[Array, "b h a"] | None = None,
        flow_steps: Int[Array, " b"] | None = None,
    ) -> Float[Array, "b h a"]:
        """Samples the rest of a chunk after its committed prefix (training-time RTC, arXiv 2512.05964).

        The first `inference_delay` actions are those of `prev_action_chunk`, fed in at flow time 1 at every
        step. As in the published sampler, what is returned in their place has taken the last Euler step: a
        caller that may execute them puts the committed ones back. For policies trained with
        `ModelConfig.simulated_delay`. Arguments as in `realtime_action`.

        Raises:
            ValueError: `num_steps` < 1, a negative delay, a wrong shape, or neither `rng` nor `noise`.
        """
        self._check_inputs(obs, prev_action_chunk=prev_action_chunk)
        _check_not_negative("inference_delay", inference_delay)
        is_prefix = guidance.prefix_mask(inference_delay, self.action_chunk_size)
        obs_term, at_1 = self._project_obs(obs), self._modulation(jnp.ones((1, 1)))

        def velocity(x_t: Array, _time: Array, modulation: Modulation, _length: Array) -> Array:
            return self._velocity(obs_term, x_t, select(is_prefix, at_1, modulation))

        def commit_prefix(x_t: Array) -> Array:
            return jnp.where(is_prefix, prev_action_chunk, x_t)

        noise = self._noise(rng, noise, obs.shape[0])
        return self._integrate(velocity, noise, num_steps, flow_steps, commit_prefix)

    def bid_action(
        self,
        rng: PRNGKeyArray | None,
        obs: Float[Array, "b o"],
        num_steps: int,
        prev_action_chunk: Float[Array, "b h a"],
        inference_delay: Ticks,
        prefix_attention_horizon: Ticks,
        n_samples: int,
        bid_k: int | None = None,
        bid_weak_policy: Self | None = None,
        *,
        noise: Float[Array, "nb h a"] | None = None,
        flow_steps: Int[Array, " b"] | None = None,
    ) -> Float[Array, "b h a"]:
        """Samples `n_samples` chunks and keeps the best (bidirectional decoding, arXiv 2408.17355).

        The backward loss is the distance to the previous chunk, weighted by the "exp" prefix weights. With a
        weak policy the forward contrast is added: the distances to the `bid_k` best chunks of this policy
        minus those to the `bid_k` best of the weak one, over n.

        Args:
            n_samples: chunks per observation.
            bid_k: chunks per policy that the forward contrast compares with; needs `bid_weak_policy`.
            bid_weak_policy: an earlier checkpoint of the same policy; starts from the same noise.
            noise: initial noise, sample-major: row i · b + j belongs to sample i of observation j.
            rng, obs, num_steps, prev_action_chunk, inference_delay, prefix_attention_horizon, flow_steps: as in
                `realtime_action`.

        Raises:
            ValueError: `num_steps` or `n_samples` < 1, `bid_k` outside 1 … n_samples, only one of `bid_k` and
                `bid_weak_policy`, a negative delay, a wrong shape, or neither `rng` nor `noise`.
        """
        _check_bid(n_samples, bid_k, bid_weak_policy)
        _check_not_negative("inference_delay", inference_delay)
        self._check_inputs(obs, prev_action_chunk=prev_action_chunk)
        batch, chunk = obs.shape[0], prev_action_chunk.shape[1:]
        noise = self._noise(rng, noise, n_samples * batch)
        weights = get_prefix_weights(inference_delay, prefix_attention_horizon, chunk[0], "exp")
        steps = None if flow_steps is None else jnp.tile(flow_steps, n_samples)

        def sample(policy: FlowPolicy) -> tuple[Array, Array]:
            policy._check_inputs(obs, prev_action_chunk=prev_action_chunk)
            obs_term = jnp.tile(policy._project_obs(obs), (n_samples, 1))
            chunks = policy._sample(obs_term, noise, num_steps, steps).reshape(n_samples, batch, *chunk)
            return chunks, jnp.sum(guidance.distance(chunks, prev_action_chunk) * weights, axis=-1)

        chunks, loss = sample(self)
        if bid_weak_policy is not None:
            candidates = (chunks, loss), sample(bid_weak_policy)
            best = [guidance.best_chunks(bid_k, *candidate) for candidate in candidates]
            contrast = [jnp.sum(guidance.distance(chunks[:, None], s), axis=(1, 3)) for s in best]
            loss = loss + (contrast[0] - contrast[1]) / n_samples
        return chunks[jnp.argmin(loss, axis=0), jnp.arange(batch)]

    def loss(self, rng: PRNGKeyArray, obs: Float[Array, "b o"], action: Float[Array, "b h a"]) -> Float[Array, ""]:
        """Conditional flow-matching loss: mean squared error of the velocity over the actions to predict.

        With `ModelConfig.simulated_delay` a prefix of each chunk is given at flow time 1 and left out of the
        loss (training-time RTC, arXiv 2512.05964); length i has probability ∝ exp(simulated_delay - 1 - i).

        Raises:
            ValueError: a wrong shape.
        """
        self._check_inputs(obs, action=action)
        noise_rng, time_rng, delay_rng = jax.random.split(rng, 3)
        noise = jax.random.normal(noise_rng, action.shape)
        time = jax.random.uniform(time_rng, (obs.shape[0], 1, 1))
        x_t, modulation = (1 - time) * noise + time * action, self._modulation(time[..., 0])
        is_prefix = jnp.zeros_like(time, dtype=bool)
        if self.config.simulated_delay is not None:
            logits = jnp.arange(self.config.simulated_delay, 0, -1.0)
            delay = jax.random.categorical(delay_rng, logits, shape=(obs.shape[0],))
            is_prefix = guidance.prefix_mask(delay, self.action_chunk_size)
            x_t = jnp.where(is_prefix, action, x_t)
            modulation = select(is_prefix, self._modulation(jnp.ones((1, 1))), modulation)
        error = self._velocity(self._project_obs(obs), x_t, modulation) - (action - noise)
        return jnp.mean(jnp.square(error), where=~is_prefix)

    def _sample(self, obs_term: Array, noise: Array, num_steps: int, flow_steps: Array | None) -> Array:
        def velocity(x_t: Array, _time: Array, modulation: Modulation, _length: Array) -> Array:
            return self._velocity(obs_term, x_t, modulation)

        return self._integrate(velocity, noise, num_steps, flow_steps)

    def _integrate(
        self,
        velocity: VelocityFn,
        noise: Array,
        num_steps: int,
        flow_steps: Array | None,
        constrain: Callable[[Array], Array] = lambda x_t: x_t,
    ) -> Array:
        """Euler steps from flow time 0 to 1; `constrain` changes the chunk before each of them."""
        require_int("num_steps", num_steps, low=1)
        times = jnp.arange(num_steps, dtype=jnp.float32) / num_steps
        steps = jnp.full(1, num_steps) if flow_steps is None else flow_steps
        lengths = guidance.step_lengths(steps, num_steps)[..., None, None]

        def step(x_t: Array, inputs: tuple[Array, Modulation, Array]) -> tuple[Array, None]:
            time, modulation, length = inputs
            x_t = constrain(x_t)
            return x_t + velocity(x_t, time, modulation, length) * length / num_steps, None

        return jax.lax.scan(step, noise, (times, self._modulation(times[:, None, None]), lengths))[0]

    def _velocity(self, obs_term: Array, x_t: Array, modulation: Modulation) -> Array:
        """`__call__` from a projected observation and a modulation that are already there."""
        x = x_t @ self.in_proj.kernel[: self.action_dim] + obs_term[:, None]
        return self._mix(x, modulation)

    def _project_obs(self, obs: Array) -> Array:
        """The observation's share of `in_proj`, bias included: the same for every token and flow step."""
        return obs @ self.in_proj.kernel[self.action_dim :] + self.in_proj.bias[...]

    def _modulation(self, time: Array) -> Modulation:
        condition = self.time_mlp(embed_time(time, self.config.channel_dim))
        blocks = tuple(block.modulation(condition) for block in self.mlp_stack)
        return Modulation(blocks, self.final_adaln(condition))

    def _mix(self, x: Array, modulation: Modulation) -> Array:
        for block, block_modulation in zip(self.mlp_stack, modulation.blocks, strict=True):
            x = block(x, block_modulation)
        return self.out_proj(modulated_norm(x, *jnp.split(modulation.final, 2, axis=-1)))

    def _noise(self, rng: PRNGKeyArray | None, noise: Array | None, batch: int) -> Array:
        """The initial noise: the given one, or standard normal."""
        shape = (batch, self.action_chunk_size, self.action_dim)
        if noise is not None:
            _check_shape("noise", noise, shape)
            return noise
        if rng is None:
            raise ValueError("rng=None without noise; pass a jax.random key, or noise=")
        return jax.random.normal(rng, shape)

    def _check_inputs(self, obs: Array, **chunks: Array) -> None:
        batch = obs.shape[0] if obs.ndim else 1
        _check_shape("obs", obs, (batch, self.obs_dim))
        for name, chunk in chunks.items():
            _check_shape(name, chunk, (batch, self.action_chunk_size, self.action_dim))


def _check_not_negative(name: str, value: float | Array) -> None:
    # Traced values cannot be checked.
    if isinstance(value, int | float) and not value >= 0:
        raise ValueError(f"{name}={value} must be at least 0")


def _check_shape(name: str, array: Array, expected: tuple[int, ...]) -> None:
    if array.shape != expected:
        raise ValueError(f"{name} has shape {list(array.shape)}; this policy expects {list(expected)}")


def _check_bid(n_samples: int, bid_k: int | None, weak_policy: FlowPolicy | None) -> None:
    require_int("n_samples", n_samples, low=1)
    if (bid_k is None) != (weak_policy is None):
        raise ValueError(f"bid_k={bid_k} and bid_weak_policy go together; give both of them or neither")
    if bid_k is not None:
        require_int("bid_k", bid_k, low=1, high=n_samples)
