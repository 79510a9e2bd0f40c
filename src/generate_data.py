"""Records expert demonstrations: `python src/generate_data.py --config.run-path logs-expert/<run>`."""

from rtc.shared import entry

if __name__ == "__main__":
    entry.start("rtc.programs.generate_data")
else:
    from rtc.programs.generate_data import PRESETS, Arguments, generate

    __all__ = ["PRESETS", "Arguments", "generate"]
