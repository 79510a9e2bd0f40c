"""Every number that README, findings and reports quote is that of the cell or table that holds it (quoting.py)."""

import pytest

from quoting import ROOT, Page, faults, look_up, measured, numbers, paragraphs, read_pages

PAGES = {page.page: page for page in read_pages()}
SETTINGS = "settings, formulas and definitions only"
# Pages whose numbers are compared with no table, and why.
WITHOUT = {
    "docs/advise.md": SETTINGS,
    "docs/concepts.md": SETTINGS,
    "docs/concepts.zh-CN.md": SETTINGS,
    "docs/explorer.md": SETTINGS,
    "docs/glossary.md": SETTINGS,
    "docs/latency-logs.md": SETTINGS,
    "docs/levels.md": SETTINGS,
    "docs/methods.md": SETTINGS,
    "docs/metrics.md": SETTINGS,
    "docs/own-policy.md": SETTINGS,
    "docs/several-answers.md": SETTINGS,
    "docs/quick-start.md": "versions; the times are the last lines of the summaries",
    "docs/quick-start.zh-CN.md": "versions; the times are the last lines of the summaries",
    "docs/libero.md": "recordings with LIBERO, which are not in the repository",
    "docs/libero.zh-CN.md": "recordings with LIBERO, which are not in the repository",
}


@pytest.mark.parametrize("name", PAGES)
def test_quoted_numbers_are_those_of_their_sources(name):
    found = faults(PAGES[name], (ROOT / name).read_text())
    assert not found, "\n".join(found)


@pytest.mark.parametrize("name", [name for name, page in PAGES.items() if page.translation])
def test_both_editions_quote_the_same_numbers(name):
    assert paragraphs(PAGES[name].translation) == paragraphs(name)


def test_every_page_with_measured_numbers_has_its_quotes():
    places = [*ROOT.glob("README*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("exp_runs/*/report*.md")]
    places += ROOT.glob("exp_runs/*/discussion*.md")
    covered = {name for page in PAGES.values() for name in (page.page, page.translation)}
    found = {str(place.relative_to(ROOT)) for place in places if measured(place.read_text())}
    assert found - covered == set(WITHOUT)


@pytest.mark.parametrize("name", PAGES)
def test_patterns_and_sources_are_in_use(name):
    page = PAGES[name]
    used = {
        reference.lstrip("-").split(" | ")[0].partition("#")[0]
        for _, *references in page.quotes
        for part in references
        for reference in part.split(" minus ")
    }
    assert used - {"groups"} == set(page.sources)


TABLE = """# T

| arm | solved | other |
| --- | --- | --- |
| a | 95.04 [93.0, 96.0] | 1 |
| b | 90.0 [89.0, 91.0] | 2 |
"""


@pytest.fixture
def small(tmp_path):
    (tmp_path / "t.md").write_text(TABLE)
    sources = {"t": str(tmp_path / "t.md")}
    return Page("p.md", sources=sources, quotes=[["a solves 95.0 % [93.0, 96.0]", "t | a | solved"]])


def test_a_right_number_passes(small):
    assert not faults(small, "Here a solves\n95.0 % [93.0, 96.0], in code `77.7 %`.")


@pytest.mark.parametrize(
    "text",
    [
        "a solves 95.0 % [93.0, 96.0], and 5.0 more",
        "a solves 95.0 % [93.0, 96.0], and 12 points more",
        "a solves 95.1 % [93.0, 96.0]",
    ],
)
def test_a_number_without_a_source_is_found(small, text):
    assert faults(small, text)


@pytest.mark.parametrize(
    ("quote", "reference"),
    [
        ("95.1 %", "t | a | solved"),
        ("95.0 % [93.0, 96.1]", "t | a | solved"),
        ("95.0 %", "t | b | solved"),
        ("\u221295.0", "t | a | solved"),
        ("5.0", "t | b | solved minus t | a | solved"),
        ("95.0 %", "t | c | solved"),
        ("95.0 %", "t | a | failed"),
        ("95.0 % and 1", "t | a | solved"),
    ],
)
def test_a_wrong_number_is_found(small, quote, reference):
    assert faults(Page("p.md", sources=small.sources, quotes=[[quote, reference]]), quote)


def test_references_subtract_negate_and_multiply(small):
    assert look_up(small.sources, "t | a | solved minus t | b | solved")[0].number == pytest.approx(5.04)
    negated = look_up(small.sources, "-t | b | solved")[0]
    assert (negated.number, negated.low, negated.high) == (-90, -91, -89)
    assert [value.number for value in look_up(small.sources, "t | arm=a | other; solved x100")] == [100, 9504]


def test_numbers_of_a_text():
    assert numbers("1,280 at d = 1, \u22120.5 points [\u22121.1, 0.1] and 12 %") == [
        ("1,280",),
        ("\u22120.5", "\u22121.1", "0.1"),
        ("12",),
    ]
