"""Networks beside a policy, brought by a caller."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from jaxtyping import Array, Float


class HostHead:
    """A correction in Python: a function (obs, action, phase) -> correction, of one observation at a time.

    `obs` is what the environment gave, `action` the planned one and `phase` its index in its chunk over the chunk's
    size.
    """

    def __init__(self, function: Callable[[Any, np.ndarray, float], Any]):
        self._function = function

    def __call__(self, obs: Any, action: Float[Array, "1 a"], phase: Float[Array, " 1"]) -> Float[np.ndarray, "1 a"]:
        planned = np.array(action[0])
        correction = np.asarray(self._function(obs, planned, float(phase[0])), np.float32)
        if correction.shape != planned.shape:
            raise ValueError(
                f"the head returned an array of shape {correction.shape}: {planned.shape} is needed, one number per "
                "number of the action"
            )
        return correction[None]


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Selected:
    """A network that is given the whole observation and reads its own entries of it (`rtc.policies.networks`)."""

    network: Any

    def __call__(self, obs: Float[Array, "1 o"], *rest: Any) -> Any:
        return self.network(obs[:, self.network.entries[...]], *rest)


def adapted(network: Any, obs: Any) -> Any:
    """A caller's network as methods use it here.

    Args:
        network: a network of this project, or a function of Python as `HostHead` has it, such as a PyTorch module.
        obs: any observation.

    Raises:
        ValueError: it is neither, or reads other observations.
    """
    leaves = jax.tree.leaves(network)
    if leaves and all(isinstance(leaf, jax.Array | np.ndarray) for leaf in leaves):
        if callable(network) and hasattr(network, "entries"):
            return Selected(network)
        # One that is not simply called reads all entries that can change: here that may be any.
        return network.observing(range(len(obs)), np.asarray(obs)) if hasattr(network, "observing") else network
    if not callable(network):
        raise ValueError(f"a network of type {type(network).__name__} cannot be called: give a function or a module")
    return HostHead(network)
