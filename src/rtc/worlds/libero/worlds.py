"""LIBERO's suites as a kind of worlds. Their simulation is stepped one environment at a time, in Python."""

from pathlib import Path
from typing import NoReturn

from rtc.worlds.libero.constants import Suite, find_suite


def load(level: str | Path) -> Suite:
    """The suite of that name. Raises ValueError, with the closest name, for an unknown one."""
    return find_suite(str(level))


def make_env(level: Suite, physics: str, start_noise: float) -> NoReturn:
    """Raises ValueError: there is no batched environment of LIBERO."""
    raise ValueError(
        f"world='libero:{level.name}' is simulated one environment at a time and has no batched one; "
        "run exp/run_rsd_libero.py on it, or choose a level of Kinetix"
    )


def varying_observation_entries(level: Suite) -> NoReturn:
    """Raises ValueError: a suite observes images."""
    raise ValueError(f"world='libero:{level.name}' observes images; choose a level of Kinetix")
