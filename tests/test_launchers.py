"""Where tasks run: one that fails is named and keeps no other from running."""

from pathlib import Path

import pytest

from rtc.shared import launchers
from rtc.shared.launchers import LauncherConfig, Task

pytestmark = pytest.mark.usefixtures("modules_for_jobs")


def fails():
    raise ValueError("no such thing")


@pytest.mark.parametrize("kind", ["local", "processes", "submitit"])
def test_a_failing_task_is_named_and_the_others_run(kind, tmp_path):
    marks = [Task(f"mark {i}", Path.touch, (tmp_path / str(i),)) for i in range(2)]
    config = LauncherConfig(kind, cluster="local", log_dir=str(tmp_path / "jobs"), timeout_min=1, max_jobs=2)
    with pytest.raises(ChildProcessError, match=r"1 of 3 tasks failed(.|\n)*bad: (.|\n)*no such thing"):
        launchers.run_all([marks[0], Task("bad", fails, ()), marks[1]], config)
    assert (tmp_path / "0").exists()
    assert (tmp_path / "1").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kind": "slurm"}, "launcher.kind='slurm'"),
        ({"cluster": "pbs"}, "launcher.cluster"),
        ({"mem_gb": 0}, "mem_gb=0"),
        ({"kind": "processes", "processes": 0}, "launcher.processes=0"),
        ({"processes": 1}, "launcher.processes=1 has no effect with launcher.kind='local'"),
    ],
)
def test_bad_launchers_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        LauncherConfig(**change)
