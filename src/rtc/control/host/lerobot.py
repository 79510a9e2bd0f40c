"""A policy of LeRobot with its processors as an external policy; its Real-Time Chunking is passed through.

Names and conventions are those of LeRobot 0.6 (`lerobot.policies.pretrained`, `lerobot.rollout.inference.rtc`):
`predict_action_chunk(batch, inference_delay=…, prev_chunk_left_over=…, execution_horizon=…)` returns 1 x H x A in the
policy's own space; `prev_chunk_left_over` is in that space too, its first row the action of the tick at which the
query starts. Nothing of LeRobot or PyTorch is imported before it is used.
"""

import inspect
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import numpy as np
from jaxtyping import Float

from rtc.control.host.policies import CONDITIONS, PolicySpec, Reply, Request
from rtc.shared.validation import require_int

ACTION, STATE = "action", "observation.state"


class Predictor(Protocol):
    """What is needed of a `lerobot.policies.pretrained.PreTrainedPolicy`."""

    config: Any

    def reset(self) -> None: ...

    def predict_action_chunk(self, batch: dict[str, Any], **conditions: Any) -> Any: ...


class LerobotPolicy:
    """A policy of LeRobot (`rtc.control.host.ExternalPolicy`).

    Method `conditioned` tells it planned delay and leftover, if it takes them and its Real-Time Chunking is on. The
    leftover goes through the preprocessor as the `action` of a batch, as in training: so it is normalised, and
    relative to the present state where the policy's actions are.

    PyTorch's global generator is seeded with every query, so that runs can be repeated.
    """

    def __init__(
        self,
        policy: Predictor,
        *,
        preprocessor: Callable[[dict[str, Any]], dict[str, Any]] | None = None,
        postprocessor: Callable[[Any], Any] | None = None,
        batch: Callable[[Any], dict[str, Any]] | None = None,
        task: str = "",
        chunk_size: int | None = None,
        action_dim: int | None = None,
        conditioned: bool | None = None,
        execution_horizon: int | None = None,
    ):
        """Wraps a policy.

        Args:
            policy: from `from_pretrained`, or made from a configuration.
            preprocessor, postprocessor: from `make_pre_post_processors`; without them, batches and chunks stay as they
                are.
            batch: from the environment's observation to LeRobot's batch of one. By default the observation is a
                dictionary with LeRobot's names, images as height x width x colours, or one vector, the state.
            task: what the policy is told to do, for the default `batch`.
            chunk_size: H; by default the configuration's `chunk_size`.
            action_dim: numbers per action; by default those of the configuration's action feature.
            conditioned: True demands that it can be conditioned, False does without; by default as it can.
            execution_horizon: end of the window in which chunks are pulled towards the leftover, in ticks from the
                launch; by default that of its `rtc_config`.

        Raises:
            ValueError: sizes are not known, or it cannot be conditioned; the message says why, and what to do.
        """
        self.problem = problem_with_conditioning(policy)
        told = self.problem is None if conditioned is None else conditioned
        if told and self.problem is not None:
            raise ValueError(f"{type(policy).__name__} cannot be conditioned: {self.problem}")
        if execution_horizon is not None:
            require_int("execution_horizon", execution_horizon, low=1)
            if not told:
                raise ValueError(
                    f"execution_horizon={execution_horizon} has no effect on a policy that is not conditioned: leave "
                    "it out"
                )
        self._policy, self._task = policy, task
        self._before, self._after = preprocessor or _same, postprocessor or _same
        self._batch = batch or self._named
        self._window = {} if execution_horizon is None else {"execution_horizon": execution_horizon}
        self.spec = PolicySpec(
            chunk_size=_size("chunk_size", chunk_size, getattr(policy.config, "chunk_size", None)),
            action_dim=_size("action_dim", action_dim, _action_dim(policy.config)),
            conditioning=CONDITIONS if told else (),
            identity=f"lerobot/{getattr(policy, 'name', type(policy).__name__)}",
        )

    def reset(self, seed: int) -> None:
        """See `ExternalPolicy`."""
        for part in (self._policy, self._before, self._after):
            if hasattr(part, "reset"):
                part.reset()

    def infer(self, request: Request) -> Reply:
        """See `ExternalPolicy`.

        Raises:
            ValueError: the preprocessor does not keep the leftover's rows, or the policy did not return one chunk.
        """
        import torch

        torch.manual_seed(request.seed)
        batch = dict(self._batch(request.obs))
        told = request.leftover is not None and len(request.leftover) > 0
        if told:
            batch[ACTION] = torch.as_tensor(np.asarray(request.leftover, np.float32)[None])
        batch = self._before(batch)
        leftover = batch.pop(ACTION, None)
        conditions = {}
        if told:
            _check_rows(leftover, len(request.leftover))
            conditions = {"inference_delay": request.planned_delay, "prev_chunk_left_over": leftover, **self._window}
        return Reply(_rows(self._after(self._policy.predict_action_chunk(batch, **conditions))))

    def _named(self, obs: Any) -> dict[str, Any]:
        """An observation as LeRobot's own rollouts prepare it."""
        import torch
        from lerobot.policies.utils import prepare_observation_for_inference

        named = obs if isinstance(obs, Mapping) else {STATE: np.asarray(obs, np.float32)}
        arrays = {name: np.asarray(value) for name, value in named.items()}
        device = torch.device(getattr(self._policy.config, "device", None) or "cpu")
        return prepare_observation_for_inference(arrays, device, self._task)


