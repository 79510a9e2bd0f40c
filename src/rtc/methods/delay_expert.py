"""What any policy could do with late observations: an expert of the delayed decision process, asked at every tick."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from rtc.methods.assets import network_spec
from rtc.methods.base import Act, Answer, AssetSpec, Method, Now, Query, State, Steps
from rtc.policies.delayed import DelayedActor


class Memory(NamedTuple):
    """What the expert can look back on.

    Attributes:
        observations: of the last ticks, oldest first.
        commands: of the last ticks, oldest first; zeros before the episode.
        delay: that of the newest query, in ticks.
        age: of the observation that the last action was chosen on, in ticks.
    """

    observations: Float[Array, "b n o"]
    commands: Float[Array, "b m a"]
    delay: Int[Array, " b"]
    age: Int[Array, " b"]


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class DelayExpert(Method):
    """Acts at every tick on the observation of d ticks ago and the commands given since; a ceiling, not a chunk policy.

    With a constant delay that pair is the state of a Markov decision process without delay (Katsikopoulos and
    Engelbrecht 2003, doi 10.1109/TAC.2003.809799), which the expert was trained in. d is the delay of the newest query,
    whose chunk is not executed: the expert is asked at every tick, each time with that delay, as if its answers were
    pipelined. It is told every delay at the launch. Where delays grow, it keeps to the newest observation that it has
    seen. Delays above those of its training count as the largest of these.

    Cost: one evaluation of the expert per tick.

    Attributes:
        actor: a `DelayedActor`.
    """

    actor: Any = None

    def first_chunk(
        self, policy: Any, key: Key[Array, " b"], obs: Float[Array, "b o"], num_steps: int
    ) -> Float[Array, "b h a"]:
        return jnp.zeros((len(obs), policy.action_chunk_size, policy.action_dim))

    def answer(
        self, policy: Any, query: Query, state: State, drawn: Int[Array, " b"], num_steps: int
    ) -> tuple[Answer, State]:
        delay = jnp.minimum(drawn, self.actor.config.reach)
        return Answer(jnp.zeros_like(query.leftover), drawn, query.flow_steps), state._replace(delay=delay)

    def act(self, policy: Any, now: Now, state: State) -> tuple[Act, State]:
        begins = (now.tick == 0)[:, None, None]
        pushed = jnp.concatenate([state.observations[:, 1:], now.obs[:, None]], axis=1)
        observations = jnp.where(begins, now.obs[:, None], pushed)
        commands = jnp.concatenate([state.commands[:, 1:], now.last_action[:, None]], axis=1)
        age = jnp.minimum(state.delay, state.age + 1)
        action = self.actor(observations, commands, age)
        # Before tick d there is nothing older than the first observation.
        act = Act(action, jnp.minimum(age, now.tick) + now.obs_age, 1)
        return act, Memory(observations, commands, state.delay, age)

    def init(self, policy: Any, batch: int) -> State:
        shape = self.actor.config
        return Memory(
            jnp.zeros((batch, shape.reach + shape.history, len(self.actor.entries[...]))),
            jnp.zeros((batch, shape.reach, self.actor.action_dim)),
            jnp.zeros(batch, jnp.int32),
            jnp.full(batch, shape.reach),
        )

    def assets(self) -> Mapping[str, AssetSpec]:
        return {"actor": ACTOR}

    @property
    def knows_delays(self) -> bool:
        return True

    @property
    def sees_newest(self) -> bool:
        return False

    def network_evaluations(self, steps: Steps) -> Steps:
        return 0 * steps

    def bootstrap_evaluations(self, policy: Any, num_steps: int) -> int:
        return 0


ACTOR = network_spec(DelayedActor, "an expert of the delayed decision process", of_policy=False)


def delay_expert() -> DelayExpert:
    return DelayExpert()
