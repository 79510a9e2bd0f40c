"""Two checkouts measured in turn."""

from pathlib import Path

import pytest

from rtc.bench import alternation
from rtc.programs import bench_physics, bench_tail_v1
from rtc.shared import commands


def test_numbers_of_tables():
    text = "# Title\n\n| level | a (s) | what |\n| ----- | ----: | ---- |\n| x | 1.5 | slow |\n| y | 2 | fast |\n"
    text += "\ntext | 3 |\n"
    text += "\n| method | a (s) |\n|--|--|\n| z | 4 |\n"
    assert alternation.numbers(text) == {("x", "a (s)"): 1.5, ("y", "a (s)"): 2.0, ("z", "a (s)"): 4.0}


def test_checkouts_take_turns_and_common_numbers_are_compared():
    order = []

    def bench(name, value):
        def run():
            order.append(name)
            return {("x", "a"): value * len(order), ("x", name): 1.0}

        return run

    table = alternation.ratios({"here": bench("here", 1.0), "other": bench("other", 2.0)}, 2)
    assert order == ["here", "other", "other", "here"]
    (row,) = table.to_dict("records")
    assert (row["row"], row["column"]) == ("x", "a")
    assert (row["here"], row["other"]) == (2.5, 5.0)  # medians of 1, 4 and of 4, 6
    assert row["here / other"] == 0.5


def test_the_other_checkout_gets_the_same_flags():
    args = bench_tail_v1.Arguments(methods=("naive", "bid"), matrix=False, ticks=8, against=Path("old"), rounds=3)
    found = commands.flags(args, skip=("against", "rounds", "output"))
    assert found == ["--methods", "naive", "bid", "--ticks", "8", "--no-matrix"]
    assert commands.flags(bench_physics.Arguments(), skip=()) == []


def test_a_folder_that_is_no_checkout(tmp_path):
    with pytest.raises(ValueError, match=r"there is no .*bench_physics.py; name the root of a checkout"):
        bench_physics.run(bench_physics.Arguments(against=tmp_path, output=tmp_path / "out.md"))
