"""What an execution method is: the networks it needs, what it remembers, how it answers a query, and whether it acts.

Everything is batched, one row per environment, and rows must not influence each other.
"""

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol, Self

import jax
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Key

State = Any
# Of one query, or of many.
Steps = int | Int[Array | np.ndarray, "..."]


class World(NamedTuple):
    """The simulated world itself, which a real robot's controller does not have.

    Attributes:
        env: the environment (`rtc.control.environment.Environment`).
        state: its state, for a batch of environments.
    """

    env: Any
    state: Any


class Query(NamedTuple):
    """What a method is told when a query is launched, for a batch of environments.

    Attributes:
        key: randomness of this query, one key per environment.
        obs: observation that the controller has at the launch.
        leftover: what is executed until the answer arrives: entry j for the j-th tick after the launch, zeros where
            there is nothing.
        planned_delay: delay the controller plans for, in ticks.
        overlap_end: entries of `leftover` from this index on carry no weight.
        predictions: earlier chunks that had an action for the j-th tick after the launch.
        flow_steps: flow steps that there is time for, from 1 to the number that the method is called with.
        execute_horizon: s, in ticks.
        upcoming: what is planned for the j-th tick after the launch until the answer arrives: `leftover`, what follows
            it, and the fallback where there is nothing. What `act` will make of it is not there.
        known: which entries of `upcoming` come from a chunk.
        looked: what a privileged method has taken from the simulated world; None for the others.
    """

    key: Key[Array, " b"]
    obs: Float[Array, "b o"]
    leftover: Float[Array, "b h a"]
    planned_delay: Int[Array, " b"]
    overlap_end: Int[Array, " b"]
    predictions: Int[Array, "b h"]
    flow_steps: Int[Array, " b"]
    execute_horizon: Int[Array, " b"]
    upcoming: Float[Array, "b p a"]
    known: Bool[Array, "b p"]
    looked: Any = None


class Answer(NamedTuple):
    """What came of a query.

    Attributes:
        chunk: the chunk; its entry i belongs to tick `origin` + i after the launch.
        delay: ticks from the launch to the chunk's arrival.
        steps: what the chunk took: steps of the flow, or passes of a policy that decodes tokens.
        origin: tick of the chunk's first entry, counted from the launch; at most `Method.max_origin`. Before it, the
            robot goes on with what it has, even if the chunk is there.
    """

    chunk: Float[Array, "b h a"]
    delay: Int[Array, " b"]
    steps: Int[Array, " b"]
    origin: Int[Array, " b"] | int = 0


class Now(NamedTuple):
    """What a method that acts is told at every tick, for a batch of environments.

    Attributes:
        key: randomness of this tick, one key per environment.
        obs: newest observation that an action of this tick can take into account.
        action: the planned action; where the tick is starved, the fallback.
        entry: the planned action's index in its chunk; -1 where the tick is starved.
        starved: no chunk has an action for this tick.
        age: ticks since the observation behind the planned action; -1 where the tick is starved.
        obs_age: ticks since `obs`.
        last_action: action of the tick before, zeros at first.
        tick: control ticks since the episode's start.
    """

    key: Key[Array, " b"]
    obs: Float[Array, "b o"]
    action: Float[Array, "b a"]
    entry: Int[Array, " b"]
    starved: Bool[Array, " b"]
    age: Int[Array, " b"]
    obs_age: Int[Array, " b"]
    last_action: Float[Array, "b a"]
    tick: Int[Array, " b"]


class Act(NamedTuple):
    """The action of a tick.

    Attributes:
        action: what is commanded.
        age: ticks since the newest observation behind it. A starved tick stays one, whatever is made of it.
        evaluations: network evaluations that it took.
    """

    action: Float[Array, "b a"]
    age: Int[Array, " b"]
    evaluations: Int[Array, " b"] | int = 0


class Place(NamedTuple):
    """Where the networks that belong to a policy are looked for.

    Attributes:
        run_path: directory of the policy's run.
        level_path: the level, as the user named it.
        checkpoint: the policy's file.
    """

    run_path: Path
    level_path: str
    checkpoint: Path


@dataclass(frozen=True)
class AssetSpec:
    """A network that a method needs besides the policy.

    Attributes:
        what: what it is, for messages.
        fix: what to do where there is none, for messages.
        find: its file; None where there is none.
        load: reads the file. The network is an array pytree; if it has a method `observing`, as `FlowPolicy` has, it is
            called with the observation's entries that can change in the level.
        made_for: of the file, hashes of the level and of the policy that it was made for, as `level_sha256` and
            `policy_sha256`, where it belongs to these only.
    """

    what: str
    fix: str
    find: Callable[[Place], Path | None]
    load: Callable[[Path], Any]
    made_for: Callable[[Path], Mapping[str, str]] | None = None


class Policy(Protocol):
    """The chunk policy as methods see it: `FlowPolicy`, a token agent, or what has the calls that a method uses."""

    @property
    def action_chunk_size(self) -> int: ...

    @property
    def action_dim(self) -> int: ...


