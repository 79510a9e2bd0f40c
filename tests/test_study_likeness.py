"""A study file may say only how it differs from another one beside it."""

import pytest

from rtc.study import files

FIRST = """
title = "The first"
preregistered = true
question = "What of it?"
num_evals = 64
seeds = [0, 1]
levels = ["grasp_easy"]
[axes]
d = [1, 2]
s = [1, 4]
[profiles."d{d}"]
for = ["d"]
mode = "fixed"
fixed_delay = "{d}"
[defaults]
execution = { execute_horizon = 2 }
[methods."naive+s{s}"]
for = ["s"]
method = "naive"
execution = { execute_horizon = "{s}" }
"""


@pytest.fixture
def read(tmp_path):
    def of(**texts):
        for name, text in texts.items():
            (tmp_path / f"{name}.toml").write_text(text)
        return files.read(tmp_path / f"{name}.toml")

    return of


def test_what_a_file_lacks_is_the_other_ones(read):
    study = read(first=FIRST, second='like = "first"\nseeds = [2]\n[axes]\nd = [3]\n')
    assert (study.num_evals, study.seeds, study.levels) == (64, (2,), ("grasp_easy",))
    assert [one.key for one in study.arms] == [("d3", "naive+s1"), ("d3", "naive+s4")]
    assert [one.config.execution.execute_horizon for one in study.arms] == [1, 4]
    assert (study.name, study.title, study.question, study.preregistered) == ("second", "second", "", False)


def test_likeness_goes_on(read):
    study = read(first=FIRST, second='like = "first"\n[axes]\nd = [3]\n', third='like = "second"\n[axes]\ns = [8]\n')
    assert [one.key for one in study.arms] == [("d3", "naive+s8")]


def test_tables_are_taken_or_replaced_as_a_whole(read):
    study = read(first=FIRST, second='like = "first"\n[methods.naive]\n')
    assert [one.method for one in study.arms] == ["naive", "naive"]
    assert {one.config.execution.execute_horizon for one in study.arms} == {2}


@pytest.mark.parametrize(
    ("like", "message"),
    [
        ('"frist"', "like='frist' is not there: .*frist.toml; name another study of the same folder"),
        ('"second"', "like='second' is made from this one"),
        ('"third"', "like='second' is made from this one"),
        ("3", "like=3 has the type int; it must be a text"),
    ],
)
def test_a_likeness_to_nothing_is_refused(read, like, message):
    with pytest.raises(ValueError, match=message):
        read(first=FIRST, third='like = "second"\n', second=f"like = {like}\n")
