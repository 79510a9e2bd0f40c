"""Proximal policy optimisation (PPO), spread over all XLA devices.

The published benchmark's recipe: PPO (Schulman et al. 2017, arXiv 1707.06347) with generalised advantage
estimation (arXiv 1506.02438) and robust policy optimisation (RPO; Rahman & Xue 2022, arXiv 2212.07536), which
perturbs the Gaussian's mean. Every device rolls out its own environments and optimises on its own
minibatches; gradients and advantage statistics are averaged over devices.
"""

import dataclasses
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from jax.sharding import NamedSharding, PartitionSpec
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from rtc import training, wrappers
from rtc.environment import Environment
from rtc.expert import Expert, ExpertConfig, gaussian, squash, squashed_log_prob
from rtc.validation import require_float, require_int

AXIS = training.AXIS


@dataclasses.dataclass(frozen=True)
class PPOConfig:
    """Hyper-parameters of one update: the published ones, but for fewer environments and steps, to fit a CPU.

    Attributes:
        num_envs: parallel environments, over all devices.
        num_steps: control ticks per environment between two updates.
        num_minibatches: minibatches per epoch.
        num_epochs: passes over the data of an update.
        gamma: discount per control tick.
        gae_lambda: decay of generalised advantage estimation.
        clip: PPO's bound on the probability ratio.
        value_coef: weight of the value loss.
        rpo_alpha: half-width of the uniform perturbation of the mean when log-probabilities are recomputed.
        max_grad_norm: bound on the gradient's global norm.
        learning_rate: Adam's step size.
        action_noise_std: standard deviation of the environment's action noise.
    """

    num_envs: int = 128
    num_steps: int = 128
    num_minibatches: int = 8
    num_epochs: int = 4
    gamma: float = 0.995
    gae_lambda: float = 0.9
    clip: float = 0.2
    value_coef: float = 0.5
    rpo_alpha: float = 0.3
    max_grad_norm: float = 1.0
    learning_rate: float = 3e-4
    action_noise_std: float = wrappers.ACTION_NOISE_STD

    def __post_init__(self):
        for name in ("num_envs", "num_steps", "num_minibatches", "num_epochs"):
            require_int(name, getattr(self, name), low=1)
        for name in ("gamma", "gae_lambda"):
            require_float(name, getattr(self, name), low=0.0, high=1.0)
        for name in ("clip", "value_coef", "rpo_alpha", "max_grad_norm", "learning_rate", "action_noise_std"):
            require_float(name, getattr(self, name), low=0.0)

    def check_devices(self, devices: int) -> None:
        """Raises ValueError unless the environments and minibatches divide evenly over the devices."""
        if self.num_envs % devices:
            raise ValueError(f"num_envs={self.num_envs} must be a multiple of the {devices} devices")
        samples = self.num_envs // devices * self.num_steps
        if samples % self.num_minibatches:
            fix = f"the {samples} samples per device (num_envs * num_steps / {devices})"
            raise ValueError(f"num_minibatches={self.num_minibatches} must divide {fix}")


class Learner(NamedTuple):
    """Everything that changes during training. Leaves of `rollout` hold one slice per device along axis 0."""

    params: Any
    optimizer: Any
    rollout: "Rollout"


class Rollout(NamedTuple):
    """One device's environments between updates, and the running episodes' returns with dense penalty."""

    state: wrappers.TrackedState
    episode_return: Float[Array, " b"]


class Sample(NamedTuple):
    """What PPO keeps of a tick."""

    features: Float[Array, "... f"]
    raw_action: Float[Array, "... a"]
    log_prob: Float[Array, "..."]
    value: Float[Array, "..."]
    reward: Float[Array, "..."]
    done: Bool[Array, "..."]


class Minibatch(NamedTuple):
    """What the loss needs of a tick; `value_target` is the return estimate V + A."""

    features: Float[Array, "n f"]
    raw_action: Float[Array, "n a"]
    log_prob: Float[Array, " n"]
    advantage: Float[Array, " n"]
    value_target: Float[Array, " n"]


