"""Evaluates cloned flow policies under inference delay: `python src/eval_flow.py --help`."""

from rtc.shared import entry

if __name__ == "__main__":
    entry.start("rtc.programs.eval_flow")
else:
    from rtc.programs.eval_flow import Arguments, DelayProfileConfig, EvalConfig, evaluate, run

    __all__ = ["Arguments", "DelayProfileConfig", "EvalConfig", "evaluate", "run"]
