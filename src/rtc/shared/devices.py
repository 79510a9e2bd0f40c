"""Programs that run on every device at once, each on its share of the environments."""

from collections.abc import Callable
from typing import Any, TypeVar

import jax
import numpy as np
from jax.sharding import Mesh, PartitionSpec

T = TypeVar("T")

AXIS = "device"  # name of the mesh axis over which environments are divided
EVERYWHERE, DIVIDED = PartitionSpec(), PartitionSpec(AXIS)


def mesh() -> Mesh:
    """All XLA devices of this process in a row."""
    return Mesh(np.array(jax.local_devices()), (AXIS,))


def count() -> int:
    """Number of XLA devices of this process."""
    return jax.local_device_count()


def sharded(function: Callable, in_specs: Any, out_specs: Any) -> Callable:
    """The function on every device, its arguments and results placed as the partition specs say."""
    return jax.shard_map(function, mesh=mesh(), in_specs=in_specs, out_specs=out_specs, check_vma=False)


def on_all_devices(function: Callable, *, replicated: int, divided: int = 1, out_axis: int = 0) -> Callable:
    """The function on every device.

    Args:
        function: takes `replicated` arguments that every device gets whole, then `divided` ones that are divided
            among the devices along their first axis.
        replicated: number of the former.
        divided: number of the latter.
        out_axis: axis along which the devices' results are joined.
    """
    in_specs = (*[EVERYWHERE] * replicated, *[DIVIDED] * divided)
    return sharded(function, in_specs, PartitionSpec(*[None] * out_axis, AXIS))


def with_axis(tree: T) -> T:
    """Adds the leading axis along which per-device pytrees of any layout are joined."""
    return jax.tree.map(lambda leaf: leaf[None], tree)


def without_axis(tree: T) -> T:
    """This device's slice of what `with_axis` joined."""
    return jax.tree.map(lambda leaf: leaf[0], tree)
