"""What every test module shares: JAX's settings, the check of arrays, fixtures. Imported where tests run."""

import os
import types
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# Most of the tests' time goes into compilers, so LLVM does only what it must, and the older of XLA's two generators of
# code for fused operations is used, which takes a third less time; XLA's other passes are those of every program.
# `JAX_DISABLE_MOST_OPTIMIZATIONS=0 XLA_FLAGS= bash tests/run.sh` tests the machine code that programs run.
os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")
os.environ.setdefault("XLA_FLAGS", "--xla_cpu_use_fusion_emitters=false")
# Sizes in the tests divide by two, whatever the machine.
os.environ.setdefault("EXP_DELTA_CPU_DEVICES", "2")

from rtc.shared import runtime

runtime.configure()  # before the simulator, which starts JAX, is imported

import importlib

import jaxtyping

import typechecker

# The libraries first: what is imported under the hook below is compiled from its source.
for name in ("distrax", "imageio", "kinetix.environment.env", "matplotlib.pyplot", "optax", "scipy.stats", "tyro"):
    importlib.import_module(name)

CHECKED = ("shared", "delay", "policies", "methods", "control", "worlds", "training", "study", "report", "bench")

# What calls in these rooms are given and return is checked against its annotations.
jaxtyping.jaxtyped = typechecker.of_arrays(jaxtyping.jaxtyped)
jaxtyping.install_import_hook([f"rtc.{room}" for room in CHECKED], "typechecker.check")

import jax
import numpy as np
import pytest

import generate_data
import train_expert
from line_world import DEVICES, ENTRIES, ENV, LEVEL, SLUG, SMALL_PPO
from rtc.control import executor
from rtc.methods import registry
from rtc.training.demonstrations import DataConfig
from rtc.worlds.kinetix import levels
from still_level import still_levels

SHA256 = "0" * 64  # of the line world's file
_compiled = []  # seconds of compiling, or of loading from disk, since the last look


def _note(event: str, seconds: float, **_: object) -> None:
    if event == "/jax/core/compile/backend_compile_duration":
        _compiled.append(seconds)


jax.monitoring.register_event_duration_secs_listener(_note)


@pytest.fixture(autouse=True)
def room_for_programs() -> None:
    """The tests compile more programs than one process can hold."""
    if sum(_compiled) > 0.5:  # a look takes longer than many a test
        _compiled.clear()
        runtime.make_room()


@pytest.fixture
def usual_code_generator(monkeypatch: pytest.MonkeyPatch) -> None:
    """The executor's programs as they are outside the tests, where every bit of their results counts."""
    options = runtime.compiler_options() | {"xla_cpu_use_fusion_emitters": True}
    monkeypatch.setattr(runtime, "compiler_options", lambda: options)
    monkeypatch.setattr(executor, "_run_sharded", executor._compiled())


@pytest.fixture
def registered() -> Iterator[None]:
    """Methods registered in a test are gone after it."""
    before = dict(registry._ENTRIES)
    yield
    registry._ENTRIES.clear()
    registry._ENTRIES.update(before)


@pytest.fixture(scope="session")
def grasp() -> levels.Level:
    return levels.load("grasp_easy")


@contextmanager
def in_line_world() -> Iterator[None]:
    """Every level is the line world."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(levels, "load", lambda path: types.SimpleNamespace(name=Path(path).stem, sha256=SHA256))
        patch.setattr(levels, "make_env", lambda level, physics: ENV)
        patch.setattr(levels, "varying_observation_entries", lambda level: np.array(ENTRIES))
        yield


@pytest.fixture(scope="module")
def line_world():
    """Every level is the line world."""
    with in_line_world():
        yield


@pytest.fixture
def modules_for_jobs(monkeypatch):
    """Jobs are processes of their own and import what pytest put on its own path."""
    monkeypatch.setenv("PYTHONPATH", f"{Path(__file__).parents[1] / 'src'}:{Path(__file__).parent}")


@pytest.fixture
def without_physics():
    """Every level stays as it starts, which takes a fraction of the compiler's time."""
    with still_levels():
        yield


@pytest.fixture(scope="session")
def expert_run(tmp_path_factory):
    """A run with one good expert."""
    run_path = tmp_path_factory.mktemp("experts") / "run"
    with in_line_world():
        rates = train_expert.train(train_expert.Arguments(SMALL_PPO, (LEVEL,), run_path, recipe=None))
    return run_path, rates[f"{SLUG}_seed_0"]


@pytest.fixture(scope="session")
def data(expert_run):
    """Demonstrations of that expert."""
    sizes = {"num_transitions": 2000, "num_envs": 4 * DEVICES, "ticks_per_part": 64}
    config = DataConfig(run_path=expert_run[0], record_mode=False, **sizes)
    with in_line_world():
        (path,) = generate_data.generate(generate_data.Arguments(config, (LEVEL,), recipe=None))
    return path


@pytest.fixture
def trace(tmp_path):
    """Writes latencies in ms as a CSV file; gives its path."""

    def write(latencies):
        path = tmp_path / "trace.csv"
        path.write_text("query,latency_ms\n" + "".join(f"{i},{ms}\n" for i, ms in enumerate(latencies)))
        return str(path)

    return write


@pytest.fixture
def two_bound(monkeypatch):
    """In every level, only the first two actions drive something."""
    facts = {"sha256": "0" * 64, "name": "reach", "path": Path("reach.json")}
    level = types.SimpleNamespace(bound_actions=np.arange(6) < 2, **facts)
    monkeypatch.setattr(levels, "load", lambda path: level)
    return level
