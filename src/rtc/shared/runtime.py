"""Process-wide JAX settings of the programs, and how this project compiles what runs on devices.

Importing this package changes nothing. A program calls `configure` before anything imports the simulator, which starts
JAX; whoever calls nothing, in a notebook say, has JAX's own settings: one CPU device, no compiled programs on disk.
"""

import contextlib
import ctypes
import functools
import logging
import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any


def configure() -> None:
    """Makes every CPU core a JAX device and keeps compiled programs between runs.

    These environment variables override it:
        EXP_DELTA_CPU_DEVICES: number of CPU devices (default: one per usable core; an accelerator ignores it).
        JAX_COMPILATION_CACHE_DIR: where compiled programs are kept (default: ~/.cache/exp-delta/jax).

    Raises:
        ValueError: an environment variable has a value that programs cannot work with.
    """
    # Read by XLA's C++ code when JAX is loaded: level 3 hides its notes on every hit of the compilation cache.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    import jax  # here, after what it reads

    _check_jax()
    devices = _cpu_devices()
    try:
        jax.config.update("jax_num_cpu_devices", devices)
    except RuntimeError:
        warnings.warn(f"JAX has started already and keeps its {jax.local_device_count()} devices", stacklevel=2)
    if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
        cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "exp-delta" / "jax"
        jax.config.update("jax_compilation_cache_dir", str(cache))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    # The simulator's dependencies warn about optional features that nothing here uses.
    logging.getLogger("absl").setLevel(logging.ERROR)
    if os.environ.get("JAX_PLATFORMS"):
        _check_platforms()


def _cpu_devices() -> int:
    devices = os.environ.get("EXP_DELTA_CPU_DEVICES", str(len(os.sched_getaffinity(0))))
    if not devices.isdigit() or int(devices) < 1:
        raise ValueError(
            f"EXP_DELTA_CPU_DEVICES={devices!r} must be a positive integer: the number of CPU devices; "
            "unset it to use one per core"
        )
    return int(devices)


def _check_jax() -> None:
    """Raises ValueError for settings of JAX that this project's programs do not work with."""
    import jax

    if jax.config.jax_enable_x64:
        raise ValueError("JAX_ENABLE_X64 is on, but policies and physics are in single precision: unset it")
    if jax.config.jax_debug_nans or jax.config.jax_debug_infs:
        name = "JAX_DEBUG_NANS" if jax.config.jax_debug_nans else "JAX_DEBUG_INFS"
        raise ValueError(f"{name} is on, but the physics masks such numbers where they are meant to be: unset it")


def _check_platforms() -> None:
    import jax

    try:
        jax.devices()
    except (RuntimeError, AssertionError) as error:  # the latter where no plugin of that name is installed
        asked, reason = os.environ["JAX_PLATFORMS"], str(error) or "no such plugin"
        raise ValueError(
            f"JAX_PLATFORMS={asked!r} cannot be used here: unset it, or set it to cpu ({reason})"
        ) from error


def compiler_options() -> dict[str, Any]:
    """XLA options of this project's programs: of those with the physics step above all.

    XLA's CPU backend removes optimisation barriers before it fuses operations; the physics step uses them to keep a
    contact's impulse from being computed again for every number that it changes (2-3 times the run time). And it uses
    half of a 512-bit vector unit unless told otherwise. Other backends need no options.
    """
    import jax

    if jax.default_backend() != "cpu":
        return {}
    return {"xla_disable_hlo_passes": "cse_barrier_expander", "xla_cpu_prefer_vector_width": 512}


def jit(function: Callable, **options: Any) -> Callable:
    """`jax.jit` with `compiler_options()`, asked for at the first call. Only for outermost programs.

    Args:
        function: the function to compile.
        options: arguments of `jax.jit`.
    """

    @functools.cache
    def compiled() -> Callable:
        import jax

        return jax.jit(function, compiler_options=compiler_options(), **options)

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        return compiled()(*args, **kwargs)

    call.lower = lambda *args, **kwargs: compiled().lower(*args, **kwargs)
    call._cache_size = lambda: compiled()._cache_size()
    return call


# Memory mappings of a program that takes the compiler hundreds of MB; and how many there were at the last look.
_LARGE_PROGRAM = 1000
_mapped = [0]


def make_room(limit: int | None = None) -> bool:
    """Drops compiled programs where their memory mappings near what Linux allows a process; they come back on demand.

    XLA maps every function of a CPU program into memory by itself, thousands for a physics step, and the process dies
    when it passes vm.max_map_count (65,530 by default). What goes through many levels calls this before each.

    What compilers have freed goes back to the system too, after each large program: hundreds of MB, which would
    otherwise lie below the peak of the next one.

    Args:
        limit: mappings beyond which programs are dropped; default half of what the system allows.

    Returns:
        Whether programs were dropped.
    """
    try:
        with open("/proc/self/maps") as maps:
            used = sum(1 for _ in maps)
        allowed = int(Path("/proc/sys/vm/max_map_count").read_text())
    except OSError:  # not Linux: no such limit
        return False
    full = used > (allowed // 2 if limit is None else limit)
    if full:
        import jax

        jax.clear_caches()
    if full or used > _mapped[0] + _LARGE_PROGRAM:  # else nothing was compiled, and pages would only come back
        _mapped[0] = 0 if full else used
        with contextlib.suppress(AttributeError):  # another C library than glibc
            ctypes.CDLL(None).malloc_trim(0)
    return full