def generalised_advantages(
    reward: Float[Array, "t b"],
    value: Float[Array, "t b"],
    done: Bool[Array, "t b"],
    last_value: Float[Array, " b"],
    gamma: float,
    gae_lambda: float,
) -> Float[Array, "t b"]:
    """Advantages A_t = δ_t + γλ(1 − done_t) A_{t+1} with δ_t = r_t + γ(1 − done_t) V_{t+1} − V_t.

    Args:
        reward: reward of each tick.
        value: value of the state before each tick.
        done: marks the last tick of an episode.
        last_value: value of the state after the last tick.
        gamma: discount per tick.
        gae_lambda: decay of the estimator.
    """

    def backwards(carry, tick):
        next_advantage, next_value = carry
        reward_t, value_t, going_on = tick
        delta = reward_t + gamma * going_on * next_value - value_t
        advantage = delta + gamma * gae_lambda * going_on * next_advantage
        return (advantage, value_t), advantage

    start = (jnp.zeros_like(last_value), last_value)
    _, advantages = jax.lax.scan(backwards, start, (reward, value, 1.0 - done), reverse=True)
    return advantages


def loss(
    expert: Expert, key: PRNGKeyArray, batch: Minibatch, config: PPOConfig
) -> tuple[Float[Array, ""], dict[str, Float[Array, ""]]]:
    """Clipped surrogate with a perturbed mean (RPO) plus the value loss, and the parts for the record."""
    policy, value = expert(batch.features)
    shift = jax.random.uniform(key, policy.loc.shape, minval=-config.rpo_alpha, maxval=config.rpo_alpha)
    perturbed = gaussian(policy.loc + shift, expert.log_std[...])
    log_prob = squashed_log_prob(perturbed, batch.raw_action, expert.config.num_motors)
    ratio = jnp.exp(log_prob - batch.log_prob)
    bounded = jnp.clip(ratio, 1.0 - config.clip, 1.0 + config.clip)
    policy_loss = -jnp.minimum(ratio * batch.advantage, bounded * batch.advantage).mean()
    value_loss = 0.5 * jnp.square(value - batch.value_target).mean()
    parts = {"policy_loss": policy_loss, "value_loss": value_loss, "clip_fraction": (ratio != bounded).mean()}
    return policy_loss + config.value_coef * value_loss, parts


