"""Regression of action chunks with parallel decoding: one pass gives the whole chunk, trained with an L1 loss.

The form of OpenVLA-OFT (arXiv 2502.19645): the network gets empty actions in place of a chunk, mixes all positions with
each other, and its output is the chunk. There is one answer per observation, so nothing is drawn; where demonstrations
have several right answers it learns the median of them, entry by entry.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn, Self

import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Int, PRNGKeyArray

from rtc.policies import checkpoints, weights
from rtc.policies.flow import FlowPolicy
from rtc.policies.mixer import ModelConfig

KIND = "regression policy"


class RegressionPolicy(nnx.Module):
    """A chunk per observation.

    Its network is that of `FlowPolicy`, of the same size, evaluated once: at flow time 0, with zeros in place of noise.

    Args:
        obs_dim: size of the flat observation.
        action_dim: size of one action.
        config: size of the network.
        rngs: source of the initial weights.

    Raises:
        ValueError: `obs_dim` or `action_dim` is not a positive int, or `config.simulated_delay` is given.
    """

    def __init__(self, *, obs_dim: int, action_dim: int, config: ModelConfig, rngs: nnx.Rngs):
        if config.simulated_delay is not None:
            raise ValueError(
                f"ModelConfig.simulated_delay={config.simulated_delay} has no effect on a regression policy, which "
                "reads no committed actions: leave it out"
            )
        self.network = FlowPolicy(obs_dim=obs_dim, action_dim=action_dim, config=config, rngs=rngs)

    @property
    def config(self) -> ModelConfig:
        """Size of the network."""
        return self.network.config

    @property
    def obs_dim(self) -> int:
        """Size of the observation."""
        return self.network.obs_dim

    @property
    def action_dim(self) -> int:
        """Numbers per action."""
        return self.network.action_dim

    @property
    def action_chunk_size(self) -> int:
        """H, in control ticks."""
        return self.network.action_chunk_size

    def observing(self, entries: Sequence[int], constants: Float[np.ndarray, " o"]) -> Self:
        """As `FlowPolicy.observing`."""
        folded = nnx.clone(self)
        folded.network = self.network.observing(entries, constants)
        return folded

    def action(
        self,
        rng: PRNGKeyArray | None,
        obs: Float[Array, "b o"],
        num_steps: int = 1,
        *,
        noise: Float[Array, "b h a"] | None = None,
        flow_steps: Int[Array, " b"] | None = None,
    ) -> Float[Array, "b h a"]:
        """The chunk of each observation, by one pass.

        The other arguments are those of `FlowPolicy.action` and have no effect: nothing is drawn, and there are no
        steps.

        Raises:
            ValueError: a wrong shape.
        """
        network = self.network
        nothing = jnp.zeros((obs.shape[0], self.action_chunk_size, self.action_dim))
        return network.velocity(network.condition(obs), nothing, network.modulation(jnp.zeros((1, 1))))

    def loss(self, rng: PRNGKeyArray, obs: Float[Array, "b o"], action: Float[Array, "b h a"]) -> Float[Array, ""]:
        """Mean absolute error; `rng` is unused.

        Raises:
            ValueError: a wrong shape.
        """
        self.network.check_inputs(obs, action=action)
        return jnp.mean(jnp.abs(self.action(None, obs) - action))

    def _no_flow(self, *arguments: Any, **options: Any) -> NoReturn:
        raise ValueError(
            "a regression policy has one chunk per observation, and no flow to condition or to sample: choose a method "
            "that needs only chunks, such as naive, synchronous or temporal_ensemble, or a flow policy"
        )

    # What methods of flow policies ask for.
    condition = modulation = velocity = sample = integrate = initial_noise = _no_flow


def save_policy(path: str | Path, policy: RegressionPolicy, metadata: Mapping[str, Any]) -> None:
    """Writes `<path>.safetensors` and `<path>.json`, each atomically; arguments as of `checkpoints.save_policy`.

    Raises:
        ValueError: JSON cannot hold `metadata`.
    """
    sizes = {"config": dataclasses.asdict(policy.config), "obs_dim": policy.obs_dim, "action_dim": policy.action_dim}
    weights.write(_name(path), policy, {"kind": KIND, **sizes, "metadata": dict(metadata)})


def load_policy(
    path: str | Path, config: ModelConfig | None = None, *, obs_dim: int = 679, action_dim: int = 6
) -> tuple[RegressionPolicy, dict[str, Any]]:
    """Reads a checkpoint, checks it and returns the policy with the metadata it was saved with.

    Args:
        path: a .safetensors file, or its name without suffix.
        config: the wanted configuration; the checkpoint's own by default.
        obs_dim: size of the observation that the policy will get.
        action_dim: size of the actions that it has to give.

    Raises:
        FileNotFoundError: no such checkpoint.
        ValueError: the file is damaged, holds something else, or differs from what was asked for.
    """
    name = _name(path)
    header = weights.read_header(
        name, {"kind": str, "config": dict, "obs_dim": int, "action_dim": int, "metadata": dict}
    )
    if header["kind"] != KIND:
        raise ValueError(f"{path} is no {KIND} but a {header['kind']}: choose another file")
    there = weights.sizes(name, lambda: ModelConfig(**header["config"]))
    arrays, metadata = weights.read_arrays(name, header), header["metadata"]
    found = checkpoints._Checkpoint(name, arrays, there, header["obs_dim"], header["action_dim"], metadata)
    config = config or there
    checkpoints._check_config(found, config)
    checkpoints._check_dimensions(found, obs_dim, action_dim)
    sizes = {"obs_dim": obs_dim, "action_dim": action_dim, "config": config}
    return weights.filled(name, arrays, nnx.eval_shape(lambda: RegressionPolicy(**sizes, rngs=nnx.Rngs(0)))), metadata


def _name(path: str | Path) -> Path:
    return Path(str(path).removesuffix(weights.WEIGHTS))
