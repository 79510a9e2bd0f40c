"""Where the tasks of a study run: in this process, or as jobs of a cluster (Slurm, by way of submitit)."""

import os
import pickle
import sys
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, NamedTuple, get_args

from rtc.shared import runtime
from rtc.shared.entry import EXPECTED, how_to_install
from rtc.shared.validation import require_choice, require_int

Kind = Literal["local", "submitit"]
Cluster = Literal["slurm", "local"]


class Task(NamedTuple):
    """A function call that leaves its results on disk, and its name for messages."""

    name: str
    function: Callable[..., None]
    arguments: tuple[Any, ...]


@dataclass(frozen=True)
class LauncherConfig:
    """How tasks are distributed.

    Attributes:
        kind: `local` runs them one after the other, each on all cores; `submitit` submits one job per task.
        cluster: where submitit runs them: `slurm`, or `local` for processes of this machine.
        partition: Slurm partition; None takes the cluster's default.
        cpus_per_task: cores per job.
        gpus_per_task: GPUs per job.
        mem_gb: memory per job.
        timeout_min: time limit per job; a job that is cut off loses the cell it was computing and no other.
        max_jobs: jobs at a time.
        log_dir: where submitit keeps its job files and logs.
    """

    kind: Kind = "local"
    cluster: Cluster = "slurm"
    partition: str | None = None
    cpus_per_task: int = 2
    gpus_per_task: int = 0
    mem_gb: int = 4
    timeout_min: int = 240
    max_jobs: int = 64
    log_dir: str = "exp_runs/jobs"

    def __post_init__(self):
        require_choice("launcher.kind", self.kind, get_args(Kind))
        require_choice("launcher.cluster", self.cluster, get_args(Cluster))
        for name in ("cpus_per_task", "mem_gb", "timeout_min", "max_jobs"):
            require_int(f"launcher.{name}", getattr(self, name), low=1)
        require_int("launcher.gpus_per_task", self.gpus_per_task, low=0)


def run_all(tasks: Sequence[Task], config: LauncherConfig) -> None:
    """Runs all tasks; those that fail do not keep the others from running.

    Raises:
        ValueError: submitit is asked for and not installed.
        ChildProcessError: tasks failed; the message names them and has their errors.
    """
    failures = (_run_here if config.kind == "local" else _submit)(tasks, config)
    if failures:
        listed = "\n".join(f"{name}: {error}" for name, error in failures)
        raise ChildProcessError(f"{len(failures)} of {len(tasks)} tasks failed; what is done is kept:\n{listed}")


def _run_here(tasks: Sequence[Task], config: LauncherConfig) -> list[tuple[str, str]]:
    failures = []
    for number, task in enumerate(tasks):
        if sys.stdout.isatty():  # elsewhere the lines of its cells are enough
            print(f"== {task.name} (task {number + 1} of {len(tasks)})")
        try:
            task.function(*task.arguments)
        except BrokenPipeError:  # nobody reads what is printed: no failure of the task
            raise
        except EXPECTED as error:
            print(f"error: {task.name}: {error}", file=sys.stderr)
            failures.append((task.name, str(error)))
        except Exception as error:
            traceback.print_exc()
            failures.append((task.name, f"{type(error).__name__}: {error}"))
    return failures


def _submit(tasks: Sequence[Task], config: LauncherConfig) -> list[tuple[str, str]]:
    try:
        import submitit  # here: an optional dependency
    except ImportError as error:
        raise ValueError(f"launcher.kind='submitit' needs it: {how_to_install('submitit')}") from error
    executor = submitit.AutoExecutor(folder=f"{config.log_dir}/%j", cluster=config.cluster)
    executor.update_parameters(
        name="exp-delta",
        cpus_per_task=config.cpus_per_task,
        gpus_per_node=config.gpus_per_task,
        mem_gb=config.mem_gb,
        timeout_min=config.timeout_min,
        slurm_array_parallelism=config.max_jobs,
        **({"slurm_partition": config.partition} if config.partition else {}),
    )
    # Jobs inherit the environment: a job's share of a machine is what it asked for.
    os.environ.setdefault("EXP_DELTA_CPU_DEVICES", str(config.cpus_per_task))
    failures, waiting, running = [], list(tasks), []
    if config.cluster == "slurm":
        jobs = executor.map_array(partial(_call, sys.argv), map(pickle.dumps, waiting))
        running, waiting = list(zip(waiting, jobs, strict=True)), []
    while waiting or running:
        while waiting and len(running) < config.max_jobs:
            task = waiting.pop(0)
            running.append((task, executor.submit(_call, sys.argv, pickle.dumps(task))))
        task, job = running.pop(0)
        print(f"wait for {task.name} (job {job.job_id}; {len(waiting) + len(running)} more)")
        try:
            job.result()
        except Exception as error:  # whatever killed the job; the others go on
            failures.append((task.name, f"{error} (log: {job.paths.stderr})"))
    return failures


def _call(argv: list[str], pickled: bytes) -> None:
    """Runs in the job, in the name of the command that submitted it; the task comes in pickled, since unpickling it
    imports what starts JAX, which must be configured by then."""
    sys.argv = argv
    runtime.configure()
    task = pickle.loads(pickled)
    task.function(*task.arguments)
