"""Trains experts with PPO: `python src/train_expert.py --level-paths worlds/l/grasp_easy.json`."""

from rtc.programs.train_expert import PRESETS, Arguments, main, train

__all__ = ["PRESETS", "Arguments", "train"]

if __name__ == "__main__":
    main()
