"""Stand-ins: an environment and a policy of small integers, whose timing can be checked exactly; made-up parameters."""

from dataclasses import dataclass, field

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from model import FlowPolicy, ModelConfig
from rtc.control.environment import Transition
from rtc.control.timeline import EpisodeTrace
from rtc.methods import Act, Answer, FlowMethod

HASH_MODULUS = 10_007
TINY = ModelConfig(channel_dim=8, channel_hidden_dim=8, token_hidden_dim=8, num_layers=1, action_chunk_size=4)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class HashEnv:
    """Observes [tick, hash]; the hash of the actions so far decides when an episode ends.

    Attributes:
        end_every: an episode ends when the hash is divisible by this number (0: only at the time limit).
    """

    end_every: jax.Array
    max_timesteps: int = field(default=24, metadata={"static": True})
    obs_dim: int = field(default=2, metadata={"static": True})
    action_dim: int = field(default=6, metadata={"static": True})

    def reset(self, keys):
        batch = len(keys)
        state = (jnp.zeros(batch, jnp.int32), jnp.ones(batch, jnp.int32))
        return state, jnp.stack([x.astype(jnp.float32) for x in state], axis=1)

    def step(self, state, action):
        tick, code = state
        tick = tick + 1
        whole = jnp.round(action).astype(jnp.int32)
        code = (code * 31 + whole[:, 0] * 7 + whole[:, 1] * 3 + whole[:, 4]) % HASH_MODULUS
        over = (self.end_every > 0) & (code % jnp.maximum(self.end_every, 1) == 0)
        done = over | (tick >= self.max_timesteps)
        transition = Transition(
            obs=jnp.stack([tick, code], axis=1).astype(jnp.float32),
            reward=(code % 5).astype(jnp.float32),
            done=done,
            solved=done & (code % 2 == 0),
            finite=jnp.isfinite(action).all(axis=1),
            distance=jnp.zeros(tick.shape),
        )
        return (tick, code), transition

    def select(self, mask, on_true, on_false):
        return jax.tree.map(lambda a, b: jnp.where(mask, a, b), on_true, on_false)

    def poses(self, state):
        return state


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class EchoPolicy:
    """Chunks that say which query they come from and what the method was told.

    Entry j of a chunk is [tick observed, j, planned delay, overlap end, leftover tick, leftover checksum]; a chunk made
    without guidance has -1 in the last four.
    """

    action_chunk_size: int = field(default=4, metadata={"static": True})
    action_dim: int = field(default=6, metadata={"static": True})

    def action(self, rng, obs, num_steps, *, noise=None, flow_steps=None):
        told = jnp.full((obs.shape[0],), -1.0)
        return self.chunk(obs, told, told, told, told)

    def chunk(self, obs, *told):
        entry = jnp.arange(self.action_chunk_size)[None]
        columns = [obs[:, :1], entry, *(t[:, None] for t in told)]
        shape = (obs.shape[0], self.action_chunk_size)
        return jnp.stack([jnp.broadcast_to(c, shape).astype(jnp.float32) for c in columns], axis=-1)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Telling(FlowMethod):
    """Chunks of an EchoPolicy that repeat what the query told."""

    noise_scale: float = 1.0

    def next_chunk(self, policy, query, num_steps):
        order = jnp.arange(1, policy.action_chunk_size + 1)
        checksum = (query.leftover[:, :, 0] * order).sum(axis=1)
        return policy.chunk(query.obs, query.planned_delay, query.overlap_end, query.leftover[:, 0, 1], checksum)


