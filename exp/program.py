"""Starts programs of this checkout, also in a Python where the package is not installed: it then says what to do."""

import sys
from pathlib import Path

sys.path.insert(1, str(Path(__file__).resolve().parents[1] / "src"))

from rtc.shared.entry import start

__all__ = ["start"]
