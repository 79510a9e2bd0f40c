"""Who answers the queries of the host executor: a method, with a policy of either kind.

A method's functions run here as they do in `rtc.control.executor`, on batches of one: compiled, unless the method holds
a network that is no JAX code.
"""

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

from rtc.control.blocks import stream_keys
from rtc.control.host.deferred import Heard, Sizes
from rtc.control.host.drawn import Drawn, wanted
from rtc.control.host.environments import Observation
from rtc.control.host.measured import Measured
from rtc.control.host.policies import ExternalPolicy, PolicySpec, Reply, Request, checked
from rtc.control.host.seeds import seed_of, seed_of_data
from rtc.control.slots import BOOTSTRAP, POLICY
from rtc.methods import Act, Answer, Method, Now, Policy, Query
from rtc.shared import runtime


class Timed(NamedTuple):
    """An answer and how long it took in ms; NaN where nobody measured."""

    answer: Answer
    latency_ms: float


class Respondent(Protocol):
    """Method and policy, episode after episode.

    Attributes:
        sizes: of the policy.
        num_steps: flow steps of a query that is not short of time.
    """

    sizes: Sizes
    num_steps: int

    def begin(self, key: Key[Array, ""], obs: Observation, execute_horizon: int) -> Float[Array, "1 h a"]:
        """An episode starts: the chunk before its first query."""
        ...

    def answer(self, heard: Heard, obs: Observation, tick: int) -> Timed:
        """The answer to a query."""
        ...

    def act(self, heard: Heard, obs: Observation) -> Act:
        """The action of a tick, of a method that acts."""
        ...


class Native:
    """A policy of this project (`rtc.methods.Policy`), which every method works with that is not privileged."""

    def __init__(self, policy: Policy, method: Method, num_steps: int, measured: Measured | None):
        self.sizes = Sizes(policy.action_chunk_size, policy.action_dim)
        self.num_steps = num_steps
        self._policy, self._method, self._measured = policy, method, measured
        self._state: Any = ()
        self._warm = False

    def begin(self, key: Key[Array, ""], obs: Observation, execute_horizon: int) -> Float[Array, "1 h a"]:
        """See `Respondent`."""
        self._state = self._method.init(self._policy, 1)
        arguments = stream_keys(key[None], BOOTSTRAP), _row(obs), self.num_steps
        return _run(_first_chunk, self._method, self._policy, *arguments)

    def answer(self, heard: Heard, obs: Observation, tick: int) -> Timed:
        """See `Respondent`."""
        arguments = self._method, self._policy, heard.query, _row(obs), self._state
        if self._measured is None:
            answer, self._state = _run(_answer, *arguments, heard.drawn, self.num_steps)
            return Timed(answer, np.nan)

        def ask() -> tuple[Answer, Any]:
            return jax.block_until_ready(_run(_answer, *arguments, heard.drawn, self.num_steps))

        if not self._warm:  # compiling is no part of a latency
            ask()
            self._warm = True
        (answer, self._state), latency_ms = self._measured.timed(ask)
        return Timed(answer._replace(delay=_ticks(self._measured, latency_ms)), latency_ms)

    def act(self, heard: Heard, obs: Observation) -> Act:
        """See `Respondent`."""
        act, self._state = _run(_act, self._method, self._policy, heard.now, _observed(self._method, obs), self._state)
        return act


class External:
    """A policy of any kind, and a method that needs only its chunks."""

    def __init__(self, policy: ExternalPolicy, method: Method, measured: Measured | None, name: str):
        """`name` is the method's, for messages."""
        self.spec = policy.spec
        self.sizes = Sizes(self.spec.chunk_size, self.spec.action_dim)
        self.num_steps = self.spec.num_steps or 1
        self._policy, self._method, self._measured, self._name = policy, method, measured, name
        self._samples, self._joins = 0, False
        self._state: Any = ()

    def begin(self, key: Key[Array, ""], obs: Observation, execute_horizon: int) -> Float[Array, "1 h a"]:
        """See `Respondent`. Raises ValueError where the method does not fit the policy."""
        here = _row_or_nothing(obs)
        if not self._samples:
            self._samples, self._joins = _fitting(self.spec, self.sizes, self._method, self._name, here)
        self._policy.reset(seed_of(stream_keys(key[None], POLICY)[0]))
        first = stream_keys(key[None], BOOTSTRAP)
        request = Request(obs, seed_of(first[0]), 0, execute_horizon, self.num_steps)
        reply, _ = self._infer(request)
        view = Drawn(self.sizes, here, jnp.asarray(reply.chunk)[None])
        self._state = self._method.init(view, 1)
        return self._method.first_chunk(view, first, here, self.num_steps)

    def answer(self, heard: Heard, obs: Observation, tick: int) -> Timed:
        """See `Respondent`."""
        replies, latency_ms = self._ask(heard.query, obs, tick)
        drawn = heard.drawn if self._measured is None else _ticks(self._measured, latency_ms)
        chunks = np.stack([reply.chunk for reply in replies])
        origin = np.full(1, replies[0].origin, np.int32)
        query, here = heard.query, _row_or_nothing(obs)
        arguments = self.sizes, chunks, origin, query, here, self._state, drawn, self.num_steps
        answer, self._state = _run(_answer_from, self._method, *arguments)
        return Timed(answer, latency_ms)

    def act(self, heard: Heard, obs: Observation) -> Act:
        """See `Respondent`."""
        act, self._state = _run(_act, self._method, self.sizes, heard.now, _observed(self._method, obs), self._state)
        return act

    def _ask(self, query: Query, obs: Observation, tick: int) -> tuple[list[Reply], float]:
        """The replies, and how long all of them took together in ms."""
        if self._samples == 1:
            data = np.asarray(query.key)
        else:
            key = jax.random.wrap_key_data(query.key)[0]
            data = np.asarray(jax.random.key_data(jax.random.split(key, self._samples)))
        horizon, steps = (np.asarray(ticks)[0] for ticks in (query.execute_horizon, query.flow_steps))
        asked = {"tick": tick, "execute_horizon": int(horizon), "num_steps": int(steps)}
        told = self._told(query)
        replies = [self._infer(Request(obs, seed_of_data(one), **asked, **told)) for one in data]
        return [reply for reply, _ in replies], sum(latency_ms for _, latency_ms in replies)

    def _infer(self, request: Request) -> tuple[Reply, float]:
        """A reply, and how long it took in ms."""
        if self._measured is None:
            reply, wall_ms = self._policy.infer(request), np.nan
        else:
            reply, wall_ms = self._measured.timed(lambda: self._policy.infer(request))
        reply = checked(reply, self.spec, ahead=request.planned_delay is not None)
        return reply, wall_ms if reply.latency_ms is None else reply.latency_ms

    def _told(self, query: Query) -> dict[str, Any]:
        """What a conditioned policy is told."""
        if not self._joins:
            return {}
        known = np.append(np.asarray(query.known)[0], False)
        told = {
            "planned_delay": int(np.asarray(query.planned_delay)[0]),
            "leftover": np.array(query.upcoming)[0, : int(np.argmin(known))],
        }
        return {name: told[name] for name in self.spec.conditioning}


