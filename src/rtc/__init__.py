"""exp-delta: action-chunking policies under random, long-tailed inference delay.

`rtc.evaluate` runs a policy of one's own (docs/own-policy.md). Importing the package changes no setting of the process;
programs call `rtc.shared.runtime.configure`.
"""

from typing import Any


def __getattr__(name: str) -> Any:
    """`evaluate`, with all that it needs, when it is first asked for."""
    if name == "evaluate":
        from rtc.study.own_policy import evaluate

        return evaluate
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