class Method(Protocol):
    """An execution method: a registered pytree, whose swept numbers are traced.

    A method inherits from this class and overrides what does not fit it: `next_chunk` if its answer is just a chunk,
    else `answer`; `first_chunk`; and whatever else follows.
    """

    def first_chunk(
        self, policy: Any, key: Key[Array, " b"], obs: Float[Array, "b o"], num_steps: int
    ) -> Float[Array, "b h a"]:
        """The chunk that is there before an episode's first query, made from the first observation."""
        ...

    def next_chunk(self, policy: Any, query: Query, num_steps: int) -> Float[Array, "b h a"]:
        """The chunk for ticks 0 … h-1 after the launch, from at most `num_steps` flow steps."""
        ...

    def answer(
        self, policy: Any, query: Query, state: State, drawn: Int[Array, " b"], num_steps: int
    ) -> tuple[Answer, State]:
        """The chunk and what it took, and the method's new state.

        Args:
            policy: the policy.
            query: the query.
            state: the method's state.
            drawn: delay that the delay profile has for the query.
            num_steps: flow steps of a query that is not short of time.
        """
        return Answer(self.next_chunk(policy, query, num_steps), drawn, query.flow_steps), state

    def look(self, policy: Any, query: Query, world: World) -> Any:
        """What a privileged method takes from the simulated world: arrays that lead with the batch axis.

        It is asked at every tick, for all environments, with a planned delay of 0 in those that launch no query.
        """
        return None

    def act(self, policy: Any, now: Now, state: State) -> tuple[Act, State]:
        """The action of a tick, and the method's new state. By default the planned action; then it is never called."""
        return Act(now.action, now.age), state

    def init(self, policy: Any, batch: int) -> State:
        """The state at the start of `batch` episodes: arrays that lead with the batch axis. None by default."""
        return ()

    def assets(self) -> Mapping[str, AssetSpec]:
        """The networks that it needs, by the name of the field that holds each."""
        return {}

    def bind(self, networks: Mapping[str, Any]) -> Self:
        """The method with its networks."""
        return dataclasses.replace(self, **networks) if networks else self

    def problem(self, policy: Any) -> str | None:
        """Why it cannot work with this policy, as "needs …; what to do instead"; None if it can."""
        return None

    def network_evaluations(self, steps: Steps) -> Steps:
        """Passes through the network of a query that took `steps`; a backward pass counts like a forward pass."""
        return steps

    def bootstrap_evaluations(self, policy: Any, num_steps: int) -> int:
        """Passes through the network of `first_chunk`."""
        return num_steps

    def max_origin(self, chunk_size: int) -> int:
        """Largest origin of its chunks, in ticks; 0 if all chunks begin at their launch."""
        return 0

    @property
    def acts(self) -> bool:
        """Whether it chooses the action of every tick."""
        return type(self).act is not Method.act

    @property
    def sees_newest(self) -> bool:
        """Whether its actions depend on the newest observation."""
        return self.acts

    @property
    def knows_delays(self) -> bool:
        """Whether it uses the delay of every query from its launch on, whatever the estimator says."""
        return False

    @property
    def waits(self) -> bool:
        """Whether no chunk is executed from a launch to the new chunk's arrival, which starts only then."""
        return False

    @property
    def privileged(self) -> bool:
        """Whether it looks at the simulated world: a ceiling, and nothing to run on a robot."""
        return type(self).look is not Method.look

    @property
    def needs_simulated_delay(self) -> bool:
        """Whether it works with policies trained with `ModelConfig.simulated_delay` only."""
        return False

    @property
    def needs_robot_ahead(self) -> bool:
        """Whether it works with policies trained with `ModelConfig.robot_ahead` only."""
        return False


class FlowMethod(Method, Protocol):
    """A method that samples from a flow.

    Attributes:
        noise_scale: standard deviation of the flow's initial noise, of the first chunk too.
    """

    noise_scale: Float[Array, ""]

    def first_chunk(
        self, policy: Any, key: Key[Array, " b"], obs: Float[Array, "b o"], num_steps: int
    ) -> Float[Array, "b h a"]:
        return policy.action(None, obs, num_steps, noise=initial_noise(key, policy, self.noise_scale))

    def plain_chunk(self, policy: Any, query: Query, num_steps: int) -> Float[Array, "b h a"]:
        """A chunk that nothing but the observation decides."""
        noise = initial_noise(query.key, policy, self.noise_scale)
        return policy.action(None, query.obs, num_steps, noise=noise, flow_steps=query.flow_steps)

    def problem(self, policy: Any) -> str | None:
        if not hasattr(policy, "action"):
            return (
                f"samples from a flow, and a {type(policy).__name__} has none; give a token policy the method `Decode`"
            )
        if self.needs_simulated_delay and policy.config.simulated_delay is None:
            return (
                "needs a policy trained with --config.model.simulated-delay; "
                "choose another method or another checkpoint"
            )
        return None


def initial_noise(key: Key[Array, " b"], policy: Policy, scale: Float[Array, ""]) -> Float[Array, "b h a"]:
    """Initial noise of the flow, from each environment's own key: the same whatever the batch around it."""
    shape = (policy.action_chunk_size, policy.action_dim)
    return scale * jax.vmap(lambda k: jax.random.normal(k, shape))(key)
