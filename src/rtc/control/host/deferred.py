"""One control tick with policy and environment elsewhere: what it asks of them, and what comes of their replies.

A tick is a pure function (`rtc.control.ticks`), so it can be evaluated as often as need be: at first with anything in
place of what is not known yet, to hear what is asked; then with the replies. So the host executor's rules are those of
`rtc.control.executor`, in the same code.

Observations stay outside, too. What is observed here is the number of ticks so far, which says which of the
observations a policy gets, however late it comes.
"""

import dataclasses
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Key

from rtc.control import slots
from rtc.control.controller import Controller
from rtc.control.environment import Transition
from rtc.control.records import empty_records
from rtc.control.slots import Carry, Queue
from rtc.control.ticks import tick
from rtc.methods import Act, Answer, Method, Now, Query
from rtc.shared import runtime


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Sizes:
    """What the rules know of a policy.

    Attributes:
        action_chunk_size: H.
        action_dim: numbers per action.
    """

    action_chunk_size: int = field(metadata={"static": True})
    action_dim: int = field(metadata={"static": True})


class Replies(NamedTuple):
    """What comes from outside in a tick.

    Attributes:
        answer: the answer to the query, where one is launched.
        act: the action, where the method acts.
        transition: what the action led to; its observation is the number of ticks so far.
    """

    answer: Answer
    act: Act
    transition: Transition


class Heard(NamedTuple):
    """What a tick asks. Keys are raw data here.

    Attributes:
        asked: a query is launched.
        query: the query; its observation is a number of ticks.
        drawn: delay that the delay profile has for it.
        now: what the method is told about the tick, where it acts.
    """

    asked: Bool[Array, " 1"]
    query: Query
    drawn: Int[Array, " 1"]
    now: Now


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Elsewhere:
    """An environment that is stepped elsewhere: its state is the action that it was given."""

    transition: Transition
    action_dim: int = field(metadata={"static": True})

    def reset(self, keys: Key[Array, " b"]) -> tuple[Float[Array, "b a"], Float[Array, "b 1"]]:
        return jnp.zeros((len(keys), self.action_dim)), jnp.zeros((len(keys), 1))

    def step(self, state: Float[Array, "b a"], action: Float[Array, "b a"]) -> tuple[Float[Array, "b a"], Transition]:
        return action, self.transition


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Deferred(Method):
    """A method that is asked elsewhere: it gives the replies, and its state is what was asked.

    Attributes:
        replies: the replies.
        waiting, ahead, acting: `waits`, `max_origin` and `acts` of the method that is meant.
    """

    replies: Any
    waiting: bool = field(metadata={"static": True})
    ahead: int = field(metadata={"static": True})
    acting: bool = field(metadata={"static": True})

    def init(self, policy: Sizes, batch: int) -> Heard:
        return unasked(policy, self.ahead, batch)

    def answer(
        self, policy: Sizes, query: Query, state: Heard, drawn: Int[Array, " b"], num_steps: int
    ) -> tuple[Answer, Heard]:
        asked = query._replace(key=jax.random.key_data(query.key))
        answer = self.replies.answer._replace(origin=self.replies.answer.origin if self.ahead else 0)
        return answer, state._replace(asked=jnp.ones_like(state.asked), query=asked, drawn=drawn)

    def act(self, policy: Sizes, now: Now, state: Heard) -> tuple[Act, Heard]:
        return self.replies.act, state._replace(now=now._replace(key=jax.random.key_data(now.key)))

    def max_origin(self, chunk_size: int) -> int:
        return self.ahead

    @property
    def waits(self) -> bool:
        return self.waiting

    @property
    def acts(self) -> bool:
        return self.acting


def unasked(sizes: Sizes, ahead: int, batch: int) -> Heard:
    """Shapes of what can be asked."""
    size, dim = sizes.action_chunk_size, sizes.action_dim
    words = jax.random.key_data(jax.random.split(jax.random.key(0), batch))
    number, obs, action = jnp.zeros(batch, jnp.int32), jnp.zeros((batch, 1)), jnp.zeros((batch, dim))
    query = Query(
        key=words,
        obs=obs,
        leftover=jnp.zeros((batch, size, dim)),
        planned_delay=number,
        overlap_end=number,
        predictions=jnp.zeros((batch, size), jnp.int32),
        flow_steps=number,
        execute_horizon=number,
        upcoming=jnp.zeros((batch, size + ahead, dim)),
        known=jnp.zeros((batch, size + ahead), bool),
    )
    starved = jnp.zeros(batch, bool)
    now = Now(words, obs, action, number, starved, number, number, action, number)
    return Heard(starved, query, number, now)


def no_replies(sizes: Sizes) -> Replies:
    """What stands in for replies that are not there yet."""
    size, dim = sizes.action_chunk_size, sizes.action_dim
    number, action, no = np.zeros(1, np.int32), np.zeros((1, dim), np.float32), np.zeros(1, bool)
    real = np.zeros(1, np.float32)
    return Replies(
        Answer(np.zeros((1, size, dim), np.float32), number, number, number),
        Act(action, number, number),
        Transition(np.zeros((1, 1), np.float32), real, no, no, ~no, real),
    )


def deferred(controller: Controller, sizes: Sizes) -> Controller:
    """The controller without its method, which is asked elsewhere."""
    method = controller.method
    ahead = method.max_origin(sizes.action_chunk_size)
    return dataclasses.replace(controller, method=Deferred(None, method.waits, ahead, method.acts))


def _with(controller: Controller, replies: Replies) -> Controller:
    return dataclasses.replace(controller, method=dataclasses.replace(controller.method, replies=replies))


@partial(runtime.jit, static_argnames="columns")
def begin(
    controller: Controller, sizes: Sizes, key: Key[Array, ""], bootstrap: Float[Array, "1 h a"], columns: int
) -> Carry:
    """An episode at its start, alone in its slot.

    Args:
        controller: from `deferred`.
        sizes: of the policy.
        key: the episode's random key.
        bootstrap: the chunk before its first query.
        columns: control ticks that the records have room for.
    """
    env, zero = Elsewhere(None, sizes.action_dim), jnp.zeros((), jnp.int32)
    queue = Queue(zero[None], key[None], bootstrap)
    slot = slots.new_slots(env, sizes, controller, queue, zero[None])
    acts, ahead = controller.method.acts, bool(controller.method.ahead)
    records = empty_records(1, columns, sizes.action_dim, (), ahead=ahead, acts=acts)
    return Carry(slot, zero, zero + 1, records)


@partial(runtime.jit, static_argnames="num_steps")
def attempt(
    controller: Controller, sizes: Sizes, carry: Carry, replies: Replies, num_steps: int
) -> tuple[Carry, Heard, Float[Array, "1 a"]]:
    """The tick as these replies make it: what follows, what is asked, and the action that the environment gets.

    What is asked does not depend on the answer to it, and the action not on the transition.
    """
    nothing = controller.method.init(sizes, 1)
    carry = carry._replace(slots=carry.slots._replace(state=nothing))
    env = Elsewhere(replies.transition, sizes.action_dim)
    after = tick(env, sizes, _with(controller, replies), carry, num_steps, 1)
    return after, after.slots.state, after.slots.env


def is_over(carry: Carry) -> bool:
    """Whether the episode has ended."""
    return np.asarray(carry.slots.row)[0] > 0
