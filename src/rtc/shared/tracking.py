"""Weights & Biases, for those who ask for it: runs, tables and figures. It is off unless a flag says so.

WANDB_MODE decides where it goes: `online`, or `offline` for a folder that can be synchronised later; `disabled` where
the variable is unset.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from rtc.shared.entry import how_to_install


def start(name: str, config: Mapping[str, Any]) -> Any:
    """A run of the project exp-delta.

    Raises:
        ValueError: wandb is not installed.
    """
    os.environ.setdefault("WANDB_MODE", "disabled")
    try:
        import wandb  # here: an optional dependency
    except ImportError as error:
        raise ValueError(f"wandb=True needs it: {how_to_install('wandb')}, or leave wandb off") from error
    return wandb.init(project="exp-delta", name=name, config=dict(config))


def log_report(name: str, config: Mapping[str, Any], tables: Mapping[str, pd.DataFrame], root: Path) -> None:
    """Logs a finished report: its configuration, tables, figures and videos.

    Args:
        root: folder of the report; figures are root/figures/*.png, videos root/**/preview*.mp4.

    Raises:
        ValueError: wandb is not installed.
    """
    run = start(name, config)
    import wandb

    logged: dict[str, Any] = {key: wandb.Table(dataframe=table.astype(object)) for key, table in tables.items()}
    logged |= {path.stem: wandb.Image(str(path)) for path in sorted((root / "figures").glob("*.png"))}
    logged |= {path.stem: wandb.Video(str(path), format="mp4") for path in sorted(root.glob("**/preview*.mp4"))}
    run.log(logged)
    run.finish()
