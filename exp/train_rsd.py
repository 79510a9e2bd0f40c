"""Trains what RSD needs on recorded demonstrations: one tokenizer for all levels, and token policies per level."""

from program import start

if __name__ == "__main__":
    start("rtc.programs.train_rsd")
