"""The program that measures how often intervals err, at its smallest."""

from pathlib import Path

import pytest

from rtc.programs import check_statistics
from rtc.programs.check_statistics import Arguments

ROOT = Path(__file__).parents[1]
SMALL = {"rates": (0.5, 0.9, 0.95), "episodes": (16, 24), "replications": 40, "bootstraps": 2, "resamples": 100}


def test_the_page_has_all_tables_and_can_be_made_again(tmp_path, capsys):
    args = Arguments(**SMALL, results=ROOT / "exp_runs", output=tmp_path / "page.md")
    texts = []
    for _ in range(2):
        check_statistics.run(args)
        texts.append(args.output.read_text().rpartition("Made by")[0])
    assert texts[0] == texts[1]
    assert capsys.readouterr().out.endswith(f"open first: {args.output}\n")
    headings = [line for line in texts[0].splitlines() if line.startswith("## ")]
    assert len(headings) == 8
    assert "nan" not in texts[0]
    # The paired difference that tail_v1/summary.md gives as +3.7 of 1280 pairs.
    (row,) = (
        line for line in texts[0].splitlines() if line.startswith("| tail_v1/tail_controlled/naive - tail_v1/long")
    )
    _, pairs, rates, gains, losses, *_ = (cell.strip() for cell in row.strip("|").split("|"))
    assert (pairs, rates) == ("1280", "98.7 - 95.0")
    assert 100 * (int(gains) - int(losses)) / int(pairs) == pytest.approx(3.7, abs=0.05)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"rates": (0.5, 0.9)}, "rates="),
        ({"rates": (0.9, 0.5, 0.95)}, "from low to high"),
        ({"rates": (0.5, 0.9, 1.0)}, "rates=1.0"),
        ({"episodes": (16,)}, "episodes="),
        ({"replications": 3}, "replications=3"),
    ],
)
def test_arguments_that_are_refused(change, match):
    with pytest.raises(ValueError, match=match):
        Arguments(**(SMALL | change))
