"""One episode tick by tick: what the timeline figure draws and the preview video replays."""

import dataclasses
import io

import numpy as np
from jaxtyping import Bool, Float, Int

from rtc.shared.files import PathLike


@dataclasses.dataclass(frozen=True)
class EpisodeTrace:
    """What happened at each control tick of one episode; all arrays have T entries.

    Attributes:
        query: a query was launched at this tick.
        delay: delay of that query, in ticks; -1 where none was launched.
        planned_delay: the delay that the estimator expected for it; -1 where none was launched.
        length_executed: ticks until the next query, L_k; -1 where none was launched.
        age: ticks since the observation behind the executed action; -1 where the tick was starved.
        action: commanded action, before noise.
        horizon: chunk size H, in ticks.
        seed: seed of the evaluation.
        episode: number of the episode.
        description: what the episode is, for the title.
    """

    query: Bool[np.ndarray, " t"]
    delay: Int[np.ndarray, " t"]
    planned_delay: Int[np.ndarray, " t"]
    length_executed: Int[np.ndarray, " t"]
    age: Int[np.ndarray, " t"]
    action: Float[np.ndarray, "t a"]
    horizon: int
    seed: int = 0
    episode: int = 0
    description: str = ""

    def __post_init__(self) -> None:
        ticks = len(self.query)
        for field in ("delay", "planned_delay", "length_executed", "age", "action"):
            if len(getattr(self, field)) != ticks:
                raise ValueError(f"{field} has {len(getattr(self, field))} ticks, query has {ticks}; use one length")
        if self.horizon < 1:
            raise ValueError(f"horizon={self.horizon} is not a chunk size; use 1 or more ticks")


def to_bytes(trace: EpisodeTrace) -> bytes:
    """A trace as the content of an .npz file, one array per field."""
    content = io.BytesIO()
    np.savez_compressed(content, **dataclasses.asdict(trace))
    return content.getvalue()


def load_trace(path: PathLike) -> EpisodeTrace:
    """Reads an .npz file whose content came from `to_bytes`.

    Raises:
        ValueError: an array is missing or has another length than the others.
    """
    with np.load(path, allow_pickle=False) as arrays:
        names = [field.name for field in dataclasses.fields(EpisodeTrace)]
        missing = [name for name in names if name not in arrays]
        if missing:
            raise ValueError(f"{path} lacks {', '.join(missing)}; it is no trace of this version")
        values = {name: arrays[name] for name in names}
    scalars = {name: value.item() for name, value in values.items() if value.ndim == 0}
    return EpisodeTrace(**values | scalars)
