"""From measured delays to a trace of the delay law `trace`, which replays it."""

import numpy as np
import pandas as pd
from jaxtyping import Float

from rtc.delay.traces import COLUMN


def trace_table(latency_ms: Float[np.ndarray, " n"]) -> pd.DataFrame:
    """What a profile of mode `trace` reads: a row per query, in their order, in ms. Ticks are counted when it runs."""
    return pd.DataFrame({"query": range(len(latency_ms)), COLUMN: latency_ms})
