"""Proximal policy optimisation (PPO), with its rollouts spread over all XLA devices.

The published benchmark's recipe: PPO (Schulman et al. 2017, arXiv 1707.06347) with generalised advantage estimation
(arXiv 1506.02438) and robust policy optimisation (RPO; Rahman & Xue 2022, arXiv 2212.07536), which perturbs the
Gaussian's mean. The exploration noise can be correlated over time (Hollenstein et al. 2024, arXiv 2312.11091), which
moves bodies further than independent noise. Every device rolls out its own environments; one device, which on a CPU
uses all cores for its matrix products, takes the gradient steps. So no program has to wait for another device: on CPU
devices that can deadlock.

Several experts with different seeds can learn at a time, which fills an accelerator: their environments form one batch,
their networks are stacked along a leading axis. Each learns what it would learn alone, up to rounding.
"""

import dataclasses
import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from jax.sharding import NamedSharding, PartitionSpec
from jaxtyping import Array, Bool, Float, Key, Num, PRNGKeyArray

from rtc.control import environment
from rtc.control.environment import Environment
from rtc.policies.delayed import squash
from rtc.shared import devices, runtime
from rtc.shared.devices import AXIS, DIVIDED, EVERYWHERE
from rtc.shared.validation import require_float, require_int
from rtc.training import shaping
from rtc.training.expert import Expert, ExpertConfig, gaussian


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
        noise_correlation: correlation of the exploration noise of successive ticks while no episode is solved; it
            falls in proportion to the share of solved episodes.
        max_grad_norm: bound on the gradient's global norm.
        learning_rate: Adam's step size.
        action_noise_std: standard deviation of the environment's action noise.
        distance_cost: factor of the published penalty for ticks spent away from the goal.
        progress_reward: reward per metre that a tick comes closer to the goal than the episode ever was.
        failure_relief: share of the environment's penalty for failing that is paid back.
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
    noise_correlation: float = 0.0
    max_grad_norm: float = 1.0
    learning_rate: float = 3e-4
    action_noise_std: float = shaping.ACTION_NOISE_STD
    distance_cost: float = 1.0
    progress_reward: float = 0.0
    failure_relief: float = 0.0

    def __post_init__(self):
        for name in ("num_envs", "num_steps", "num_minibatches", "num_epochs"):
            require_int(name, getattr(self, name), low=1)
        for name in ("gamma", "gae_lambda", "noise_correlation"):
            require_float(name, getattr(self, name), low=0.0, high=1.0)
        rewards = ("distance_cost", "progress_reward", "failure_relief")
        for name in ("clip", "value_coef", "rpo_alpha", "max_grad_norm", "learning_rate", "action_noise_std", *rewards):
            require_float(name, getattr(self, name), low=0.0)

    @property
    def shaping(self) -> shaping.Shaping:
        return shaping.Shaping(self.distance_cost, self.progress_reward, self.failure_relief)

    def check_devices(self, devices: int) -> None:
        """Raises ValueError unless environments and minibatches come out even."""
        if self.num_envs % devices:
            raise ValueError(f"num_envs={self.num_envs} must be a multiple of the {devices} devices")
        samples = self.num_envs * self.num_steps
        if samples % self.num_minibatches:
            limit = f"num_envs * num_steps = {samples}"
            raise ValueError(f"num_minibatches={self.num_minibatches} must divide {limit}")


class Learner(NamedTuple):
    """Everything that changes during training.

    Leaves of `params` and `optimizer` hold one slice per expert along axis 0, those of `rollout` one per device.
    """

    params: Any
    optimizer: Any
    rollout: "Rollout"


class Rollout(NamedTuple):
    """One device's environments between updates, expert after expert (n = experts · environments of each).

    Attributes:
        state: the environments and what the expert remembers.
        noise: the exploration noise of the last tick, in standard deviations of the policy.
        episode_return: return of the running episodes so far, with the dense penalty.
    """

    state: shaping.TrackedState
    noise: Float[Array, "n a"]
    episode_return: Float[Array, " n"]