class PPO:
    """Compiled `init` and `update` for one shape of environment, spread over all XLA devices.

    Args:
        expert_config: shape of the actor-critic.
        config: hyper-parameters.

    Raises:
        ValueError: if environments or minibatches do not divide evenly over the devices.
    """

    def __init__(self, expert_config: ExpertConfig, config: PPOConfig):
        mesh = training.device_mesh()
        config.check_devices(mesh.size)
        self.expert_config, self.config = expert_config, config
        self.local_envs = config.num_envs // mesh.size
        self.optimizer = optax.chain(
            optax.clip_by_global_norm(config.max_grad_norm), optax.adam(config.learning_rate, eps=1e-5)
        )
        self.graphdef, _ = nnx.split(Expert(expert_config, rngs=nnx.Rngs(0)))
        shared, split = PartitionSpec(), PartitionSpec(AXIS)
        learner = Learner(shared, shared, split)
        self._shardings = jax.tree.map(partial(NamedSharding, mesh), learner)
        on_devices = partial(jax.shard_map, mesh=mesh, check_vma=False)
        self._first_rollout = jax.jit(on_devices(self._reset, in_specs=shared, out_specs=split))
        update = on_devices(self._update, in_specs=(shared, learner, shared), out_specs=(learner, shared))
        self._compiled_update = jax.jit(update, donate_argnums=1)

    def init(self, env: Environment, key: PRNGKeyArray) -> Learner:
        """Fresh parameters, optimiser and episodes."""
        params = nnx.state(Expert(self.expert_config, rngs=nnx.Rngs(key)))
        return self.place(Learner(params, self.optimizer.init(params), self._first_rollout(env)))

    def place(self, learner: Learner) -> Learner:
        """Puts a learner where `update` expects it: the rollout split over the devices, the rest on each."""
        return Learner(*map(jax.device_put, learner, self._shardings))

    def update(self, env: Environment, learner: Learner, key: PRNGKeyArray) -> tuple[Learner, dict[str, Array]]:
        """One rollout of `num_steps` ticks and its epochs of gradient steps. `learner` is consumed.

        Returns:
            The new learner; and sums over the episodes that finished (`episodes`, `solved`, `returns`,
            `lengths`, `non_finite`), mean losses, the mean action standard deviation and the norm of
            the parameters.
        """
        return self._compiled_update(env, learner, key)

    def expert(self, learner: Learner) -> Expert:
        """The actor-critic that a learner holds."""
        return nnx.merge(self.graphdef, learner.params)

    # The methods below run on every device, on its share of the environments.

    def _start(self, env: Environment) -> wrappers.TrackedState:
        return wrappers.reset(env, self.local_envs, self.expert_config.entries, self.expert_config.history)

    def _reset(self, env: Environment) -> Rollout:
        return training.with_device_axis(Rollout(self._start(env), jnp.zeros(self.local_envs)))

    def _update(self, env: Environment, learner: Learner, key: PRNGKeyArray) -> tuple[Learner, dict[str, Array]]:
        rollout_key, optimise_key = jax.random.split(jax.random.fold_in(key, jax.lax.axis_index(AXIS)))
        rollout = training.without_device_axis(learner.rollout)
        rollout, samples, episodes = self._collect(env, learner.params, rollout, rollout_key)
        _, last_value = nnx.merge(self.graphdef, learner.params)(wrappers.features(rollout.state))
        advantage = generalised_advantages(
            samples.reward, samples.value, samples.done, last_value, self.config.gamma, self.config.gae_lambda
        )
        target = samples.value + advantage
        data = Minibatch(samples.features, samples.raw_action, samples.log_prob, advantage, target)
        data = jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), data)
        params, optimizer, losses = self._optimise(learner.params, learner.optimizer, data, optimise_key)
        stats = jax.lax.psum(episodes, AXIS) | losses
        stats["action_std"] = jnp.exp(nnx.merge(self.graphdef, params).log_std[...]).mean()
        stats["param_norm"] = optax.tree.norm(params)
        return Learner(params, optimizer, training.with_device_axis(rollout)), stats

    def _collect(
        self, env: Environment, params: Any, rollout: Rollout, key: PRNGKeyArray
    ) -> tuple[Rollout, Sample, dict[str, Array]]:
        expert, start = nnx.merge(self.graphdef, params), self._start(env)

        def tick(rollout: Rollout, key: PRNGKeyArray):
            action_key, noise_key = jax.random.split(key)
            features = wrappers.features(rollout.state)
            policy, value = expert(features)
            raw_action = policy.sample(seed=action_key)
            action = squash(raw_action, self.expert_config.num_motors)
            entries, noise_std = self.expert_config.entries, self.config.action_noise_std
            state, moved = wrappers.step_and_reset(env, rollout.state, start, noise_key, action, entries, noise_std)
            log_prob = squashed_log_prob(policy, raw_action, self.expert_config.num_motors)
            sample = Sample(features, raw_action, log_prob, value, moved.reward, moved.done)
            earned = rollout.episode_return + moved.reward
            ended = {
                "episodes": moved.done,
                "solved": moved.solved & moved.done,
                "returns": moved.done * earned,
                "lengths": moved.done * (rollout.state.tick + 1),
                "non_finite": ~moved.finite,
            }
            return Rollout(state, jnp.where(moved.done, 0.0, earned)), (sample, jax.tree.map(jnp.sum, ended))

        rollout, (samples, ended) = jax.lax.scan(tick, rollout, jax.random.split(key, self.config.num_steps))
        return rollout, samples, jax.tree.map(partial(jnp.sum, axis=0), ended)

    def _optimise(
        self, params: Any, optimizer: Any, data: Minibatch, key: PRNGKeyArray
    ) -> tuple[Any, Any, dict[str, Array]]:
        config, count = self.config, data.advantage.shape[0]

        def gradient_step(carry, inputs):
            params, optimizer = carry
            indices, step_key = inputs
            batch = jax.tree.map(lambda leaf: leaf[indices], data)
            batch = batch._replace(advantage=_normalised(batch.advantage))

            def objective(params):
                return loss(nnx.merge(self.graphdef, params), step_key, batch, config)

            grads, parts = jax.lax.pmean(jax.grad(objective, has_aux=True)(params), AXIS)
            updates, optimizer = self.optimizer.update(grads, optimizer, params)
            return (optax.apply_updates(params, updates), optimizer), parts

        def epoch(carry, key):
            order_key, *step_keys = jax.random.split(key, 1 + config.num_minibatches)
            indices = jax.random.permutation(order_key, count).reshape(config.num_minibatches, -1)
            return jax.lax.scan(gradient_step, carry, (indices, jnp.stack(step_keys)))

        (params, optimizer), parts = jax.lax.scan(epoch, (params, optimizer), jax.random.split(key, config.num_epochs))
        return params, optimizer, jax.tree.map(jnp.mean, parts)


def _normalised(advantage: Float[Array, " n"]) -> Float[Array, " n"]:
    """Zero mean and unit variance over the minibatches of all devices."""
    mean = jax.lax.pmean(advantage.mean(), AXIS)
    variance = jax.lax.pmean(jnp.square(advantage - mean).mean(), AXIS)
    return (advantage - mean) / (jnp.sqrt(variance) + 1e-8)
