"""Networks against the machine's limit: multiply-adds per second of queries and of training.

The limit is what a large matrix product reaches in the same process. Multiply-adds are those of the layers' products,
counted from the networks' sizes; activations, norms and optimisers count as nothing but take their time.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from rtc.bench import timing
from rtc.methods.guidance import guided_chunk
from rtc.policies.flow import FlowPolicy
from rtc.policies.mixer import ModelConfig
from rtc.shared import runtime
from rtc.study.evaluation import EvalConfig
from rtc.training import cloning, trainer
from rtc.training.cloning import CloningConfig, Dataset
from rtc.training.expert import Expert, ExpertConfig
from rtc.training.ppo import PPO, PPOConfig, Sample
from rtc.worlds.kinetix.assembly import LARGE

OBS_DIM, ACTION_DIM = 679, LARGE.num_motor_bindings + LARGE.num_thruster_bindings
VARYING = 49  # entries of grasp_easy's observation that vary, which are all that its policy reads
FLOW_STEPS = EvalConfig.num_flow_steps
LIMIT = "matrix product, 1024 x 1024 x 1024"


@dataclass(frozen=True)
class Workload:
    """Something to measure.

    Attributes:
        run: one call.
        multiply_adds: of one call.
        of: what one call does several times, as in "query".
        count: how many of these.
    """

    run: Callable[[], Any]
    multiply_adds: float
    of: str
    count: int


def forward_multiply_adds(config: ModelConfig, action_dim: int = ACTION_DIM) -> int:
    """Of one velocity of one chunk, without what depends on the observation or the flow time alone."""
    tokens, channels = config.action_chunk_size, config.channel_dim
    mixing = 2 * tokens * channels * (config.token_hidden_dim + config.channel_hidden_dim)
    return config.num_layers * mixing + 2 * tokens * channels * action_dim


def update_multiply_adds(config: ModelConfig, obs_dim: int = OBS_DIM) -> int:
    """Of one chunk in an update of cloning: forward, and the gradients of weights and of inputs.

    The first layers' inputs, actions, observation and flow time, need no gradient.
    """
    channels = config.channel_dim
    modulation = channels * channels * (2 + 6 * config.num_layers + 2)
    first = config.action_chunk_size * channels * ACTION_DIM + obs_dim * channels + channels * channels
    return 3 * (forward_multiply_adds(config) + modulation + obs_dim * channels) - first


def _random(key: int, *shape: int) -> jax.Array:
    return jax.random.normal(jax.random.key(key), shape)


def limit(size: int = 1024, rounds: int = 8) -> Workload:
    """Large matrix products, one after the other in one call: the first of them finds the caches cold."""

    def products(left: jax.Array, right: jax.Array) -> jax.Array:
        return jax.lax.scan(lambda left, _: (left @ right, None), left, length=rounds)[0]

    # Orthogonal, so that the products neither vanish nor overflow.
    right = jnp.linalg.qr(_random(1, size, size))[0]
    run = partial(runtime.jit(products), _random(0, size, size), right)
    return Workload(run, rounds * size**3, "product", rounds)


def queries(config: ModelConfig, batch: int, rounds: int = 16) -> dict[str, Workload]:
    """Plain and guided queries (`naive`, `realtime`) of a policy that reads the varying entries.

    Args:
        config: size of the policy.
        batch: queries at a time.
        rounds: batches per call, so that what a call costs by itself does not count.
    """
    policy = FlowPolicy(obs_dim=VARYING, action_dim=ACTION_DIM, config=config, rngs=nnx.Rngs(0))
    size = config.action_chunk_size
    obs, noise, previous = _random(0, batch, VARYING), *(_random(k, batch, size, ACTION_DIM) for k in (1, 2))

    def naive(policy: FlowPolicy, obs: jax.Array, noise: jax.Array) -> jax.Array:
        def once(noise: jax.Array, _: None) -> tuple[jax.Array, None]:
            return policy.action(None, obs, FLOW_STEPS, noise=noise), None

        return jax.lax.scan(once, noise, length=rounds)[0]

    def realtime(policy: FlowPolicy, obs: jax.Array, noise: jax.Array, previous: jax.Array) -> jax.Array:
        def once(noise: jax.Array, _: None) -> tuple[jax.Array, None]:
            return guided_chunk(policy, obs, noise, FLOW_STEPS, previous, 1, size - 1, "exp", 5.0), None

        return jax.lax.scan(once, noise, length=rounds)[0]

    of_query = FLOW_STEPS * forward_multiply_adds(config)
    observed = VARYING * config.channel_dim
    plain, guided = (runtime.jit(f) for f in (naive, realtime))
    return {
        f"naive query, H = {size}": Workload(
            partial(plain, policy, obs, noise), rounds * batch * (of_query + observed), "query", rounds * batch
        ),
        # The way back to the chunk has as many as the way there.
        f"realtime query, H = {size}": Workload(
            partial(guided, policy, obs, noise, previous),
            rounds * batch * (2 * of_query + observed),
            "query",
            rounds * batch,
        ),
    }


def updates(config: CloningConfig, count: int) -> Workload:
    """Updates of cloning on random data, as many as one compiled call holds."""
    size, rng = 20_000, np.random.default_rng(0)
    data = Dataset(
        jnp.asarray(rng.standard_normal((size, VARYING), np.float32)),
        jnp.asarray(rng.uniform(-1, 1, (size, ACTION_DIM)).astype(np.float32)),
        jnp.full(size, size - 1, jnp.int32),
        jnp.zeros(OBS_DIM),
        jnp.arange(VARYING),
    )
    model = FlowPolicy(obs_dim=OBS_DIM, action_dim=ACTION_DIM, config=config.model, rngs=nnx.Rngs(0))
    structure, params = nnx.split(model)
    fit = trainer.Trainer(structure, cloning.objective, config, count)
    state = [fit.init(params)]
    batches = jnp.asarray(rng.integers(0, size, (count, config.batch_size)), jnp.int32)

    def run() -> Any:
        # The learner is consumed by every call.
        state[0], _ = fit.epoch(state[0], data, [(batches, jax.random.key(0))])
        return state[0]

    return Workload(run, count * config.batch_size * update_multiply_adds(config.model), "update", count)


def ppo(config: PPOConfig, expert: ExpertConfig) -> Workload:
    """The gradient steps between two rollouts of PPO, on random samples."""
    programs = PPO(expert, config).programs
    params = jax.tree.map(lambda leaf: leaf[None], nnx.state(Expert(expert, rngs=nnx.Rngs(0))))
    shape = (config.num_steps, 1, config.num_envs)
    zeros = jnp.zeros(shape)
    actions = _random(2, *shape, expert.action_dim)
    samples = Sample(_random(1, *shape, expert.feature_dim), actions, zeros, zeros, _random(3, *shape), zeros > 0)
    last = _random(4, 1, config.num_envs, expert.feature_dim)
    state = params, jax.vmap(programs.optimizer.init)(params)
    run = partial(programs.optimise, *state, samples, last, jax.random.split(jax.random.key(0), 1))
    # Actor and critic, forward and both gradients; the features need none.
    first, rest = 2 * expert.feature_dim * expert.width, expert.width * (2 * expert.width + expert.action_dim + 1)
    of_sample = 2 * first + 3 * rest
    steps = config.num_epochs * config.num_minibatches
    return Workload(run, config.num_epochs * config.num_steps * config.num_envs * of_sample, "gradient step", steps)


def measure(workloads: Mapping[str, Workload], repeats: int) -> dict[str, float]:
    """Microseconds of each query, update or product: medians over the repeats, in turn; of the first the fastest."""
    spent = timing.in_turn({name: one.run for name, one in workloads.items()}, repeats)
    chosen = {name: float(np.median(times)) for name, times in spent.items()}
    first = next(iter(workloads))
    chosen[first] = float(spent[first].min())
    return {name: 1e3 * chosen[name] / one.count for name, one in workloads.items()}


def rows(workloads: Mapping[str, Workload], times: Mapping[str, float]) -> list[dict[str, Any]]:
    """The table: rates, also in percent of the first workload's."""
    rates = {name: one.multiply_adds / one.count / times[name] / 1e3 for name, one in workloads.items()}
    top = next(iter(rates.values()))
    return [
        {
            "what": name,
            "time (µs)": f"{times[name]:.4g} per {one.of}",
            "multiply-adds (million)": f"{one.multiply_adds / one.count / 1e6:.3g}",
            "GFLOP/s": round(2 * rates[name], 1),
            "of the limit (%)": round(100 * rates[name] / top),
        }
        for name, one in workloads.items()
    ]
