"""Process-wide JAX settings, applied when the package is imported."""

import logging
import os
import warnings
from pathlib import Path

# Read by XLA's C++ code when JAX is loaded: level 3 hides its notes on every hit of the compilation cache.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
os.environ.setdefault("WANDB_MODE", "disabled")

import jax


def configure() -> None:
    """Makes every CPU core a JAX device and keeps compiled programs between runs.

    These environment variables override it:
        EXP_DELTA_CPU_DEVICES: number of CPU devices (default: one per usable core; an accelerator ignores it).
        JAX_COMPILATION_CACHE_DIR: where compiled programs are kept (default: ~/.cache/exp-delta/jax).

    Raises:
        ValueError: EXP_DELTA_CPU_DEVICES is not a positive integer.
    """
    devices = os.environ.get("EXP_DELTA_CPU_DEVICES", str(len(os.sched_getaffinity(0))))
    if not devices.isdigit() or int(devices) < 1:
        raise ValueError(
            f"EXP_DELTA_CPU_DEVICES={devices!r} must be a positive integer: the number of CPU devices; "
            "unset it to use one per core"
        )
    try:
        jax.config.update("jax_num_cpu_devices", int(devices))
    except RuntimeError:
        warnings.warn(
            "JAX was started before rtc was imported, so it keeps its number of CPU devices: "
            "import rtc first to use all cores",
            stacklevel=3,
        )
    if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
        cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "exp-delta" / "jax"
        jax.config.update("jax_compilation_cache_dir", str(cache))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 1.0)
    # The simulator's dependencies warn about optional features that nothing here uses.
    logging.getLogger("absl").setLevel(logging.ERROR)
