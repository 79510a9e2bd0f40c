"""Records expert demonstrations: `python src/generate_data.py --config.run-path logs-expert/<run>`."""

from rtc.programs.generate_data import PRESETS, Arguments, generate, main

__all__ = ["PRESETS", "Arguments", "generate"]

if __name__ == "__main__":
    main()
