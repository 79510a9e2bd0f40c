"""Programs that run on every device at once, each on its share of the environments."""

from collections.abc import Callable

import jax
import numpy as np
from jax.sharding import Mesh, PartitionSpec


def on_all_devices(function: Callable, *, replicated: int, divided: int = 1, out_axis: int = 0) -> Callable:
    """The function on every device.

    Args:
        function: takes `replicated` arguments that every device gets whole, then `divided` ones that are divided
            among the devices along their first axis.
        replicated: number of the former.
        divided: number of the latter.
        out_axis: axis along which the devices' results are joined.
    """
    mesh = Mesh(np.array(jax.local_devices()), ("device",))
    in_specs = (*[PartitionSpec()] * replicated, *[PartitionSpec("device")] * divided)
    out_specs = PartitionSpec(*[None] * out_axis, "device")
    return jax.shard_map(function, mesh=mesh, in_specs=in_specs, out_specs=out_specs, check_vma=False)
