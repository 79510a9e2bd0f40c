"""How programs start and end."""

import errno
import os
import subprocess
import sys
import warnings
from dataclasses import dataclass
from pathlib import Path

import jax
import pytest

from rtc.programs import (
    bench_physics,
    bench_slots,
    check_physics,
    eval_flow,
    measure_latency,
    record_episodes,
    report_networks,
    report_training,
)
from rtc.shared import commands, entry, files, launchers, runtime
from rtc.shared.launchers import LauncherConfig, Task

REPOSITORY = Path(__file__).parents[1]
WITHOUT_SIDE_EFFECTS = """
import importlib, os, pkgutil, subprocess
import jax

def no_git(*args, **kwargs):
    raise AssertionError(args)

environment, settings, subprocess.Popen = dict(os.environ), dict(jax.config.values), no_git
import rtc
for module in pkgutil.walk_packages(rtc.__path__, "rtc."):
    if not module.name.startswith("rtc.worlds.libero"):
        importlib.import_module(module.name)
changed = {name: jax.config.values[name] for name in settings if jax.config.values[name] != settings[name]}
assert not changed, changed
changed = dict(os.environ.items() - environment.items())
assert not changed, changed
print(jax.device_count())
"""


def python(*arguments: str, **environment: str) -> subprocess.CompletedProcess:
    names = os.environ | {"PYTHONPATH": str(REPOSITORY / "src")} | environment
    command = [sys.executable, *arguments]
    return subprocess.run(command, env=names, cwd=REPOSITORY, capture_output=True, text=True, timeout=120)


def test_importing_the_package_changes_no_setting_and_runs_no_git():
    done = python("-c", WITHOUT_SIDE_EFFECTS)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "1"


@pytest.mark.parametrize("program", ["exp/bench_slots.py", "src/eval_flow.py"])
def test_a_python_without_the_packages_gets_one_line(program):
    done = python("-S", program)
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert "lacks the package" in done.stderr
    assert "setup_env.sh" in done.stderr


def test_optimised_python_is_refused():
    done = python("-OO", "src/eval_flow.py")
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert "PYTHONOPTIMIZE" in done.stderr


def test_a_reader_that_goes_away_ends_a_program_quietly():
    program = (
        "from rtc.shared.entry import plain_errors\nwith plain_errors():\n    while True:\n        print('x' * 99)"
    )
    names = os.environ | {"PYTHONPATH": str(REPOSITORY / "src")}
    writer = subprocess.Popen(
        [sys.executable, "-c", program], env=names, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert writer.stdout.readline()
    writer.stdout.close()
    assert writer.stderr.read() == ""
    assert writer.wait(timeout=60) == entry.BROKEN_PIPE


def test_an_interrupt_ends_with_its_own_status(capsys):
    with pytest.raises(SystemExit) as raised, entry.plain_errors():
        raise KeyboardInterrupt
    assert raised.value.code == 130
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize("error", [ValueError("field=3"), OSError("field=3"), FloatingPointError("field=3")])
def test_expected_errors_have_no_traceback(error):
    with pytest.raises(SystemExit, match=r"^error: field=3$"), entry.plain_errors():
        raise error


def test_unexpected_errors_keep_theirs():
    with pytest.raises(ModuleNotFoundError), entry.plain_errors():
        import rtc.no_such_module  # noqa: F401


@pytest.mark.parametrize("setting", ["enable_x64", "debug_nans", "debug_infs"])
def test_settings_of_jax_that_programs_cannot_work_with(setting):
    with getattr(jax, setting)(True), pytest.raises(ValueError, match=f"JAX_{setting.upper()} .*unset it"):
        runtime.configure()


@pytest.mark.parametrize(
    ("error", "reason"), [(RuntimeError("no GPU"), "no GPU"), (AssertionError(), "no such plugin")]
)
def test_a_platform_that_is_not_there(error, reason, monkeypatch):
    def devices():
        raise error

    monkeypatch.setenv("JAX_PLATFORMS", "cuda")
    monkeypatch.setattr(jax, "devices", devices)
    with pytest.raises(ValueError, match=rf"JAX_PLATFORMS='cuda' .*unset it.*\({reason}\)"):
        runtime.configure()


@pytest.mark.parametrize("value", ["0", "-1", "two"])
def test_a_number_of_devices_that_is_none(monkeypatch, value):
    monkeypatch.setenv("EXP_DELTA_CPU_DEVICES", value)
    with pytest.raises(ValueError, match=f"EXP_DELTA_CPU_DEVICES='{value}' must be a positive integer"):
        runtime.configure()


def test_a_full_disk_names_the_file(monkeypatch, tmp_path):
    def full(path):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(files, "_sync", full)
    with pytest.raises(OSError, match=r"No space left on device: '.*table\.csv'"):
        files.atomic_write(tmp_path / "table.csv", "a\n")
    assert list(tmp_path.iterdir()) == []


def test_the_last_line_names_a_file(capsys):
    commands.open_first(Path("exp_runs/study/summary.md"))
    assert capsys.readouterr().out == "open first: exp_runs/study/summary.md\n"


@pytest.mark.parametrize(
    ("program", "flag"),
    [
        (bench_physics, "--levels"),
        (bench_slots, "--slots"),
        (bench_slots, "--methods"),
        (check_physics, "--levels"),
        (record_episodes, "--levels"),
        (record_episodes, "--methods"),
        (report_networks, "--levels"),
        (report_training, "--levels"),
        (eval_flow, "--run-path=logs-bc/h8 --level-paths"),
    ],
)
def test_lists_without_an_entry_are_refused(program, flag, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    name = flag.rpartition("--")[2].replace("-", "_")
    with pytest.raises(SystemExit, match=rf"^error: {name}=\(\) is empty: give at least one$"):
        program.main(flag.split())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "name", "value", "least"),
    [
        (bench_slots.Arguments, "repeats", 0, 1),
        (measure_latency.Arguments, "queries", 0, 1),
        (measure_latency.Arguments, "block", 0, 1),
        (measure_latency.Arguments, "block", -5, 1),
        (measure_latency.Arguments, "warm_up", -1, 0),
    ],
)
def test_numbers_of_runs_are_checked_before_anything_compiles(arguments, name, value, least):
    with pytest.raises(ValueError, match=f"{name}={value} must be an integer, at least {least}"):
        arguments(**{name: value})


