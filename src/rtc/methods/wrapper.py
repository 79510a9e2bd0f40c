"""A method around another one: what all of those have in common."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from jaxtyping import Array, Float, Int, Key

from rtc.methods.base import Act, Answer, AssetSpec, Method, Now, Query, State, Steps, World


@dataclass(frozen=True)
class Wrapper(Method):
    """Does what the method inside it does; subclasses say what they do otherwise.

    A subclass overrides `answer`, `act` or `look`, and names its networks in `own_assets`, in fields that the inner
    method does not have. The state is the inner method's.

    Attributes:
        inner: the method inside.
    """

    inner: Any

    def own_assets(self) -> Mapping[str, AssetSpec]:
        """The networks that it needs besides those of the inner method."""
        return {}

    def first_chunk(
        self, policy: Any, key: Key[Array, " b"], obs: Float[Array, "b o"], num_steps: int
    ) -> Float[Array, "b h a"]:
        return self.inner.first_chunk(policy, key, obs, num_steps)

    def answer(
        self, policy: Any, query: Query, state: State, drawn: Int[Array, " b"], num_steps: int
    ) -> tuple[Answer, State]:
        return self.inner.answer(policy, query, state, drawn, num_steps)

    def look(self, policy: Any, query: Query, world: World) -> Any:
        return self.inner.look(policy, query, world)

    def act(self, policy: Any, now: Now, state: State) -> tuple[Act, State]:
        return self.inner.act(policy, now, state)

    def init(self, policy: Any, batch: int) -> State:
        return self.inner.init(policy, batch)

    def assets(self) -> Mapping[str, AssetSpec]:
        return {**self.inner.assets(), **self.own_assets()}

    def bind(self, networks: Mapping[str, Any]) -> Self:
        own = {name: networks[name] for name in self.own_assets()}
        inner = {name: network for name, network in networks.items() if name not in own}
        return dataclasses.replace(self, inner=self.inner.bind(inner), **own)

    def problem(self, policy: Any) -> str | None:
        return self.inner.problem(policy)

    def network_evaluations(self, steps: Steps) -> Steps:
        return self.inner.network_evaluations(steps)

    def bootstrap_evaluations(self, policy: Any, num_steps: int) -> int:
        return self.inner.bootstrap_evaluations(policy, num_steps)

    def max_origin(self, chunk_size: int) -> int:
        return self.inner.max_origin(chunk_size)

    @property
    def acts(self) -> bool:
        return type(self).act is not Wrapper.act or self.inner.acts

    @property
    def sees_newest(self) -> bool:
        return type(self).act is not Wrapper.act or self.inner.sees_newest

    @property
    def knows_delays(self) -> bool:
        return self.inner.knows_delays

    @property
    def waits(self) -> bool:
        return self.inner.waits

    @property
    def privileged(self) -> bool:
        return type(self).look is not Wrapper.look or self.inner.privileged

    @property
    def needs_robot_ahead(self) -> bool:
        return self.inner.needs_robot_ahead

    @property
    def needs_simulated_delay(self) -> bool:
        return self.inner.needs_simulated_delay
