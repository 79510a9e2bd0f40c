"""Learning curves of experts and of cloning."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from rtc.policies.checkpoints import level_slug
from rtc.report.figures import palette, style
from rtc.training import progress


def expert_curves(run: Path, levels: Sequence[str]) -> Figure:
    """Solve rate of every expert of a run during training, one panel per level; given-up seeds in grey."""
    with matplotlib.rc_context(style.STYLE):
        height = 1.2 + 1.7 * -(-len(levels) // style.LEVELS_PER_ROW)
        figure = Figure(figsize=(10, height), layout="constrained")
        for ax, level in style.solve_rate_panels(figure, levels):
            for path in sorted((run / "stats").glob(f"{level_slug(level)}_seed_*.csv")):
                table = pd.DataFrame(progress.read_rows(path))
                smooth = table["solve_rate"].rolling(8, min_periods=1).mean()
                kept = any(run.glob(f"[0-9]*/policies/{path.stem}.safetensors"))
                color = palette.BLUE if kept else palette.LIGHT
                ax.plot(table["env_steps"] / 1e6, 100 * smooth, color=color, linewidth=1.0, zorder=2 if kept else 1)
        figure.supxlabel("environment steps (millions)", fontsize=9)
        figure.supylabel("episodes solved (%), mean of 8 updates", fontsize=9)
    return figure


def cloning_curves(runs: Sequence[Path], levels: Sequence[str]) -> Figure:
    """Flow-matching loss by epoch, one panel per run and a line per level."""
    with matplotlib.rc_context(style.STYLE):
        figure, axes = style.subplots(1, len(runs), (1 + 3.2 * len(runs), 3.2))
        for ax, run in zip(axes[0], runs, strict=True):
            for number, level in enumerate(levels):
                rows = progress.read_rows(run / "stats" / f"{level_slug(level)}.csv")
                if rows:
                    shade = matplotlib.colormaps["viridis"](number / max(1, len(levels) - 1))
                    epochs = np.arange(1, len(rows) + 1)
                    ax.plot(epochs, [r["loss"] for r in rows], color=shade, linewidth=1.0, label=level)
            ax.set_title(run.name)
            ax.set_xlabel("epoch")
        figure.axes[0].set_ylabel("flow-matching loss")
        figure.legend(*figure.axes[-1].get_legend_handles_labels(), loc="outside right center", frameon=False)
    return figure
