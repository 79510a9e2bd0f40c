"""Trains heads and forward models that go with policies: `python src/train_networks.py --run-path logs-bc/<run>`."""

from rtc.shared import entry

if __name__ == "__main__":
    entry.start("rtc.programs.train_networks")
else:
    from rtc.programs.train_networks import Arguments, train

    __all__ = ["Arguments", "train"]
