"""Trains flow policies on demonstrations: `python src/train_flow.py --config.run-path logs-expert/<run>`."""

from rtc.programs.train_flow import PRESETS, Arguments, main, train

__all__ = ["PRESETS", "Arguments", "train"]

if __name__ == "__main__":
    main()