def _fitting(
    spec: PolicySpec, sizes: Sizes, method: Method, name: str, obs: Float[np.ndarray, "1 o"]
) -> tuple[int, bool]:
    """As `wanted`. Raises ValueError where the method does not fit the policy."""
    asked, joins = wanted(method, sizes, name, obs)
    samples = max(asked, 1)
    if samples > 1 and not spec.random:
        raise ValueError(
            f"method={name!r} compares {samples} chunks per query, and this policy gives the same one every time: let "
            "it draw its chunks with the request's seed (a function: with a parameter rng), or choose another method"
        )
    if joins and not spec.conditioning:
        raise ValueError(
            f"method={name!r} needs a policy that can be told something, and this one's spec has conditioning=(): name "
            "what it can be told there, or choose another method"
        )
    return samples, joins


def _ticks(measured: Measured, latency_ms: float) -> Int[np.ndarray, " 1"]:
    return np.full(1, measured.ticks(latency_ms), np.int32)


def _row_or_nothing(obs: Observation) -> Float[np.ndarray, "1 o"]:
    """A batch of one observation; without entries if it is not one vector, so that no network can read it."""
    return _row(obs) if len(getattr(obs, "shape", ())) == 1 else np.zeros((1, 0), np.float32)


def _row(obs: Observation) -> Float[np.ndarray, "1 o"]:
    """A batch of one observation, for networks of this project. Raises ValueError if it is not one vector."""
    shape = getattr(obs, "shape", None)
    if shape is None or len(shape) != 1:
        what = f"an array of shape {shape}" if shape is not None else f"a {type(obs).__name__}"
        raise ValueError(f"obs is {what}: networks of this project read one vector, so wrap the environment")
    return np.asarray(obs, np.float32)[None]


def _is_jax(method: Method) -> bool:
    """Whether JAX can compile the method: all of it are arrays."""
    return all(isinstance(leaf, jax.Array | np.ndarray | np.generic | float | int) for leaf in jax.tree.leaves(method))


def _observed(method: Method, obs: Observation) -> Any:
    return _row(obs) if _is_jax(method) else obs


def _first_chunk(method: Method, policy: Any, keys: Array, obs: Array, num_steps: int) -> Array:
    return method.first_chunk(policy, keys, obs, num_steps)


def _answer(
    method: Method, policy: Any, query: Query, obs: Array, state: Any, drawn: Array, num_steps: int
) -> tuple[Answer, Any]:
    query = query._replace(key=jax.random.wrap_key_data(query.key), obs=obs)
    return _plain(method.answer(policy, query, state, drawn, num_steps))


def _answer_from(
    method: Method,
    sizes: Sizes,
    chunks: Array,
    origin: Array,
    query: Query,
    obs: Array,
    state: Any,
    drawn: Array,
    num_steps: int,
) -> tuple[Answer, Any]:
    query = query._replace(key=jax.random.wrap_key_data(query.key), obs=obs)
    return _plain(method.answer(Drawn(sizes, obs, chunks, origin), query, state, drawn, num_steps))


def _plain(answered: tuple[Answer, Any]) -> tuple[Answer, Any]:
    """With an origin that is an array."""
    answer, state = answered
    origin = jnp.broadcast_to(jnp.asarray(answer.origin, jnp.int32), answer.delay.shape)
    return answer._replace(origin=origin), state


def _act(method: Method, policy: Any, now: Now, obs: Observation, state: Any) -> tuple[Act, Any]:
    act, state = method.act(policy, now._replace(key=jax.random.wrap_key_data(now.key), obs=obs), state)
    evaluations = jnp.broadcast_to(jnp.asarray(act.evaluations, jnp.int32), now.entry.shape)
    return act._replace(evaluations=evaluations), state


_COMPILED: dict[Callable, Callable] = {
    _act: runtime.jit(_act),
    **{
        function: runtime.jit(function, static_argnames="num_steps")
        for function in (_first_chunk, _answer, _answer_from)
    },
}


def _run(function: Callable, method: Method, *arguments: Any) -> Any:
    return (_COMPILED[function] if _is_jax(method) else function)(method, *arguments)
