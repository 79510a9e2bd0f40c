"""What a study chooses to show, its figures and its preview, is shown or refused."""

import dataclasses
import types

import pytest

from rtc.programs import study as study_program
from rtc.study.layout import Drawing
from test_study import SMALL


def test_families_of_a_figure_are_those_of_the_comparisons():
    compared = (dataclasses.replace(SMALL.comparisons[0], family="tail"),)
    drawn = Drawing("comparisons", families=("tail",))
    assert dataclasses.replace(SMALL, comparisons=compared, figures=(drawn,)).figures == (drawn,)
    with pytest.raises(ValueError, match="families entry='tial'"):
        dataclasses.replace(
            SMALL, comparisons=compared, figures=(dataclasses.replace(drawn, families=("tail", "tial")),)
        )


def test_a_preview_that_cannot_be_shown_is_not_replaced_by_another(capsys):
    row = types.SimpleNamespace(result={"starved_fraction": 0.5})
    whole = {("grasp_easy", *one.key): (row,) for one in SMALL.arms}
    outcome = types.SimpleNamespace(levels=["grasp_easy"], cells=whole)
    named = dataclasses.replace(SMALL, preview=(("long_tail", "naive"),))
    assert study_program.previewed(named, outcome) == (("long_tail", "naive"),)
    assert study_program.previewed(SMALL, outcome) == (("long_tail", "naive"), ("no_delay", "naive"))
    assert capsys.readouterr().out == ""
    part = types.SimpleNamespace(levels=["grasp_easy"], cells={key: whole[key] for key in whole if "no_delay" in key})
    assert study_program.previewed(named, part) == ()
    assert "no preview: small names naive under long_tail" in capsys.readouterr().out
    assert study_program.previewed(SMALL, part) == [("no_delay", "naive")]