@dataclass(frozen=True)
class Nested:
    number: int = 1

    def __post_init__(self) -> None:
        if self.number < 1:
            raise ValueError(f"number={self.number} must be at least 1")


@dataclass(frozen=True)
class Options:
    nested: Nested = Nested()
    other: int = 2

    def __post_init__(self) -> None:
        if self.other == self.nested.number:
            raise ValueError(f"other={self.other} is the number: change one")


@pytest.mark.parametrize(
    ("flags", "message"), [(["--nested.number", "0"], "number=0 must be at least 1"), (["--other", "1"], "change one")]
)
def test_what_arguments_refuse_is_a_line_and_no_box(flags, message, capsys):
    with pytest.raises(SystemExit, match=f"^error: .*{message}$"):
        commands.start(Options, failing, None, flags)
    assert capsys.readouterr().err == ""


@dataclass(frozen=True)
class Measuring:
    episodes: int = 8
    plugin: tuple[str, ...] = ()
    output: str = "page.md"


def test_what_others_settings_measured_is_kept(tmp_path):
    page = tmp_path / "page.md"
    few = Measuring(episodes=2)
    commands.keep_page(few, page, "output")  # nothing there yet
    page.write_text("")
    commands.keep_page(Measuring(), page, "output")
    commands.keep_page(Measuring(plugin=("a.py",)), page, "output", harmless=("plugin",))
    commands.keep_page(Measuring(episodes=2, output=str(page)), page, "output")
    commands.keep_page(few, page, "output", usual=few)
    with pytest.raises(ValueError, match=r"episodes=2: .*page\.md was measured with episodes=8.*give --output"):
        commands.keep_page(few, page, "output")


def test_flags_that_are_none_are_explained(capsys):
    with pytest.raises(SystemExit) as raised:
        commands.parse(Options, ["--nested.number", "one"])
    assert raised.value.code == 2
    assert "--nested.number" in capsys.readouterr().err


def test_a_warning_to_users_is_a_line(monkeypatch, tmp_path):
    monkeypatch.setattr(warnings, "formatwarning", warnings.formatwarning)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "warned.py").write_text("import warnings\nmain = lambda argv: warnings.warn(argv)\n")
    monkeypatch.setattr(runtime, "configure", lambda: None)
    with pytest.warns(UserWarning, match="look here"):
        entry.start("warned", "look here")
    assert warnings.formatwarning("look here", UserWarning, "file.py", 1) == "warning: look here\n"
    assert "file.py:1: DeprecationWarning" in warnings.formatwarning("old", DeprecationWarning, "file.py", 1)


def failing(error: BaseException) -> None:
    raise error


def test_a_task_that_fails_says_so_in_a_line_and_the_others_run(capsys):
    done = []
    tasks = [Task("first", failing, (ValueError("field=3 is too large"),)), Task("second", done.append, (2,))]
    with pytest.raises(ChildProcessError, match=r"1 of 2 tasks failed.*\nfirst: field=3 is too large"):
        launchers.run_all(tasks, LauncherConfig())
    assert done == [2]
    assert capsys.readouterr().err == "error: first: field=3 is too large\n"


@pytest.mark.parametrize("error", [BrokenPipeError(), KeyboardInterrupt()])
def test_what_ends_the_program_ends_its_tasks(error):
    done = []
    with pytest.raises(type(error)):
        launchers.run_all([Task("first", failing, (error,)), Task("second", done.append, (2,))], LauncherConfig())
    assert done == []


@pytest.mark.parametrize("works", [True, False])
def test_a_set_up_that_fails_is_tried_again(tmp_path, works):
    tool = tmp_path / "bin/uv"
    tool.parent.mkdir()
    tool.write_text(
        f'#!/bin/bash\nif [ "$1" = venv ]; then mkdir -p "${{@: -1}}/bin"; else exit {int(not works)}; fi\n'
    )
    tool.chmod(0o755)
    names = os.environ | {"PATH": f"{tool.parent}:{os.environ['PATH']}", "EXP_DELTA_VENV": str(tmp_path / "venv")}
    done = subprocess.run(
        ["bash", "-c", ". exp/setup_env.sh"], env=names, cwd=REPOSITORY, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == int(not works)
    assert (tmp_path / "venv/.installed").exists() == works
    assert ("could not be set up" in done.stderr) == (not works)
