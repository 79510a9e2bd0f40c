"""The catalogue of metrics: complete, printed alike everywhere, and what docs/metrics.md is made of."""

from pathlib import Path

import pytest

from rtc.report import catalogue, metrics_page
from rtc.report.catalogue import EPISODE
from rtc.study.statistics import Interval

ROOT = Path(__file__).parents[1]


def test_the_page_of_metrics_is_made_from_the_catalogue():
    fix = "python -m rtc.report.metrics_page > docs/metrics.md"
    assert (ROOT / "docs/metrics.md").read_text() == metrics_page.page() + "\n", fix


def test_an_unknown_metric_is_refused_with_a_suggestion():
    with pytest.raises(ValueError, match="did you mean 'mean_delay'"):
        catalogue.metric("mean_delays")


def test_how_numbers_are_printed():
    solved, mean = catalogue.PRIMARY, catalogue.metric("mean_delay")
    assert (solved.heading, solved.difference_heading) == ("solved (%)", "solved (pp)")
    assert (mean.heading, mean.axis) == ("mean d (ticks)", "mean d (ticks)")
    assert solved.interval(Interval(0.5, 0.25, 0.75)) == "50.0 [25.0, 75.0]"
    assert solved.interval(Interval(0.5, -0.25, 0.75), signed=True) == "+50.0 [-25.0, +75.0]"
    assert mean.show(float("nan")) == "n/a"
    assert mean.spread(Interval(1.0, 0.5, 1.5), 0.25) == "1.00 ± 0.25 [0.50, 1.50]"
    assert mean.spread(Interval(1.0, 0.5, 1.5), float("nan")) == "1.00 [0.50, 1.50]"


def test_labels_are_distinct():
    labels = [one.label for one in catalogue.METRICS.values()]
    assert len(set(labels)) == len(labels)
    assert {one.better for one in catalogue.METRICS.values()} <= {"higher", "lower", ""}
    assert sum(one.per == EPISODE for one in catalogue.METRICS.values()) == 6
