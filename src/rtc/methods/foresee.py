"""Foresight: the policy is asked for a chunk from where the robot will be when the chunk arrives."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from rtc.methods.assets import network_spec
from rtc.methods.base import Answer, AssetSpec, Place, Query, State, World
from rtc.methods.naive import naive
from rtc.methods.realtime import realtime
from rtc.methods.wrapper import Wrapper
from rtc.policies.forward import ForwardModel
from rtc.shared.chunks import shift_chunk


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Foresee(Wrapper):
    """Predicts the observation at the planned hand-over and asks there, for a chunk that begins there.

    The committed actions are followed for the planned delay d̂, and what follows is planned for the state that they lead
    to: the chunk's origin is d̂. The inner method joins it to what the old chunk still has from there on; nothing of the
    new chunk is committed. A delay beyond the chunk size H is planned for as H.

    With `robot_only`, only the entries of the robot's own bodies are predicted, the rest is as observed now: the
    observation of VLASH (arXiv 2512.01031, section 3), whose policies learn from such observations.

    Cost: the inner method's, and d̂ evaluations of the model, which are not counted as evaluations of the policy.

    Attributes:
        inner: joins the chunks.
        model: the forward model, of `rtc.policies.forward`; None takes the simulator itself, without its action noise,
            which makes the method privileged.
        learned: whether there is a model.
        robot_only: predict the robot's own entries only.
    """

    model: Any = None
    learned: bool = field(default=True, metadata={"static": True})
    robot_only: bool = field(default=False, metadata={"static": True})

    def answer(
        self, policy: Any, query: Query, state: State, drawn: Int[Array, " b"], num_steps: int
    ) -> tuple[Answer, State]:
        ticks = self._ticks(policy, query)
        answer, state = self.inner.answer(policy, self._then(policy, query, ticks), state, drawn, num_steps)
        return answer._replace(origin=ticks), state

    def _then(self, policy: Any, query: Query, ticks: Int[Array, " b"]) -> Query:
        """The query as if it were launched at the hand-over, with what the old chunk still has from there on."""
        size = policy.action_chunk_size
        upcoming, known = shift_chunk(query.upcoming, ticks), shift_chunk(query.known.astype(jnp.int32), ticks)
        reach = jnp.cumprod(known[:, :size], axis=1).sum(axis=1)
        return query._replace(
            obs=self.foreseen(query, ticks),
            leftover=jnp.where(known[:, :size, None] > 0, upcoming[:, :size], 0.0),
            planned_delay=query.planned_delay - ticks,
            overlap_end=jnp.minimum(reach, size - query.execute_horizon),
            predictions=shift_chunk(query.predictions, ticks),
            upcoming=upcoming,
            known=known > 0,
            looked=None,
        )

    def foreseen(self, query: Query, ticks: Int[Array, " b"]) -> Float[Array, "b o"]:
        """The observation that the policy is asked with."""
        if not self.learned:
            return query.looked
        predicted = self.model.ahead(query.obs, query.upcoming, ticks)
        return jnp.where(self.model.robot[...], predicted, query.obs) if self.robot_only else predicted

    def look(self, policy: Any, query: Query, world: World) -> Float[Array, "b o"] | None:
        if self.learned:
            return None
        predicted = _simulated(world, query, self._ticks(policy, query))
        return jnp.where(world.env.robot, predicted, query.obs) if self.robot_only else predicted

    @staticmethod
    def _ticks(policy: Any, query: Query) -> Int[Array, " b"]:
        return jnp.clip(query.planned_delay, 0, policy.action_chunk_size)

    def own_assets(self) -> Mapping[str, AssetSpec]:
        return {"model": FORWARD_MODEL} if self.learned else {}

    def max_origin(self, chunk_size: int) -> int:
        return chunk_size

    @property
    def privileged(self) -> bool:
        return not self.learned

    def problem(self, policy: Any) -> str | None:
        if self.inner.max_origin(policy.action_chunk_size):
            return "plans ahead already; choose a method inside it that does not"
        if self.inner.privileged:
            return "looks at the simulator; choose a method inside it that does not"
        return self.inner.problem(policy)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Vlash(Foresee):
    """VLASH (arXiv 2512.01031): foresight of the robot alone, for a policy that has learned from such observations.

    Its policies are a run of their own (`ordinary_run`). A forward model is that run's, or else the ordinary run's, as
    it belongs to the level. The published method lets the simulator predict the robot, as if it touched the rest as it
    will, and is privileged.
    """

    def own_assets(self) -> Mapping[str, AssetSpec]:
        return {"model": FORWARD_MODEL_OF_EITHER} if self.learned else {}

    def problem(self, policy: Any) -> str | None:
        if (problem := super().problem(policy)) is not None:
            return problem
        if policy.config.robot_ahead is None:
            return (
                "needs a policy trained with the robot ahead (src/train_networks.py --kinds vlash, or train_flow.py "
                "--config.model.robot-ahead); choose another method or another checkpoint"
            )
        return None

    @property
    def needs_robot_ahead(self) -> bool:
        return True


def _simulated(world: World, query: Query, ticks: Int[Array, " b"]) -> Float[Array, "b o"]:
    """The observations after `ticks` of what is commanded until the answer arrives, by the simulator itself."""

    def step(carry: tuple[Int[Array, ""], Any, Array]) -> tuple[Int[Array, ""], Any, Array]:
        i, state, obs = carry
        moved, outcome = world.env.step(state, query.upcoming[:, i])
        due: Bool[Array, " b"] = i < ticks
        return i + 1, world.env.select(due, moved, state), jnp.where(due[:, None], outcome.obs, obs)

    start = jnp.zeros((), jnp.int32), world.state, query.obs
    return jax.lax.while_loop(lambda carry: carry[0] < ticks.max(), step, start)[2]


FORWARD_MODEL = network_spec(ForwardModel, "a forward model of the level", of_policy=False)


def ordinary_run(run_path: str | Path) -> str:
    """The run of ordinary policies that goes with a run of VLASH's, whose name has `_vlash` behind; else itself."""
    return str(run_path).rstrip("/").removesuffix("_vlash")


