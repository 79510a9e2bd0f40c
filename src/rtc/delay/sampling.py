"""Inference delay as a random process: the pure functions that sample a profile.

A delay is counted in control ticks. Every environment owns a stream of delays; the k-th delay of an episode depends on
(seed, episode, k) and, in bursts, on the delays before it, so all methods and profiles meet the same random numbers.
"""

from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Key

from rtc.delay.laws import LONGEST, Markov, Trace
from rtc.delay.profiles import DelayProfileConfig

UNBOUNDED = np.iinfo(np.int32).max  # a bound that no delay reaches
START = np.iinfo(np.int32).max  # folded into a stream's key for the start of a replayed trace; no index gets there
MIN_TABLE = LONGEST + 1


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class DelayProcess:
    """A profile as arrays. Only the length of the table (padded to a power of two) is static.

    Attributes:
        table: delays of the base distribution, in ticks.
        cumulative: cumulative probability of each table entry; 1 in the padding.
        size: number of real entries.
        replay: take the entries in order instead of drawing them.
        p_spike: probability of a spike, instead of a base delay, at an episode's first query.
        p_spike_after_base, p_spike_after_spike: the same at a later one, by what the query before it was.
        d_spike: delay of a spike.
        burst: spikes are a state of the system, so that hedged copies of a query meet them together.
        drop_spike: probability that a spike is replaced by a base delay.
        hedge: copies of each query.
        cap: upper bound on every delay.
        anytime: ticks after which a query returns what it has.
        deadline: ticks after which a query is abandoned.
    """

    table: Int[Array, " n"]
    cumulative: Float[Array, " n"]
    size: Int[Array, ""]
    replay: Bool[Array, ""]
    p_spike: Float[Array, ""]
    p_spike_after_base: Float[Array, ""]
    p_spike_after_spike: Float[Array, ""]
    d_spike: Int[Array, ""]
    burst: Bool[Array, ""]
    drop_spike: Float[Array, ""]
    hedge: Int[Array, ""]
    cap: Int[Array, ""]
    anytime: Int[Array, ""]
    deadline: Int[Array, ""]


class DelayStream(NamedTuple):
    """Where one episode's stream of delays stands.

    Attributes:
        key: its random key.
        index: number of its next delay.
        spiking: whether the delay before was a spike.
    """

    key: Key[Array, ""]
    index: Int[Array, ""]
    spiking: Bool[Array, ""]


class Draw(NamedTuple):
    """What became of one query.

    Attributes:
        delay: ticks from its launch to its return.
        complete: ticks that it would take with all of its flow steps; more than `delay` where `anytime` cut it short.
    """

    delay: Int[Array, ""]
    complete: Int[Array, ""]


def make_process(config: DelayProfileConfig) -> DelayProcess:
    """Turns a profile into arrays. Raises ValueError where its trace cannot be read."""
    law, tail = config.law, config.tail
    delays, cumulative = law.base()
    capacity = max(MIN_TABLE, 1 << (len(delays) - 1).bit_length())
    padding = capacity - len(delays)
    spikes = law.spikes()

    def bound(ticks: int | None) -> Int[Array, ""]:
        return jnp.int32(UNBOUNDED if ticks is None else ticks)

    return DelayProcess(
        table=jnp.asarray(np.pad(delays, (0, padding), mode="edge"), jnp.int32),
        cumulative=jnp.asarray(np.pad(cumulative, (0, padding), constant_values=1.0), jnp.float32),
        size=jnp.int32(len(delays)),
        replay=jnp.asarray(isinstance(law, Trace) and law.trace_order == "replay"),
        p_spike=jnp.float32(spikes.first),
        p_spike_after_base=jnp.float32(spikes.after_base),
        p_spike_after_spike=jnp.float32(spikes.after_spike),
        d_spike=jnp.int32(spikes.ticks),
        burst=jnp.asarray(isinstance(law, Markov)),
        drop_spike=jnp.float32(tail.drop_spike_prob),
        hedge=jnp.int32(tail.hedge),
        cap=bound(tail.tail_cap),
        anytime=bound(tail.anytime),
        deadline=bound(tail.deadline),
    )


def init(key: Key[Array, ""]) -> DelayStream:
    """The start of a stream; `key` identifies the seed and the episode."""
    return DelayStream(key, jnp.zeros((), jnp.int32), jnp.zeros((), bool))


def sample(process: DelayProcess, stream: DelayStream) -> tuple[Draw, DelayStream]:
    """What becomes of the stream's next query, and the stream after it.

    Spike, base delay and dropping use separate uniforms, so two profiles that differ in one number stay coupled.
    """
    after = jnp.where(stream.spiking, process.p_spike_after_spike, process.p_spike_after_base)
    p_spike = jnp.where(stream.index == 0, process.p_spike, after)
    query_key, start_key = (jax.random.fold_in(stream.key, data) for data in (stream.index, START))
    fastest, spiking = _copy(process, stream.index, p_spike, query_key, start_key)

    def hedge(copy: Int[Array, ""], fastest: Int[Array, ""]) -> Int[Array, ""]:
        keys = jax.random.fold_in(query_key, copy), jax.random.fold_in(start_key, copy)
        p_of_copy = jnp.where(process.burst, spiking.astype(jnp.float32), p_spike)
        return jnp.minimum(fastest, _copy(process, stream.index, p_of_copy, *keys)[0])

    complete = jnp.minimum(jax.lax.fori_loop(1, process.hedge, hedge, fastest), process.cap)
    draw = Draw(jnp.minimum(complete, process.anytime), complete)
    return draw, DelayStream(stream.key, stream.index + 1, spiking)


def _copy(
    process: DelayProcess,
    index: Int[Array, ""],
    p_spike: Float[Array, ""],
    query_key: Key[Array, ""],
    start_key: Key[Array, ""],
) -> tuple[Int[Array, ""], Bool[Array, ""]]:
    """Delay of one copy of a query, and whether it met a spike (dropped or not)."""
    base, spike, drop = jax.random.uniform(query_key, (3,))
    drawn = jnp.searchsorted(process.cumulative, base, side="right")
    row = (jax.random.randint(start_key, (), 0, process.size) + index) % process.size
    spiking = spike < p_spike
    late = spiking & (drop >= process.drop_spike)
    return jnp.where(late, process.d_spike, process.table[jnp.where(process.replay, row, drawn)]), spiking


def flow_steps(draw: Draw, num_steps: int) -> Int[Array, ""]:
    """Flow steps that a query had time for: in proportion, and at least one."""
    in_time = num_steps * draw.delay // jnp.maximum(draw.complete, 1)
    return jnp.where(draw.complete > draw.delay, jnp.maximum(in_time, 1), num_steps)
