"""Trains what RSD needs on recorded demonstrations: one tokenizer for all levels, and token policies per level."""

from rtc.programs.train_rsd import Arguments, main, train

__all__ = ["Arguments", "train"]

if __name__ == "__main__":
    main()