def _of_either_run(where: Place) -> Path | None:
    ordinary = where._replace(run_path=Path(ordinary_run(where.run_path)))
    return FORWARD_MODEL.find(where) or FORWARD_MODEL.find(ordinary)


FORWARD_MODEL_OF_EITHER = replace(FORWARD_MODEL, find=_of_either_run)


def foresee_simulator(noise_scale: float = 1.0) -> Foresee:
    """The ceiling: no model error. Privileged."""
    return Foresee(naive(noise_scale), learned=False)


def foresee_learned(noise_scale: float = 1.0) -> Foresee:
    return Foresee(naive(noise_scale))


def foresee_learned_realtime(noise_scale: float = 1.0, max_guidance_weight: float = 5.0) -> Foresee:
    """The rest of the old chunk guides the new one, as in Real-Time Chunking."""
    return Foresee(realtime("exp")(noise_scale, max_guidance_weight))


def robot_only_simulator(noise_scale: float = 1.0) -> Foresee:
    """The robot's own entries by the simulator, with all that they touch. Privileged."""
    return Foresee(naive(noise_scale), learned=False, robot_only=True)


def robot_only_learned(noise_scale: float = 1.0) -> Foresee:
    return Foresee(naive(noise_scale), robot_only=True)


def vlash_simulator(noise_scale: float = 1.0) -> Vlash:
    """As published: the robot's own entries by the simulator. Privileged."""
    return Vlash(naive(noise_scale), learned=False, robot_only=True)


def vlash(noise_scale: float = 1.0) -> Vlash:
    """With a learned forward model in the simulator's place."""
    return Vlash(naive(noise_scale), robot_only=True)
