"""The command `exp-delta`: the programs under one name, outside the repository too.

    exp-delta eval --run-path logs-bc/grasp_easy_h4 --level-paths grasp_easy --output-dir results
    exp-delta study methods
    exp-delta train my_level.json
    exp-delta train expert|data|flow|networks|rsd
    exp-delta leaderboard run|check|show
    exp-delta read-log robot_client.log
    exp-delta advise robot_client.log --hz 30 --chunk 50
    exp-delta render
    exp-delta reports

`exp-delta COMMAND --help` explains a command. Levels, studies and the policy of tail_v1 come with the package; output
goes below the current folder.
"""

import sys
from collections.abc import Mapping, Sequence
from typing import Any

from rtc.shared import entry
from rtc.shared.validation import unknown

# What stands for a command where a level's file is given.
FILE = "LEVEL.json"
COMMANDS: Mapping[str, Any] = {
    "eval": "rtc.programs.eval_flow",
    "study": "rtc.programs.study",
    "train": {
        "expert": "rtc.programs.train_expert",
        "data": "rtc.programs.generate_data",
        "flow": "rtc.programs.train_flow",
        "networks": "rtc.programs.train_networks",
        "rsd": "rtc.programs.train_rsd",
        FILE: "rtc.programs.train_level",
    },
    "leaderboard": {
        "run": "rtc.programs.leaderboard_run",
        "check": "rtc.programs.leaderboard_check",
        "show": "rtc.programs.leaderboard_show",
    },
    "read-log": "rtc.programs.read_log",
    "advise": "rtc.programs.advise",
    "render": "rtc.programs.render_levels",
    "reports": "rtc.programs.list_reports",
}


def find(
    words: Sequence[str], commands: Mapping[str, Any] = COMMANDS, said: str = "exp-delta"
) -> tuple[str, list[str]]:
    """The module of a command and the arguments that are left for it.

    Raises:
        ValueError: no command, or an unknown one; the message has the closest one.
    """
    if not words:
        raise ValueError(f"{said} needs a command, one of: {', '.join(commands)}; see exp-delta --help")
    word, *rest = words
    if FILE in commands and word.endswith(".json"):
        return commands[FILE], list(words)
    if word not in commands:
        raise unknown(f"{said}: command", word, commands)
    chosen = commands[word]
    return (chosen, rest) if isinstance(chosen, str) else find(rest, chosen, f"{said} {word}")


def main(argv: Sequence[str] | None = None) -> None:
    """Runs a command; `argv` is `sys.argv` without the program's name if None."""
    words = list(sys.argv[1:] if argv is None else argv)
    if words[:1] in (["--help"], ["-h"]):
        print(__doc__.strip())
        return
    with entry.plain_errors():
        module, rest = find(words)
    entry.start(module, rest)


if __name__ == "__main__":
    main()
