"""The flow policy under its published name, with the published samplers.

- `FlowPolicy.action`: plain Euler integration.
- `FlowPolicy.realtime_action`: guided inpainting of the previous chunk (RTC, arXiv 2506.07339).
- `FlowPolicy.prefix_action`: the committed prefix as an input (training-time RTC, arXiv 2512.05964).
- `FlowPolicy.bid_action`: best of n samples (bidirectional decoding, arXiv 2408.17355).

Delays and horizons are in control ticks: Python ints, traced scalars or one traced value per environment.
"""

from jaxtyping import Array, Float, Int, PRNGKeyArray

from rtc.methods.bid import best_sample
from rtc.methods.guidance import PrefixAttentionSchedule, get_prefix_weights, guided_chunk
from rtc.methods.trained_prefix import prefixed_chunk
from rtc.policies import flow
from rtc.policies.mixer import ModelConfig, Ticks
from rtc.shared.validation import require_int

__all__ = ["FlowPolicy", "ModelConfig", "get_prefix_weights"]


class FlowPolicy(flow.FlowPolicy):
    """The flow policy, whose samplers are those of `rtc.methods`."""

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
        """Samples a chunk guided towards the previous one: `rtc.methods.guidance.guided_chunk`.

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
            stop_gradient: treat the velocity as constant in the pull, without a backward pass.

        Raises:
            ValueError: `num_steps` < 1, a negative delay or guidance weight, an unknown schedule, a wrong
                shape, or neither `rng` nor `noise`.
        """
        self.check_inputs(obs, prev_action_chunk=prev_action_chunk)
        _check_not_negative("inference_delay", inference_delay)
        _check_not_negative("max_guidance_weight", max_guidance_weight)
        return guided_chunk(
            self,
            obs,
            self.initial_noise(rng, noise, obs.shape[0]),
            num_steps,
            prev_action_chunk,
            inference_delay,
            prefix_attention_horizon,
            prefix_attention_schedule,
            max_guidance_weight,
            flow_steps=flow_steps,
            stop_gradient=stop_gradient,
        )

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
        """Samples the rest of a chunk after its committed prefix: `rtc.methods.trained_prefix.prefixed_chunk`.

        As in the published sampler, what is returned in the prefix's place has taken the last Euler step: a caller
        that may execute it puts the committed actions back. For policies trained with `ModelConfig.simulated_delay`.
        Arguments as in `realtime_action`.

        Raises:
            ValueError: `num_steps` < 1, a negative delay, a wrong shape, or neither `rng` nor `noise`.
        """
        self.check_inputs(obs, prev_action_chunk=prev_action_chunk)
        _check_not_negative("inference_delay", inference_delay)
        noise = self.initial_noise(rng, noise, obs.shape[0])
        return prefixed_chunk(self, obs, noise, num_steps, prev_action_chunk, inference_delay, flow_steps=flow_steps)

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
        bid_weak_policy: flow.FlowPolicy | None = None,
        *,
        noise: Float[Array, "nb h a"] | None = None,
        flow_steps: Int[Array, " b"] | None = None,
    ) -> Float[Array, "b h a"]:
        """Samples `n_samples` chunks and keeps the best: `rtc.methods.bid.best_sample`.

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
        for policy in (self, *([] if bid_weak_policy is None else [bid_weak_policy])):
            policy.check_inputs(obs, prev_action_chunk=prev_action_chunk)
        return best_sample(
            self,
            obs,
            self.initial_noise(rng, noise, n_samples * obs.shape[0]),
            num_steps,
            prev_action_chunk,
            inference_delay,
            prefix_attention_horizon,
            n_samples,
            bid_k,
            bid_weak_policy,
            flow_steps=flow_steps,
        )


def _check_not_negative(name: str, value: float | Array) -> None:
    # Traced values cannot be checked.
    if isinstance(value, int | float) and not value >= 0:
        raise ValueError(f"{name}={value} must be at least 0")


def _check_bid(n_samples: int, bid_k: int | None, weak_policy: flow.FlowPolicy | None) -> None:
    require_int("n_samples", n_samples, low=1)
    if (bid_k is None) != (weak_policy is None):
        raise ValueError(f"bid_k={bid_k} and bid_weak_policy go together; give both of them or neither")
    if bid_k is not None:
        require_int("bid_k", bid_k, low=1, high=n_samples)