class Sample(NamedTuple):
    """What PPO keeps of a tick; `log_prob` is the raw action's."""

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


def correlated_noise(
    key: PRNGKeyArray, previous: Float[Array, "..."], correlation: float | Array
) -> Float[Array, "..."]:
    """The next tick of a first-order autoregressive process whose values are standard normal."""
    fresh = jax.random.normal(key, previous.shape)
    return correlation * previous + jnp.sqrt(1.0 - correlation**2) * fresh


def loss(
    expert: Expert, key: PRNGKeyArray, batch: Minibatch, config: PPOConfig
) -> tuple[Float[Array, ""], dict[str, Float[Array, ""]]]:
    """Clipped surrogate with a perturbed mean (RPO) plus the value loss, and the parts for the record."""
    policy, value = expert(batch.features)
    shift = jax.random.uniform(key, policy.loc.shape, minval=-config.rpo_alpha, maxval=config.rpo_alpha)
    perturbed = gaussian(policy.loc + shift, expert.log_std[...])
    # Of the raw actions: squashing both densities leaves their ratio as it is.
    log_prob = perturbed.log_prob(batch.raw_action)
    ratio = jnp.exp(log_prob - batch.log_prob)
    bounded = jnp.clip(ratio, 1.0 - config.clip, 1.0 + config.clip)
    policy_loss = -jnp.minimum(ratio * batch.advantage, bounded * batch.advantage).mean()
    value_loss = 0.5 * jnp.square(value - batch.value_target).mean()
    parts = {"policy_loss": policy_loss, "value_loss": value_loss, "clip_fraction": (ratio != bounded).mean()}
    return policy_loss + config.value_coef * value_loss, parts


class PPO:
    """`init` and `update` for one shape of environment.

    Args:
        expert_config: shape of the actor-critic.
        config: hyper-parameters.
        experts: experts that learn at a time, each in environments of its own.

    Raises:
        ValueError: if environments do not divide evenly over the devices.
    """

    def __init__(self, expert_config: ExpertConfig, config: PPOConfig, experts: int = 1):
        mesh = devices.mesh()
        config.check_devices(mesh.size)
        compiled = {field.name: getattr(config, field.name) for field in dataclasses.fields(PPOConfig)}
        # The correlation of the noise is given at every update.
        self.programs = _programs(expert_config, PPOConfig(**compiled | {"noise_correlation": 0.0}), experts)
        self._first_device = mesh.devices[0]
        self._everywhere, self._divided = NamedSharding(mesh, EVERYWHERE), NamedSharding(mesh, DIVIDED)

    def init(self, env: Environment, keys: Key[Array, " s"]) -> Learner:
        """Fresh parameters, optimisers and episodes; `keys` holds one key per expert."""
        each = [nnx.state(Expert(self.programs.expert_config, rngs=nnx.Rngs(key))) for key in keys]
        params = jax.tree.map(lambda *leaves: jnp.stack(leaves), *each)
        return self.place(Learner(params, jax.vmap(self.programs.optimizer.init)(params), self.programs.reset(env)))

    def place(self, learner: Learner) -> Learner:
        """Puts a learner where `update` expects it: the rollout divided over the devices, the rest on the first."""
        params, optimizer = jax.device_put((learner.params, learner.optimizer), self._first_device)
        return Learner(params, optimizer, jax.device_put(learner.rollout, self._divided))

    def update(
        self, env: Environment, learner: Learner, keys: Key[Array, " s"], correlation: Float[Array, " s"]
    ) -> tuple[Learner, dict[str, Float[Array, " s"]]]:
        """One rollout of `num_steps` ticks and its epochs of gradient steps. `learner.rollout` is consumed.

        Args:
            env: the environment, observing what the expert looks at.
            learner: from `init` or the last update.
            keys: of everything random in this update, one per expert.
            correlation: of the exploration noise of successive ticks, per expert.

        Returns:
            The new learner; and per expert sums over the episodes that finished (`episodes`, `solved`, `returns`,
            `lengths`, `non_finite`), mean losses, the mean action standard deviation and the norm of the parameters.
        """
        rollout_keys, optimise_keys = jax.vmap(jax.random.split, out_axes=1)(keys)
        params = jax.device_put(learner.params, self._everywhere)
        rollout, *collected, episodes = self.programs.collect(env, params, learner.rollout, rollout_keys, correlation)
        samples, last_features = jax.device_put(collected, self._first_device)
        params, optimizer, stats = self.programs.optimise(
            learner.params, learner.optimizer, samples, last_features, optimise_keys
        )
        return Learner(params, optimizer, rollout), stats | {name: x.sum(axis=0) for name, x in episodes.items()}

    def expert(self, learner: Learner, number: int = 0) -> Expert:
        """One of the actor-critics that a learner holds."""
        return nnx.merge(self.programs.graphdef, jax.tree.map(lambda leaf: leaf[number], learner.params))


