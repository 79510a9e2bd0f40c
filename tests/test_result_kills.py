"""Locks of output folders, and runs that are killed while they write cells."""

import errno
import os
import random
import signal
import subprocess
import sys
import time

import pytest

from rtc.shared import files as results_files
from rtc.study.cells import standing


def test_require_writable(tmp_path, monkeypatch):
    root = results_files.require_writable(tmp_path / "a" / "b")
    assert root.is_dir()
    assert not list(root.iterdir())
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match=r"cannot write to the output root.*choose another.*file/under"):
        results_files.require_writable(tmp_path / "file" / "under")

    def full(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match=r"No space left on device.*free some space") as caught:
        results_files.require_writable(root)
    assert caught.value.errno == errno.ENOSPC
    assert not list(root.iterdir())


HOLDER = """
import sys, time
from rtc.shared import files
with files.lock(sys.argv[1]):
    print("held", flush=True)
    time.sleep(60)
"""


def test_lock_excludes_a_second_run_and_survives_a_kill(tmp_path):
    command = [sys.executable, "-c", HOLDER, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout.readline() == "held\n"
        with (
            pytest.raises(ValueError, match=rf"in use by pid {holder.pid} on .*choose another"),
            results_files.lock(tmp_path),
        ):
            pass
        holder.kill()
    with results_files.lock(tmp_path), pytest.raises(ValueError, match="in use"), results_files.lock(tmp_path):
        pass
    assert not (tmp_path / ".lock").exists()


RUN = """
import os, sys
import pandas as pd
from rtc.shared import files
from rtc.study import cells as results

root, crash_at = sys.argv[1], int(sys.argv[2])
cells = [results.Cell(p, m, s, "l") for p in ("p", "q") for m in ("m", "n") for s in range(int(sys.argv[3]))]
row = dict.fromkeys(results.MAIN_COLUMNS[4:], 0.5)
episodes = pd.DataFrame({"episode": range(20), "x": 0.1})

def run():
    with files.lock(root):
        files.remove_leftovers(root)
        for cell in cells:
            place = results.cell_dir(root, cell)
            if results.standing(place, cell, {"key": 1}).status == "complete":
                continue
            with open(os.path.join(root, "computed.log"), "a") as log:
                log.write(f"{cell}\\n")
            results.write_cell(place, cell, {"key": 1}, row, episodes, {}, delay_counts={0: 1})
        results.collect(root)

def crash_before(function):
    def wrapped(*arguments):
        global crash_at
        crash_at -= 1
        if crash_at == 0:
            os.kill(os.getpid(), 9)
        return function(*arguments)
    return wrapped

if crash_at == 0:
    run()
    sys.exit(0)

# Every system call that a cell's commit consists of is a place to die; forks save the start-up time.
os.fsync, os.replace = crash_before(os.fsync), crash_before(os.replace)
deaths = 0
while True:
    child = os.fork()
    if child == 0:
        run()
        os._exit(0)
    if os.waitpid(child, 0)[1] == 0:
        break
    deaths += 1
    # The next run gets one call further, so every call is at some time the one that never happens.
    crash_at += 1
print(deaths)
"""


def start(root, crash_at, seeds):
    command = [sys.executable, "-c", RUN, str(root), str(crash_at), str(seeds)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def finished(root):
    """Complete cells, with the time of their commit."""
    markers = {path: path.stat().st_mtime_ns for path in root.rglob("cell.json")}
    return {p: t for p, t in markers.items() if standing(p.parent, inputs={"key": 1}).status == "complete"}


def log_lines(root):
    log = root / "computed.log"
    return log.read_text().splitlines() if log.exists() else []


def assert_finished(root, count):
    names = sorted(f"{path.parent.relative_to(root)}" for path in finished(root))
    assert len(names) == count
    assert names == sorted(set(log_lines(root)))
    assert len(results_files.read_csv(root / "results_all.csv")) == count
    leftovers = {p.name for p in root.rglob("*") if p.is_file()}
    assert leftovers <= {"cell.json", "episodes.csv", "delays.csv", "results.csv", "computed.log", "results_all.csv"}


def test_killed_run_resumes_without_losing_or_repeating_a_cell(tmp_path):
    moments = random.Random(0)
    seeds, kills = 12, 0
    while True:
        before, computed = finished(tmp_path), len(log_lines(tmp_path))
        process = start(tmp_path, 0, seeds)
        if kills < 4:
            target = computed + moments.randint(1, 9)
            while process.poll() is None and len(log_lines(tmp_path)) < target:
                time.sleep(0.001)
            time.sleep(moments.uniform(0, 0.01))
            process.send_signal(signal.SIGKILL)
        process.communicate(timeout=120)
        after, recomputed = finished(tmp_path), log_lines(tmp_path)[computed:]
        assert before.items() <= after.items(), "a complete cell was lost or written again"
        assert not {str(p.parent.relative_to(tmp_path)) for p in before} & set(recomputed)
        if process.returncode == 0:
            break
        assert process.returncode == -signal.SIGKILL
        kills += 1
    assert kills >= 3
    assert_finished(tmp_path, 4 * seeds)


def test_dying_before_any_system_call_of_a_commit_is_harmless(tmp_path):
    process = start(tmp_path, 1, 1)
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 0
    assert int(output) > 10
    assert_finished(tmp_path, 4)
