"""How every program starts and ends: JAX's settings first, then the program, and one line for whatever goes wrong.

Only the standard library is imported here, so that a Python without the project's packages gets its line too.
"""

import importlib
import os
import shlex
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

INTERRUPTED, BROKEN_PIPE = 130, 141
# Bad input, files that are not there or cannot be written, numbers that are not finite, a machine that is too small.
EXPECTED = (ValueError, OSError, FloatingPointError, MemoryError)
_SETUP = "set up the environment with `. exp/setup_env.sh` in the repository's root, which also puts it on PATH"


def start(module: str, argv: Sequence[str] | None = None) -> None:
    """Configures JAX, imports a module and calls its `main(argv)`.

    Args:
        module: its dotted name; imported late, because the simulator starts JAX when it is imported.
        argv: arguments without the program's name; `sys.argv` if None.

    Raises:
        SystemExit: an expected error, whose message it has; an interrupt; a reader that went away.
    """
    with plain_errors():
        warnings.formatwarning = _warning
        _check_python()
        from rtc.shared import runtime

        runtime.configure()
        importlib.import_module(module).main(argv)
        sys.stdout.flush()


@contextmanager
def plain_errors() -> Iterator[None]:
    """Turns what a user can do something about into a message without traceback, and an exit status.

    Bad input, missing files and packages, numbers that are not finite: 1. An interrupt: 130. A reader of the output
    that has seen enough, such as `head`: 141, without a word.
    """
    try:
        yield
    except KeyboardInterrupt as error:
        print("interrupted: what is finished is kept", file=sys.stderr)
        raise SystemExit(INTERRUPTED) from error
    except BrokenPipeError as error:
        # What is still buffered has nowhere to go, and the interpreter would complain about that at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(BROKEN_PIPE) from error
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] == "rtc":
            raise
        raise SystemExit(f"error: {sys.executable} lacks the package {error.name!r}: {_SETUP}") from error
    except EXPECTED as error:
        raise SystemExit(f"error: {str(error) or type(error).__name__}") from error


def _warning(
    message: Warning | str, category: type[Warning], filename: str, lineno: int, line: str | None = None
) -> str:
    """A warning to users in a line of its own; the place in the code is for those who write code."""
    if category is UserWarning:
        return f"warning: {message}\n"
    return _with_place(message, category, filename, lineno, line)


_with_place = warnings.formatwarning


def how_to_install(package: str) -> str:
    """The command that adds a package, or an extra ('exp-delta[served]'), to this Python, which may have no pip."""
    return f"python3 -m pip --python {sys.executable} install {shlex.quote(package) if '[' in package else package}"


def _check_python() -> None:
    if not (3, 11) <= sys.version_info < (3, 13):
        version = ".".join(map(str, sys.version_info[:3]))
        raise ValueError(f"Python 3.11 or 3.12 is needed, {sys.executable} is {version}: {_SETUP}")
    if sys.flags.optimize > 1:
        raise ValueError("PYTHONOPTIMIZE=2 (or -OO) removes docstrings, which JAX's libraries need: unset it")
