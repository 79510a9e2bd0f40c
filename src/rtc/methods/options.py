"""Options of execution methods."""

import dataclasses
from dataclasses import dataclass

from rtc.shared.validation import require_float, require_int


@dataclass(frozen=True)
class MethodOptions:
    """Numbers of the methods. None, the default, leaves a number to the method; one that it does not read is an error.

    Attributes:
        noise_scale: standard deviation of the flow's initial noise; 1 by default.
        max_guidance_weight: bound on RTC's guidance weight; 5 by default.
        bid_num_samples: chunks that BID draws per query; 16 by default.
        bid_k: chunks per policy that BID's forward contrast compares with; 3 by default.
        ensemble_decay: how much less the k-th chunk counts in a temporal ensemble: exp(-ensemble_decay * k); 0.01 by
            default.
        own: options, by name, of a method that is registered from outside.
    """

    noise_scale: float | None = None
    max_guidance_weight: float | None = None
    bid_num_samples: int | None = None
    bid_k: int | None = None
    ensemble_decay: float | None = None
    own: tuple[tuple[str, float], ...] = ()

    def __post_init__(self):
        for name in ("noise_scale", "max_guidance_weight", "ensemble_decay"):
            if getattr(self, name) is not None:
                require_float(name, getattr(self, name), low=0.0)
        for name in ("bid_num_samples", "bid_k"):
            if getattr(self, name) is not None:
                require_int(name, getattr(self, name), low=1)
        if twice := [name for name, _ in self.own if name in NAMES or [other for other, _ in self.own].count(name) > 1]:
            raise ValueError(f"own={self.own!r} gives {twice[0]!r} a second time: give it once")

    def given(self) -> dict[str, float]:
        """The options that were given, by name."""
        fields = {name: getattr(self, name) for name in NAMES if getattr(self, name) is not None}
        return fields | dict(self.own)


NAMES = tuple(field.name for field in dataclasses.fields(MethodOptions) if field.name != "own")
