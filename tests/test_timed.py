"""Groups of arms one after the other, as long as there is time, and levels side by side."""

import contextlib
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

from rtc.study import timed
from rtc.study.arguments import StudyArguments
from rtc.study.evaluation import NonFiniteError


def test_time_is_kept(monkeypatch):
    clock, computed = [0.0], []

    def run_cells(cells, overwrite, done):
        computed.append(cells)
        clock[0] += 4.0

    monkeypatch.setattr(timed.time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(timed.runner, "run_cells", run_cells)
    monkeypatch.setattr(timed, "_planned", lambda study, args, arms: list(arms))
    groups = {"a": ["1"], "there": [], "b": ["2"], "c": ["3"]}
    args = StudyArguments()
    assert timed.run(None, args, groups, 10.0, 1) == timed.Rest(["c"])
    assert computed == [["1"], ["2"]]
    assert timed.run(None, args, groups, 0.0) == timed.Rest(["a", "b", "c"])


def test_levels_are_computed_side_by_side(monkeypatch):
    """With threads in place of processes."""
    cells = [SimpleNamespace(cell=SimpleNamespace(level=level)) for level in ("a", "a", "b")]
    computed, told = [], []

    def one_level(study, args, level, arms):
        if "breaks" in arms:
            raise NonFiniteError(f"nothing finite on {level}")
        computed.append((level, arms))
        return sum(cell.cell.level == level for cell in cells)

    class Bar(contextlib.nullcontext):
        disable = False

        def __enter__(self):
            return self

        def set_description(self, name):
            told.append(name)

        def update(self, number):
            told.append(number)

    monkeypatch.setattr(timed.launchers, "pool", ThreadPoolExecutor)
    monkeypatch.setattr(timed, "_one_level", one_level)
    monkeypatch.setattr(timed, "_planned", lambda study, args, arms: cells if arms else [])
    monkeypatch.setattr(timed, "_bar", lambda total: Bar())
    groups = {"first": ["x", "y"], "broken": ["breaks"], "there": [], "last": ["z"]}
    rest = timed.run(None, StudyArguments(levels=("a", "b")), groups, 60.0, 2)
    assert list(rest.broken) == ["broken"]
    assert rest.late == []
    assert sorted(computed) == [("a", ("x", "y")), ("a", ("z",)), ("b", ("x", "y")), ("b", ("z",))]
    assert told[0] == "first"
    assert sorted(told[1:3]) == [1, 2]
    assert told[3:5] == ["broken", "last"]