def problem_with_conditioning(policy: Predictor) -> str | None:
    """Why a policy cannot be told planned delay and leftover, and what to do; None if it can.

    A policy that takes the arguments but has Real-Time Chunking switched off would ignore them.
    """
    plainly = "choose a method that needs only chunks, such as naive, or another policy"
    supports = getattr(policy, "supports_rtc", None)
    if supports is None or not supports():
        return f"it has no Real-Time Chunking (supports_rtc, since LeRobot 0.6): {plainly}"
    try:
        inspect.signature(policy.predict_action_chunk).bind({}, inference_delay=0, prev_chunk_left_over=None)
    except TypeError as error:
        return f"its predict_action_chunk takes no inference_delay and prev_chunk_left_over ({error}): {plainly}"
    rtc = getattr(policy.config, "rtc_config", None)
    if hasattr(policy, "init_rtc_processor") and (rtc is None or not rtc.enabled):
        return (
            "its Real-Time Chunking is off and would ignore them: set policy.config.rtc_config = RTCConfig(...) "
            "(lerobot.policies.rtc.configuration_rtc) and call policy.init_rtc_processor()"
        )
    return None


def _same(value: Any) -> Any:
    return value


def _action_dim(config: Any) -> int | None:
    feature = getattr(config, "action_feature", None)
    return None if feature is None else feature.shape[0]


def _size(name: str, given: int | None, found: int | None) -> int:
    """A size, as it was given or as the policy's configuration says it."""
    size = found if given is None else given
    if size is None:
        raise ValueError(f"{name}=None, and the policy's configuration does not say it: give it")
    return size


def _check_rows(leftover: Any, rows: int) -> None:
    shape = None if leftover is None else tuple(leftover.shape)
    if shape is None or len(shape) != 3 or shape[:2] != (1, rows):
        raise ValueError(
            f"the preprocessor made of {rows} actions, which are left over, {shape}, not (1, {rows}, A): this policy "
            "cannot be conditioned by this adapter, so give it conditioned=False"
        )


def _rows(chunk: Any) -> Float[np.ndarray, "h a"]:
    """A chunk as an array."""
    array = chunk.detach().float().cpu().numpy()
    if array.ndim != 3 or len(array) != 1:
        raise ValueError(f"predict_action_chunk returned an array of shape {array.shape}, not (1, H, A)")
    return array[0]
