"""What a study chooses to show, its figures and its preview, is shown or refused."""

import dataclasses
import types

import pytest

from rtc import report
from rtc.programs import study as study_program
from rtc.report import figures
from rtc.study.arguments import StudyArguments
from rtc.study.evaluation import EvalConfig
from rtc.study.layout import Drawing, Section
from rtc.study.protocols import tail_v1
from rtc.study.study import arm
from test_study import SMALL, study_of


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


@pytest.mark.parametrize(
    ("section", "message"),
    [
        (
            Section("comparisons", profiles=("long_tial",)),
            "section comparisons: profiles entry='long_tial' is unknown; did",
        ),
        (Section("arms", methods=("naiv",)), "section arms: methods entry='naiv' is unknown; did you mean 'naive'"),
        (Section("verdict"), r"judges .* and there is no arm \('tail_controlled', 'realtime'\): add it, or leave the"),
    ],
)
def test_sections_show_arms_that_are_there(section, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(SMALL, sections=(section,))


@pytest.mark.parametrize("kind", ["differences", "outcomes", "seeds"])
def test_sections_of_episodes_have_metrics_of_episodes(kind):
    assert Section(kind, metrics=("rms_ddelta_action",)).metrics
    with pytest.raises(ValueError, match=f"section {kind} has metrics of single episodes: .*='mean_delay' is unknown"):
        Section(kind, metrics=("mean_delay",))


def test_metrics_of_a_section_without_a_choice_are_refused():
    with pytest.raises(ValueError, match=r"sections.metrics=.* has no effect with sections.kind='arms': .*'costs' or"):
        Section("arms", metrics=("mean_delay",))


@pytest.mark.parametrize("kind", ["costs", "metrics"])
def test_metrics_of_tables_are_those_of_the_catalogue_before_any_work(kind, monkeypatch):
    monkeypatch.setattr(study_program.runner, "run", lambda *_, **__: pytest.fail("the work began"))
    report.check(dataclasses.replace(SMALL, sections=(Section(kind, metrics=("mean_delay",)),)))
    study = dataclasses.replace(SMALL, sections=(Section(kind, metrics=("mean_dely",)),))
    with pytest.raises(
        ValueError, match=f"small: section {kind}: metrics entry='mean_dely' .*did you mean 'mean_delay'"
    ):
        study_program.run(study, StudyArguments())


def test_a_figure_or_section_without_an_arm_is_refused():
    arms = arm("no_delay", "naive"), arm("long_tail", "naive"), arm("long_tail", "realtime")
    none = {"profiles": ("no_delay",), "methods": ("realtime",)}
    with pytest.raises(
        ValueError, match=r"figure arms: no arm has one of profiles=\['no_delay'\] and one of methods=\['r"
    ):
        study_of(*arms, figures=(Drawing("arms", **none),))
    with pytest.raises(ValueError, match="section costs: no arm has one of profiles"):
        study_of(*arms, sections=(Section("costs", **none),))


def test_a_figure_of_a_part_does_not_need_the_arms_of_the_sections():
    study = dataclasses.replace(SMALL, sections=(Section("arms", profiles=("no_delay",)),))
    part = figures.part(study, Drawing("arms", profiles=("long_tail",)))
    assert [one.key for one in part.arms] == [("long_tail", "naive")]


def test_tail_v1_has_a_verdict_where_both_of_its_arms_are():
    base = EvalConfig()
    kinds = {
        judged: [section.kind for section in study.sections]
        for judged, study in ((True, tail_v1.study(base)), (False, tail_v1.study(base, methods=("naive",))))
    }
    assert kinds[True] == ["verdict", *kinds[False]]


@pytest.mark.parametrize("section", [Section("seeds"), Section("outcomes", metrics=("rms_ddelta_action",))])
def test_sections_do_not_show_what_is_left_out(section):
    kept = dataclasses.replace(SMALL, sections=(section,))
    with pytest.raises(ValueError, match=f"section {section.kind} shows rms_ddelta_action, which left_out has"):
        dataclasses.replace(kept, left_out=("rms_ddelta_action",))


def test_what_rates_and_costs_need_is_not_left_out():
    with pytest.raises(ValueError, match="left_out entry='num_queries' is unknown"):
        dataclasses.replace(SMALL, left_out=("num_queries",))
    with pytest.raises(ValueError, match="left_out entry='returned_episode_returns' is unknown"):
        dataclasses.replace(SMALL, primary="returned_episode_returns", left_out=("returned_episode_returns",))
