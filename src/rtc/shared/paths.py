"""Where world files are, and what a level is called in the names of checkpoints."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
