"""What methods see and were trained on, as a column of tables: a comparison is fair among those that have the same."""

from collections.abc import Iterable, Mapping

from rtc import methods
from rtc.methods import Method
from rtc.study.questions import ArmKey
from rtc.study.study import Study

COLUMN = "sees"
NEWEST, SIMULATOR, TOLD, OWN = "newest observation", "simulator", "every delay", "training of its own"
_WEAK = "weak"  # the weak policy of bidirectional decoding is one of the run


def of(method: Method) -> str:
    """What a method has that naive execution has not; "" for nothing."""
    own = set(method.assets()) - {_WEAK}
    trained = method.needs_simulated_delay or method.needs_robot_ahead or bool(own)
    found = {NEWEST: method.sees_newest, SIMULATOR: method.privileged, TOLD: method.knows_delays, OWN: trained}
    return ", ".join(name for name, has in found.items() if has)


def by_arm(study: Study, keys: Iterable[ArmKey]) -> Mapping[ArmKey, str]:
    """What the arms' methods see, where any of them sees more than naive execution; else nothing."""
    configs = {one.key: one.config for one in study.arms if one.decoding is None}
    found = {key: of(methods.make(configs[key].method)) for key in keys if key in configs}
    return found if any(found.values()) else {}


def column(seen: Mapping[ArmKey, str], *keys: ArmKey) -> dict[str, str]:
    """The column of a table's row for some arms; none where `by_arm` found that all see the same."""
    return {COLUMN: " / ".join(dict.fromkeys(seen.get(key, "") for key in keys))} if seen else {}
