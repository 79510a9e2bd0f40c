"""Trains the token policies of a world; see `rtc.programs.train_tokens`."""

from program import start

if __name__ == "__main__":
    start("rtc.programs.train_tokens")
