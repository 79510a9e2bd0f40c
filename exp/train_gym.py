"""Trains policies for Gymnasium's tasks: `python exp/train_gym.py`; see `rtc.programs.train_gym`."""

from program import start

if __name__ == "__main__":
    start("rtc.programs.train_gym")
