"""Trains flow policies on demonstrations: `python src/train_flow.py --config.run-path logs-expert/<run>`."""

from rtc.shared import entry

if __name__ == "__main__":
    entry.start("rtc.programs.train_flow")
else:
    from rtc.programs.train_flow import PRESETS, Arguments, train

    __all__ = ["PRESETS", "Arguments", "train"]
