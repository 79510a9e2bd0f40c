"""Pages in headless Chromium: nothing is wider than the screen, links lead somewhere, figures can be read."""

import shutil
from pathlib import Path
from urllib.parse import unquote

import pytest

from rtc.report.figures import style
from rtc.report.web import STYLE

sync_api = pytest.importorskip("playwright.sync_api", reason="needs Playwright: pip install playwright")
ROOT = Path(__file__).parents[1]
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
# Reports that were written since pages have contents; all others are made again with their cells.
FOLDERS = ("tail_v1", "study_recipe", "study_tail_v1_controls", "study_gymnasium", ".")
PAGES = [path for folder in FOLDERS for path in sorted((ROOT / "exp_runs" / folder).glob("index*.html"))]
LEAST_TEXT = 9.0  # pixels, of a figure's labels on a telephone

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium: apt-get install chromium"),
]
WIDER = """() => [...document.querySelectorAll("body *")]
    .filter(one => !one.parentElement.closest(".wide") && one.getBoundingClientRect().right > innerWidth + 0.5)
    .map(one => one.tagName + " " + one.textContent.slice(0, 40))"""


@pytest.fixture(scope="module")
def browser():
    with sync_api.sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield found
        found.close()


@pytest.fixture
def show(browser):
    """Opens a page at a width, offline."""
    contexts = []

    def opened(path, width):
        contexts.append(browser.new_context(viewport={"width": width, "height": 900}, offline=True))
        page = contexts[-1].new_page()
        page.goto(path.resolve().as_uri())
        return page

    yield opened
    for one in contexts:
        one.close()


@pytest.mark.parametrize("width", [390, 1400])
@pytest.mark.parametrize("path", PAGES, ids=lambda path: f"{path.parent.name}-{path.name}")
def test_nothing_is_wider_than_the_screen(show, path, width):
    page = show(path, width)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate(WIDER) == []
    anchors = page.evaluate("[...document.querySelectorAll('.contents a')].map(one => one.hash.slice(1))")
    assert len(anchors) >= 2
    assert all(
        page.evaluate("name => document.getElementById(decodeURIComponent(name)) !== null", one) for one in anchors
    )
    for target in page.evaluate("[...document.querySelectorAll('a')].map(one => one.href.split('#')[0])"):
        assert target.startswith("https:") or Path(unquote(target).removeprefix("file://")).exists(), target
    broken = "[...document.images].filter(one => !one.complete || one.naturalWidth === 0).length"
    assert page.evaluate(broken) == 0


def test_a_wide_table_scrolls_in_its_box_and_is_found_to_be_wide_without_it(show, tmp_path):
    cells = "".join(f"<td>column_{number}</td>" for number in range(40))
    box = f'<div class="wide"><table><tr>{cells}</tr></table></div>'
    for name, style_of, fits in (("boxed", STYLE, True), ("plain", "", False)):
        path = tmp_path / f"{name}.html"
        path.write_text(f"<!doctype html><style>{style_of}</style><body><main>{box}</main></body>")
        page = show(path, 390)
        assert (page.evaluate("document.documentElement.scrollWidth") <= 390) == fits


def test_figures_can_be_read_on_a_telephone(show):
    page = show(ROOT / "exp_runs/study_tail_v1_controls/index.html", 390)
    widths = page.evaluate("[...document.images].map(one => one.getBoundingClientRect().width)")
    assert widths
    points = style.STYLE["font.size"]
    assert min(widths) / (72 * style.WIDTH) * points >= LEAST_TEXT
