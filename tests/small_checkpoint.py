"""A small policy whose checkpoints are written and read, and a published one."""

from functools import cache
from pathlib import Path

import jax
import numpy as np
from flax import nnx

from model import FlowPolicy, ModelConfig

UPSTREAM = Path(__file__).parent / "goldens" / "upstream_format.pkl"
CONFIG = ModelConfig(8, 12, 6, num_layers=2, action_chunk_size=4, simulated_delay=2)
DIMS = {"obs_dim": 5, "action_dim": 3}


@cache
def make_policy() -> FlowPolicy:
    return nnx.jit(lambda: FlowPolicy(**DIMS, config=CONFIG, rngs=nnx.Rngs(0)))()


def weights(policy: FlowPolicy) -> dict[str, np.ndarray]:
    leaves = jax.tree_util.tree_leaves_with_path(nnx.to_pure_dict(nnx.state(policy)))
    return {jax.tree_util.keystr(key, simple=True, separator="/"): np.asarray(leaf) for key, leaf in leaves}
