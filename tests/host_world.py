"""HashEnv in plain Python, a smooth world, and policies of every kind for the host executor."""

from dataclasses import dataclass, field

import jax
import jax.numpy as jnp
import numpy as np

from hash_world import LIMIT, SIZE
from reference_executor import HASH_MODULUS
from rtc.control import host
from rtc.control.host import PolicySpec, Reply, Step

DIM = 6
BOTH = ("planned_delay", "leftover")


class HashWorld:
    """`stubs.HashEnv` without JAX, which writes its observations into the same array, as many simulators do."""

    max_ticks = LIMIT

    def __init__(self, end_every):
        self.end_every = end_every
        self.seeds, self.obs = [], np.zeros(2, np.float32)

    def reset(self, seed):
        self.seeds.append(seed)
        self.tick, self.code = 0, 1
        return self.observed()

    def observed(self):
        self.obs[:] = self.tick, self.code
        return self.obs

    def step(self, action):
        self.tick += 1
        whole = [round(float(number)) for number in action]
        self.code = (self.code * 31 + whole[0] * 7 + whole[1] * 3 + whole[4]) % HASH_MODULUS
        over = bool(self.end_every) and self.code % self.end_every == 0
        done = over or self.tick >= LIMIT
        return Step(self.observed(), self.code % 5, solved=done and self.code % 2 == 0, terminated=over)


class EchoExternal:
    """`stubs.EchoPolicy` and `stubs.Telling` without JAX: chunks say what the query told.

    Args:
        latencies_ms: of the queries, in order; none are given where this is empty.
        reach: chunks are planned for the planned delay, but no further ahead than this.
    """

    def __init__(self, conditioning=(), latencies_ms=(), reach=0):
        self.spec = PolicySpec(SIZE, DIM, conditioning, max_origin=reach, random=False, identity="echo")
        self.latencies_ms, self.reach = latencies_ms, reach
        self.requests = []

    def reset(self, seed):
        self.asked = 0

    def infer(self, request):
        self.requests.append(request)
        told = [-1] * 4
        if request.leftover is not None:
            left = np.asarray(request.leftover)
            checksum = sum((j + 1) * entry[0] for j, entry in enumerate(left))
            overlap_end = max(min(len(left), SIZE - request.execute_horizon), 0)
            told = [request.planned_delay, overlap_end, left[0, 1] if len(left) else 0, checksum]
        chunk = np.array([[request.obs[0], j, *told] for j in range(SIZE)], np.float32)
        self.asked += 1
        latency = self.latencies_ms[self.asked - 2] if self.latencies_ms and self.asked > 1 else None
        return Reply(chunk, latency, min(request.planned_delay or 0, self.reach))


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class LinearFlow:
    """A policy as short as can be that reads all that it is given: observation, noise and flow steps."""

    weights: jax.Array
    action_chunk_size: int = field(default=SIZE, metadata={"static": True})
    action_dim: int = field(default=DIM, metadata={"static": True})

    def condition(self, obs):
        return obs @ self.weights

    def sample(self, condition, noise, num_steps, flow_steps=None):
        steps = num_steps if flow_steps is None else flow_steps[:, None, None]
        return jnp.tanh(condition.reshape(noise.shape) + noise * steps / num_steps)

    def action(self, rng, obs, num_steps, *, noise=None, flow_steps=None):
        return self.sample(self.condition(obs), noise, num_steps, flow_steps)


def linear_flow():
    weights = np.random.default_rng(0).standard_normal((7, SIZE * DIM), np.float32)
    return LinearFlow(jnp.asarray(weights))


class ExternalFlow:
    """A LinearFlow of which only chunks are known."""

    def __init__(self, policy, num_steps):
        self.policy, self.spec = policy, PolicySpec(SIZE, DIM, num_steps=num_steps, identity="flow")
        self.sample = jax.jit(lambda key, obs, steps: self._sample(key, obs, steps))

    def _sample(self, key, obs, steps):
        noise = jax.random.normal(key, (SIZE, DIM))
        return self.policy.action(None, obs[None], self.spec.num_steps, noise=noise[None], flow_steps=steps[None])[0]

    def reset(self, seed):
        pass

    def infer(self, request):
        return Reply(self.sample(host.key_of(request.seed), request.obs, jnp.int32(request.num_steps)))
