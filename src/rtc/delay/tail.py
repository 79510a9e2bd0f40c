"""What is done about the tail of a delay.

The order: `drop_spike_prob` acts on single draws, `hedge` takes the fastest of several, `tail_cap` and `anytime` bound
what comes out, and `deadline` gives up what is still too late.
"""

from dataclasses import dataclass
from typing import Any

from rtc.delay.laws import MAX_TICKS, SPIKING_MODES, Law, Spiking, make_float, values
from rtc.shared.validation import require_float, require_int

MAX_HEDGE = 64


@dataclass(frozen=True)
class TailControl:
    """What is done about long delays.

    Attributes:
        tail_cap: upper bound put on every delay (ideal tail control, at no cost); None leaves the tail alone.
        drop_spike_prob: probability that a spike is replaced by a draw from the base distribution.
        hedge: every query is sent that many times and the first answer counts; costs as many times the inference.
        deadline: a query that has not returned after this many ticks is abandoned and launched anew on the current
            observation; an abandoned query costs as much as any other. None waits.
        anytime: a query returns after this many ticks at the latest, with as many flow steps as there was time for.
    """

    tail_cap: int | None = None
    drop_spike_prob: float = 0.0
    hedge: int = 1
    deadline: int | None = None
    anytime: int | None = None

    def __post_init__(self):
        for name, low in (("tail_cap", 0), ("anytime", 0), ("deadline", 1)):
            if getattr(self, name) is not None:
                require_int(name, getattr(self, name), low=low, high=MAX_TICKS)
        require_int("hedge", self.hedge, low=1, high=MAX_HEDGE)
        require_float("drop_spike_prob", self.drop_spike_prob, low=0.0, high=1.0)
        make_float(self, "drop_spike_prob")

    def bounded(self, delay: int) -> int:
        """A delay after `tail_cap` and `anytime`, in ticks."""
        return min([delay, *(bound for bound in (self.tail_cap, self.anytime) if bound is not None)])

    def check(self, law: Law) -> None:
        """Raises ValueError where a control cannot act on the law, or no query would ever return."""
        if self.drop_spike_prob > 0 and not isinstance(law, Spiking):
            raise ValueError(
                f"drop_spike_prob={self.drop_spike_prob} has no effect with mode={law.mode!r}: only modes "
                f"{', '.join(SPIKING_MODES)} have spikes, so leave it out"
            )
        if self.deadline is None:
            return
        smallest = self.bounded(law.smallest(self.drop_spike_prob))
        if smallest > self.deadline:
            raise ValueError(
                f"deadline={self.deadline} is below the smallest delay of this {law.mode!r} profile, {smallest} ticks: "
                f"no query would ever return; set deadline to at least {smallest}, or bound the delay by tail_cap or "
                "anytime"
            )

    def identity(self) -> dict[str, Any]:
        """The controls that are on, as plain data."""
        off = values(TailControl())
        return {name: value for name, value in values(self).items() if value != off.get(name)}
