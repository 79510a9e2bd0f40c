"""Trains experts with PPO: `python src/train_expert.py --level-paths worlds/l/grasp_easy.json`."""

from rtc.shared import entry

if __name__ == "__main__":
    entry.start("rtc.programs.train_expert")
else:
    from rtc.programs.train_expert import PRESETS, Arguments, train

    __all__ = ["PRESETS", "Arguments", "train"]