class Planning:
    """Plans for the planned delay, as far as `reach` ticks ahead; to be mixed into a method."""

    def max_origin(self, chunk_size):
        return self.reach

    def answer(self, policy, query, state, drawn, num_steps):
        answer, state = super().answer(policy, query, state, drawn, num_steps)
        return answer._replace(origin=jnp.minimum(query.planned_delay, self.reach)), state


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Ahead(Planning, Telling):
    """The same, planned for the planned delay."""

    reach: int = field(default=3, metadata={"static": True})


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Correcting(FlowMethod):
    """Remembers how often it answered and acted, and writes [1] last action, [2] acts, [3] entry, [4] hash, [5] answers
    into every action."""

    noise_scale: float = 1.0

    def init(self, policy, batch):
        return {"answers": jnp.zeros(batch, jnp.int32), "acts": jnp.zeros(batch, jnp.int32)}

    def answer(self, policy, query, state, drawn, num_steps):
        chunk = policy.action(None, query.obs, num_steps)
        return Answer(chunk, drawn, query.flow_steps), state | {"answers": state["answers"] + 1}

    def act(self, policy, now, state):
        action = now.action.at[:, 1].add(2 * now.last_action[:, 0])
        columns = state["acts"], now.entry, now.obs[:, 1] % 97, state["answers"]
        action = action.at[:, 2:].set(jnp.stack([c.astype(jnp.float32) for c in columns], axis=1))
        newest = jnp.minimum(now.obs_age, jnp.where(now.starved, now.obs_age, now.age))
        return Act(action, newest, now.entry + 2), state | {"acts": state["acts"] + 1}


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Counting(FlowMethod):
    """Chunks that repeat, entry by entry, [tick observed, j, flow steps, predictions, -1, -1]."""

    noise_scale: float = 1.0

    def next_chunk(self, policy, query, num_steps):
        shape = query.predictions.shape
        entry = jnp.arange(shape[1])[None]
        columns = query.obs[:, :1], entry, query.flow_steps[:, None], query.predictions, *2 * (-jnp.ones((1, 1)),)
        return jnp.stack([jnp.broadcast_to(c, shape).astype(jnp.float32) for c in columns], axis=-1)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class CountingAhead(Planning, Counting):
    """The same, planned for the planned delay."""

    reach: int = field(default=3, metadata={"static": True})


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class NoisePolicy:
    """Chunks whose first action dimension is the first number of the flow's initial noise."""

    action_chunk_size: int = field(default=4, metadata={"static": True})
    action_dim: int = field(default=6, metadata={"static": True})

    def action(self, rng, obs, num_steps, *, noise=None, flow_steps=None):
        return jnp.broadcast_to(noise[:, :1, :1], noise.shape)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class SmoothEnv:
    """A smooth system with three moving numbers, of whose seven observation entries four never change.

    Attributes:
        entries: the entries that are observed; None for all of them.
    """

    entries: tuple[int, ...] | None = field(default=None, metadata={"static": True})
    max_timesteps: int = field(default=24, metadata={"static": True})
    action_dim: int = field(default=6, metadata={"static": True})

    @property
    def obs_dim(self):
        return 7 if self.entries is None else len(self.entries)

    def reset(self, keys):
        batch = len(keys)
        state = (jnp.zeros(batch, jnp.int32), jnp.broadcast_to(jnp.array([0.3, -0.2, 0.1]), (batch, 3)))
        return state, self._observe(state)

    def _observe(self, state):
        x = state[1]
        constant = jnp.broadcast_to(jnp.array([1.5, -0.7, 3.0, 0.4]), (len(x), 4))
        obs = jnp.concatenate([constant[:, :2], x, constant[:, 2:]], axis=1)
        return obs if self.entries is None else obs[:, jnp.array(self.entries)]

    def observing(self, entries):
        return SmoothEnv(tuple(entries), self.max_timesteps)

    def step(self, state, action):
        tick, x = state
        x = jnp.sin(0.9 * x + 0.1 * action[:, :3] - 0.1 * action[:, 3:])
        state = tick + 1, x
        far = jnp.abs(x).max(axis=1) > 0.9
        transition = Transition(
            obs=self._observe(state),
            reward=x[:, 0],
            done=far | (tick + 1 >= self.max_timesteps),
            solved=far,
            finite=jnp.isfinite(x).all(axis=1),
            distance=jnp.zeros(tick.shape),
        )
        return state, transition

    def select(self, mask, on_true, on_false):
        return jnp.where(mask, on_true[0], on_false[0]), jnp.where(mask[:, None], on_true[1], on_false[1])

    @property
    def robot(self):
        """The first of the moving numbers."""
        mask = jnp.arange(7) == 2
        return mask if self.entries is None else mask[jnp.array(self.entries)]

    def poses(self, state):
        return state


def make_policy(value, **sizes) -> FlowPolicy:
    """A policy whose parameters are `value(name, shape)`."""
    graph, state = nnx.split(nnx.eval_shape(lambda: FlowPolicy(**sizes, rngs=nnx.Rngs(0))))

    def parameter(path, leaf):
        return jnp.asarray(value(jax.tree_util.keystr(path, simple=True, separator="/"), leaf.shape))

    values = jax.tree_util.tree_map_with_path(parameter, nnx.to_pure_dict(state))
    nnx.replace_by_pure_dict(state, values)
    return nnx.merge(graph, state)


def episode_trace():
    """An episode of 40 ticks with a query at every other one, one of them late."""
    ticks = np.arange(40)
    query = ticks % 2 == 0
    return EpisodeTrace(
        query=query,
        delay=np.where(query, np.where(ticks == 20, 4, ticks % 4 // 2), -1),
        planned_delay=np.where(query, 1, -1),
        length_executed=np.where(query, 2, -1),
        age=np.where(ticks == 22, -1, ticks % 2),
        action=np.sin(ticks[:, None] / [5, 9]),
        horizon=4,
        description="realtime",
    )
