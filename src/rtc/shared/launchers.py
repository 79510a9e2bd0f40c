"""Where the tasks of a study run: in this process, in several with cores of their own, or as jobs of a cluster."""

import contextlib
import multiprocessing
import os
import pickle
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from concurrent import futures
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, NamedTuple, get_args

from rtc.shared import runtime
from rtc.shared.entry import EXPECTED, how_to_install
from rtc.shared.validation import require_choice, require_int

Kind = Literal["local", "processes", "submitit"]
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
        kind: `local` runs them one after the other, each on all cores; `processes` as many at a time as `processes`
            says, on cores of their own; `submitit` submits one job per task.
        processes: of the kind `processes`; None starts one per usable core.
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
    processes: int | None = None
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
        if self.processes is not None:
            require_int("launcher.processes", self.processes, low=1)
            if self.kind != "processes":
                raise ValueError(
                    f"launcher.processes={self.processes} has no effect with launcher.kind={self.kind!r}: leave it "
                    "out, or choose launcher.kind='processes'"
                )


def run_all(tasks: Sequence[Task], config: LauncherConfig) -> None:
    """Runs all tasks; those that fail do not keep the others from running.

    Raises:
        ValueError: submitit is asked for and not installed.
        ChildProcessError: tasks failed; the message names them and has their errors.
    """
    run = {"local": _run_here, "processes": _run_in_processes, "submitit": _submit}[config.kind]
    failures = run(tasks, config)
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


def usable_cores() -> list[int]:
    """Numbers of the cores that this process may use."""
    return sorted(os.sched_getaffinity(0))


@contextlib.contextmanager
def pool(processes: int | None = None) -> Iterator[futures.ProcessPoolExecutor]:
    """Processes that compile and compute side by side, each bound to its share of this process's cores.

    Compiling uses one core whatever there is, so many small programs are through sooner than on all cores in turn. Only
    in a program that is started under `if __name__ == "__main__"`, as each process imports it once more. An error in
    the block that uses them drops what has not been begun.

    Args:
        processes: how many; by default one per usable core.

    Raises:
        ValueError: more processes than cores.
    """
    cores = usable_cores()
    count = len(cores) if processes is None else processes
    if count > len(cores):
        raise ValueError(f"processes={count} exceeds the {len(cores)} usable cores: choose at most {len(cores)}")
    context = multiprocessing.get_context("spawn")
    shares = context.SimpleQueue()
    for first in range(count):
        shares.put(cores[first::count])
    with futures.ProcessPoolExecutor(count, context, _join, (shares, sys.argv)) as workers:
        try:
            yield workers
        except BaseException:
            workers.shutdown(wait=False, cancel_futures=True)
            raise


def _join(shares: "multiprocessing.SimpleQueue[list[int]]", argv: list[str]) -> None:
    """Starts a process of a pool, in the name of the command that it works for."""
    share = shares.get()
    os.sched_setaffinity(0, share)
    # Bars of several processes would overwrite each other.
    os.environ |= {"EXP_DELTA_CPU_DEVICES": str(len(share)), "TQDM_DISABLE": "1"}
    sys.argv = argv
    runtime.configure()


def _run_in_processes(tasks: Sequence[Task], config: LauncherConfig) -> list[tuple[str, str]]:
    failures, count = [], min(len(tasks), config.processes or len(usable_cores()))
    with pool(count) as workers:
        waiting = {workers.submit(task.function, *task.arguments): task for task in tasks}
        for done in futures.as_completed(waiting):
            error = done.exception()
            if error is not None:
                failures.append((waiting[done].name, f"{type(error).__name__}: {error}"))
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
