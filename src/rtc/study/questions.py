"""What a study asks of its arms: differences, how they depend on factors, and what training seeds have in common."""

import dataclasses
import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from rtc.shared.validation import require_choice

# An arm's profile and method.
ArmKey = tuple[str, str]


@dataclass(frozen=True)
class Comparison:
    """A difference that the study was made to measure: candidate minus reference, each a (profile, method).

    Attributes:
        less: another difference that is subtracted, to ask whether two differences are equal.
        family: p values are corrected for the number of comparisons that share it.
    """

    candidate: ArmKey
    reference: ArmKey
    less: "Comparison | None" = None
    family: str = ""

    @property
    def arms(self) -> tuple[ArmKey, ...]:
        """All arms that it needs."""
        return self.candidate, self.reference, *(self.less.arms if self.less else ())

    @property
    def bound(self) -> int:
        """How far from 0 the difference of an episode's shares can be: 1, and 1 more for every difference taken off."""
        return 1 + (self.less.bound if self.less else 0)

    def __str__(self) -> str:
        if self.less:
            return f"[{dataclasses.replace(self, less=None)}] - [{self.less}]"
        (profile, method), (other_profile, other_method) = self.candidate, self.reference
        if profile == other_profile:
            return f"{method} - {other_method} ({profile})"
        if method == other_method:
            return f"{profile} - {other_profile} ({method})"
        return f"{method} ({profile}) - {other_method} ({other_profile})"


@dataclass(frozen=True)
class Effects:
    """How a difference depends on factors that were varied together, each between two settings.

    Attributes:
        name: of the difference.
        profile: under which it is measured.
        factors: their names.
        points: the factors' settings and the difference measured with them, one per combination that was tried.
        interactions: pairs of factors whose interaction is wanted; a design with part of the combinations may not tell
            it from others.

    Raises:
        ValueError: a factor has not two settings, one that an interaction names is none, or the combinations do not
            tell two effects apart.
    """

    name: str
    profile: str
    factors: tuple[str, ...]
    points: tuple[tuple[tuple[str, ...], Comparison], ...]
    interactions: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        for number, factor in enumerate(self.factors):
            settings = list(dict.fromkeys(settings[number] for settings, _ in self.points))
            if len(settings) != 2:
                raise ValueError(f"effects of {self.name!r}: factor {factor} needs two settings and has {settings}")
        for pair in self.interactions:
            for factor in pair:
                require_choice(f"effects of {self.name!r}: interactions entry", factor, self.factors)
        self._require_apart()

    def _require_apart(self) -> None:
        signs = self.signs()
        for (name, one), (other_name, other) in itertools.combinations(
            [("mean", np.ones(len(self.points))), *signs], 2
        ):
            if one @ other:
                raise ValueError(
                    f"effects of {self.name!r}: the combinations do not tell {other_name!r} from {name!r}: leave one "
                    "out, or add combinations"
                )

    def signs(self) -> list[tuple[str, Float[np.ndarray, " p"]]]:
        """By main effect and interaction, 1 for the points that it takes and -1 for those that it takes them against.

        A factor's first setting is the one that appears first. An interaction takes the points where both factors have
        their first or both their second setting.
        """
        names, found = [], {}
        for number, factor in enumerate(self.factors):
            column = [settings[number] for settings, _ in self.points]
            first, second = dict.fromkeys(column)
            names.append(f"{factor}: {second} - {first}")
            found[factor] = np.where([setting == first for setting in column], -1.0, 1.0)
        pairs = [(f"{one} x {other}", found[one] * found[other]) for one, other in self.interactions]
        return [*zip(names, found.values(), strict=True), *pairs]

    def aliases(self) -> list[tuple[str, str]]:
        """Interactions of two factors that these combinations do not tell from ones that are asked for."""
        signs, number = self.signs(), len(self.factors)
        columns = {factor: sign for factor, (_, sign) in zip(self.factors, signs[:number], strict=True)}
        return [
            (name, f"{one} x {other}")
            for pair, (name, sign) in zip(self.interactions, signs[number:], strict=True)
            for one, other in itertools.combinations(self.factors, 2)
            if {one, other} != set(pair) and abs(columns[one] * columns[other] @ sign) == len(self.points)
        ]

    @property
    def arms(self) -> tuple[ArmKey, ...]:
        """All arms that it needs."""
        return tuple(key for _, comparison in self.points for key in comparison.arms)


@dataclass(frozen=True)
class Aggregate:
    """What arms that differ in nothing but their policies' training seed reach together, or differ by from others.

    Attributes:
        name: of the arm or of the difference.
        profile: under which it is measured.
        runs: per training seed the candidate, and the reference, or None where the candidate's own values are wanted.

    Raises:
        ValueError: there is one training seed only, or an arm stands for two, or some have a reference and some not.
    """

    name: str
    profile: str
    runs: tuple[tuple[ArmKey, ArmKey | None], ...]

    def __post_init__(self) -> None:
        where = f"aggregate {self.name!r} under {self.profile!r}"
        candidates = [candidate for candidate, _ in self.runs]
        if len(set(candidates)) < max(2, len(candidates)):
            raise ValueError(f"{where}: {candidates} must be at least two arms, one per training seed")
        if len(set(self.arms)) < len(self.arms):
            twice = sorted({key for key in self.arms if self.arms.count(key) > 1})
            raise ValueError(f"{where}: {twice} stand for several training seeds; name the seed in the reference, too")
        if len({reference is None for _, reference in self.runs}) > 1:
            raise ValueError(f"{where}: give every training seed a reference, or none")

    @property
    def arms(self) -> tuple[ArmKey, ...]:
        """All arms that it needs."""
        return tuple(key for run in self.runs for key in run if key is not None)


def versus(candidates: Sequence[str], reference: str, profiles: Sequence[str]) -> tuple[Comparison, ...]:
    """Each candidate method against one reference method, under every profile."""
    return tuple(Comparison((p, m), (p, reference)) for p in profiles for m in candidates if m != reference)
