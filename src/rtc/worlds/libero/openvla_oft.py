"""Policy `openvla_oft`: OpenVLA-OFT (arXiv:2502.19645), in a process of its own Python environment.

It decodes a chunk in one forward pass, without flow or diffusion steps.
"""

import os
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import numpy as np
from jaxtyping import Float

from rtc.worlds.libero import oft_worker
from rtc.worlds.libero.adapter import Observation
from rtc.worlds.libero.constants import Suite

# moojink/openvla-oft, LIBERO.md: one checkpoint per suite.
CHECKPOINTS: Mapping[str, str] = MappingProxyType(
    {
        f"libero_{name}": f"moojink/openvla-7b-oft-finetuned-libero-{name}"
        for name in ("spatial", "object", "goal", "10")
    }
)
HOW_TO = (
    "policy 'openvla_oft' runs in its own Python environment on a GPU with 16 GB: make it as docs/libero.md says "
    "(a checkout of moojink/openvla-oft, Python 3.10, PyTorch 2.2 and its fork of transformers)"
)


@dataclass(frozen=True)
class OftConfig:
    """Where OpenVLA-OFT is.

    Attributes:
        python: the Python program of its environment.
        root: checkout of moojink/openvla-oft.
        checkpoint: name on the Hugging Face Hub, or a folder; None takes the published one of the suite.
    """

    python: str | None = None
    root: str | None = None
    checkpoint: str | None = None


class OpenVlaOft:
    """Asks a worker process that runs in OpenVLA-OFT's environment (`rtc.worlds.libero.oft_worker`)."""

    def __init__(self, config: OftConfig, suite: Suite):
        """Starts the worker and waits until it has loaded the model (the first time it downloads about 15 GB).

        Raises:
            ValueError: the configuration names no environment, no checkout, or no checkpoint for the suite.
            ChildProcessError: the worker failed; the message has its error.
        """
        command = worker_command(config, suite)
        self._inference_ms = float("nan")
        # This environment's packages are not for the worker.
        variables = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")}
        streams = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        self._process = subprocess.Popen(command, cwd=Path(config.root).resolve(), env=variables, **streams)
        try:
            self._answer()
        except BaseException:
            self._process.terminate()
            self.close()
            raise

    def predict(self, observation: Observation) -> Float[np.ndarray, "8 7"]:
        """See `rtc.worlds.libero.policies.LiberoPolicy`.

        Raises:
            ChildProcessError: the worker failed; the message has its error.
        """
        try:
            oft_worker.write_frame(self._process.stdin, **vars(observation))
        except BrokenPipeError:
            self._answer()  # what the worker said before it ended, as an error
        answer = self._answer()
        self._inference_ms = float(answer["inference_ms"])
        return answer["chunk"]

    def get_stats(self) -> dict[str, float]:
        """`inference_ms`: time of the last query inside the worker, without the way there and back."""
        return {"inference_ms": self._inference_ms}

    def close(self) -> None:
        """Ends the worker."""
        with suppress(BrokenPipeError):  # the worker may have ended before it read everything
            self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()

    def _answer(self) -> dict[str, np.ndarray]:
        answer = oft_worker.read_frame(self._process.stdout)
        if answer is None:
            status = self._process.wait()
            raise ChildProcessError(f"the OpenVLA-OFT process ended with status {status}; its messages are above")
        if "error" in answer:
            raise ChildProcessError(f"OpenVLA-OFT failed: {answer['error']}\n{HOW_TO}")
        return answer


def find_checkpoint(config: OftConfig, suite: Suite) -> str:
    """The configured checkpoint, a folder as an absolute path, or the published one of the suite.

    Raises:
        ValueError: none is configured, and none is published for the suite.
    """
    if config.checkpoint is not None:
        return str(Path(config.checkpoint).resolve()) if Path(config.checkpoint).is_dir() else config.checkpoint
    if suite.name not in CHECKPOINTS:
        raise ValueError(
            f"policy_config.oft.checkpoint=None: none is published for {suite.name}; give a folder or a name"
        )
    return CHECKPOINTS[suite.name]


def worker_command(config: OftConfig, suite: Suite) -> list[str]:
    """The command that starts a worker.

    Raises:
        ValueError: the configuration names no environment, no checkout, or no checkpoint for the suite.
    """
    if config.python is None or config.root is None:
        absent = "python" if config.python is None else "root"
        raise ValueError(f"policy_config.oft.{absent}=None: {HOW_TO}, and name it with --policy-config.oft.{absent}")
    entry = Path(config.root) / "experiments" / "robot" / "openvla_utils.py"
    if not entry.is_file():
        raise ValueError(
            f"policy_config.oft.root={config.root!r} is no checkout of openvla-oft, {entry} is missing; {HOW_TO}"
        )
    if not Path(config.python).is_file():
        example = Path(sys.executable).name
        raise ValueError(
            f"policy_config.oft.python={config.python!r} is no file: give a path that ends in bin/{example}"
        )
    program = str(Path(oft_worker.__file__).resolve())
    # The path is not resolved: an environment's Python is a link, and knows its packages by the link's place.
    python = str(Path(config.python).absolute())
    root = str(Path(config.root).resolve())
    return [python, program, "--root", root, "--checkpoint", find_checkpoint(config, suite), "--suite", suite.name]
