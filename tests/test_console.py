"""The command `exp-delta`, and what a wheel holds."""

import importlib.util
import tomllib
from pathlib import Path

import pytest

from rtc.programs import console
from rtc.shared import entry

REPOSITORY = Path(__file__).parents[1]
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())


def modules(commands) -> list[str]:
    return [module for one in commands.values() for module in ([one] if isinstance(one, str) else modules(one))]


@pytest.mark.parametrize("module", modules(console.COMMANDS))
def test_every_command_is_there(module):
    assert importlib.util.find_spec(module) is not None


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "exp-delta needs a command"),
        (["evall"], "did you mean 'eval'"),
        (["train"], "exp-delta train needs a command"),
        (["train", "flows"], "did you mean 'flow'"),
    ],
)
def test_a_wrong_command_gets_one_line(words, message):
    with pytest.raises(SystemExit, match=message):
        console.main(words)


def test_arguments_go_to_the_program(monkeypatch):
    started = []
    monkeypatch.setattr(entry, "start", lambda module, argv: started.append((module, argv)))
    console.main(["train", "flow", "--help"])
    console.main(["eval", "--seed", "3"])
    assert started == [("rtc.programs.train_flow", ["--help"]), ("rtc.programs.eval_flow", ["--seed", "3"])]


def test_help_names_every_command(capsys):
    console.main(["--help"])
    shown = capsys.readouterr().out
    assert all(f"exp-delta {command}" in shown for command in console.COMMANDS)


def test_a_wheel_holds_levels_studies_and_the_policy_of_tail_v1_and_no_generic_modules():
    targets = PROJECT["tool"]["hatch"]["build"]["targets"]
    held, places = targets["wheel"]["only-include"], targets["wheel"]["sources"]
    assert {path for path in held if path.startswith("src/")} == {"src/rtc", "src/eval_flow.py", "src/model.py"}
    assert places["src"] == ""
    for folder in ("worlds", "exp/studies", "logs-bc/grasp_easy_h4"):
        assert folder in held
        assert places[folder] == f"rtc/data/{folder}"  # as rtc.shared.paths.shipped looks for it
        assert any((REPOSITORY / folder).iterdir())
    assert all(any(f"/{path}".startswith(kept) for kept in targets["sdist"]["include"]) for path in held)


def test_the_console_command_is_declared():
    assert PROJECT["project"]["scripts"] == {"exp-delta": "rtc.programs.console:main"}