class Programs:
    """What is compiled: `reset` and `collect`, a rollout on every device; `optimise`, the gradient steps on one."""

    def __init__(self, expert_config: ExpertConfig, config: PPOConfig, experts: int):
        self.expert_config, self.config, self.experts = expert_config, config, experts
        self.local_envs = config.num_envs // devices.count()
        self.optimizer = optax.chain(
            optax.clip_by_global_norm(config.max_grad_norm), optax.adam(config.learning_rate, eps=1e-5)
        )
        self.graphdef, _ = nnx.split(Expert(expert_config, rngs=nnx.Rngs(0)))
        self.reset = runtime.jit(devices.sharded(self._first_rollout, EVERYWHERE, DIVIDED))
        ins = (EVERYWHERE, EVERYWHERE, DIVIDED, EVERYWHERE, EVERYWHERE)
        outs = (DIVIDED, PartitionSpec(None, None, AXIS), PartitionSpec(None, AXIS), DIVIDED)
        self.collect = runtime.jit(devices.sharded(self._roll_out, ins, outs), donate_argnums=2)
        self.optimise = jax.jit(jax.vmap(self._gradient_steps, in_axes=(0, 0, 1, 0, 0)))

    # --- on every device, for its share of the environments ---

    def _start(self, env: Environment) -> shaping.TrackedState:
        keys = environment.start_keys(self.experts * self.local_envs)
        return shaping.reset(env, keys, self.expert_config.history, self.expert_config.delay)

    def _features(self, state: shaping.TrackedState) -> Float[Array, "n f"]:
        return shaping.features(state, self.expert_config.delay)

    def _first_rollout(self, env: Environment) -> Rollout:
        batch = self.experts * self.local_envs
        noise = jnp.zeros((batch, self.expert_config.action_dim))
        return devices.with_axis(Rollout(self._start(env), noise, jnp.zeros(batch)))

    def _per_expert(self, batch: Array) -> Array:
        """Divides the environments of a batch [n, ...] among the experts: [s, b, ...]."""
        return batch.reshape(self.experts, self.local_envs, *batch.shape[1:])

    def _roll_out(
        self,
        env: Environment,
        params: Any,
        rollout: Rollout,
        keys: Key[Array, " s"],
        correlation: Float[Array, " s"],
    ) -> tuple[Rollout, Sample, Float[Array, "s b f"], dict[str, Num[Array, "1 s"]]]:
        """The rollout's new state, its samples [t, s, b, ...], the last features, sums over finished episodes."""
        start = self._start(env)

        def tick(rollout: Rollout, keys: Key[Array, " s"]):
            explore_keys, noise_keys = jax.vmap(jax.random.split, out_axes=1)(keys)
            features, before = (self._per_expert(x) for x in (self._features(rollout.state), rollout.noise))
            noise = jax.vmap(correlated_noise)(explore_keys, before, correlation)
            raw_action, log_prob, value = jax.vmap(self._act)(params, features, noise)
            action = squash(raw_action, self.expert_config.num_motors)
            noisy = jax.vmap(environment.noisy_action, (0, 0, None))(noise_keys, action, self.config.action_noise_std)
            state, moved = shaping.step_and_reset(
                env, rollout.state, start, _joined(action), _joined(noisy), self.config.shaping
            )
            reward, done = self._per_expert(moved.reward), self._per_expert(moved.done)
            sample = Sample(features, raw_action, log_prob, value, reward, done)
            earned = rollout.episode_return + moved.reward
            ended = {
                "episodes": moved.done,
                "solved": moved.solved & moved.done,
                "returns": moved.done * earned,
                "lengths": moved.done * (rollout.state.tick + 1),
                "non_finite": ~moved.finite,
            }
            sums = {name: self._per_expert(x).sum(axis=1) for name, x in ended.items()}
            return Rollout(state, _joined(noise), jnp.where(moved.done, 0.0, earned)), (sample, sums)

        keys = jax.vmap(jax.random.fold_in, (0, None))(keys, jax.lax.axis_index(AXIS))
        keys = jax.vmap(lambda key: jax.random.split(key, self.config.num_steps), out_axes=1)(keys)
        rollout, (samples, sums) = jax.lax.scan(tick, devices.without_axis(rollout), keys)
        sums = devices.with_axis({name: x.sum(axis=0) for name, x in sums.items()})
        last_features = self._per_expert(self._features(rollout.state))
        return devices.with_axis(rollout), samples, last_features, sums

    def _act(
        self, params: Any, features: Float[Array, "b f"], noise: Float[Array, "b a"]
    ) -> tuple[Float[Array, "b a"], Float[Array, " b"], Float[Array, " b"]]:
        """One expert's raw actions, their log-probabilities and the states' values."""
        policy, value = nnx.merge(self.graphdef, params)(features)
        raw_action = policy.loc + noise * policy.scale_diag
        return raw_action, policy.log_prob(raw_action), value

    # --- on the first device ---

    def _gradient_steps(
        self, params: Any, optimizer: Any, samples: Sample, last_features: Float[Array, "b f"], key: PRNGKeyArray
    ) -> tuple[Any, Any, dict[str, Float[Array, ""]]]:
        """All epochs of one expert over the samples of one rollout."""
        config = self.config
        _, last_value = nnx.merge(self.graphdef, params)(last_features)
        advantage = generalised_advantages(
            samples.reward, samples.value, samples.done, last_value, config.gamma, config.gae_lambda
        )
        target = samples.value + advantage
        data = Minibatch(samples.features, samples.raw_action, samples.log_prob, advantage, target)
        data = jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), data)

        def step(carry, inputs):
            params, optimizer = carry
            indices, step_key = inputs
            batch = jax.tree.map(lambda leaf: leaf[indices], data)
            batch = batch._replace(advantage=_normalised(batch.advantage))

            def objective(params):
                return loss(nnx.merge(self.graphdef, params), step_key, batch, config)

            grads, parts = jax.grad(objective, has_aux=True)(params)
            updates, optimizer = self.optimizer.update(grads, optimizer, params)
            return (optax.apply_updates(params, updates), optimizer), parts

        def epoch(carry, key):
            order_key, *step_keys = jax.random.split(key, 1 + config.num_minibatches)
            order = jax.random.permutation(order_key, data.advantage.size)
            return jax.lax.scan(step, carry, (order.reshape(config.num_minibatches, -1), jnp.stack(step_keys)))

        keys = jax.random.split(key, config.num_epochs)
        (params, optimizer), parts = jax.lax.scan(epoch, (params, optimizer), keys)
        stats = jax.tree.map(jnp.mean, parts)
        stats["action_std"] = jnp.exp(nnx.merge(self.graphdef, params).log_std[...]).mean()
        stats["param_norm"] = optax.tree.norm(params)
        return params, optimizer, stats


# Experts of one shape that are trained one after the other share their programs.
_programs = functools.lru_cache(maxsize=4)(Programs)


def _joined(per_expert: Float[Array, "s b a"]) -> Float[Array, "n a"]:
    """The experts' environments one after the other."""
    return per_expert.reshape(-1, per_expert.shape[-1])


def _normalised(advantage: Float[Array, " n"]) -> Float[Array, " n"]:
    """Zero mean and unit variance."""
    return (advantage - advantage.mean()) / (advantage.std() + 1e-8)
