"""The built site in headless Chromium: controls, numbers, addresses, widths. Needs the extra docs and Chromium."""

import csv
import functools
import http.server
import importlib.util
import io
import json
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from rtc.programs import stage_site
from rtc.report import leaderboard
from rtc.report.site import episodes, explorer, links, staging
from rtc.study import archive, files
from rtc.study.outcome import Outcome

ROOT = Path(__file__).parents[1]
STUDY = "study_tail_v1_controls"
ARMS = 27  # of that study
NEEDED = ("mkdocs", "material", "mkdocstrings_handlers", "playwright", "vl_convert")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
MISSING = [name for name in NEEDED if importlib.util.find_spec(name) is None]

pytestmark = [
    pytest.mark.browser,
    pytest.mark.long,
    pytest.mark.skipif(bool(MISSING), reason=f"the extra docs is not installed: no {', '.join(MISSING)}"),
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium: apt-get install chromium"),
]


def outcome() -> Outcome:
    found = {}
    for cell, data in archive.read(ROOT / "exp_runs" / STUDY).cells.items():
        found.setdefault((cell.level, cell.profile, cell.method), []).append(data)
    return Outcome(files.read("tail_v1_controls"), {key: tuple(cells) for key, cells in found.items()})


def without_intervals(shown: dict) -> dict:
    """A study called `another` whose differences are 0, without intervals."""
    primary = [[a, b, 0, None, None, None] for a, b, *_ in shown["pairs"][shown["primary"]]]
    pairs = shown["pairs"] | {shown["primary"]: primary}
    return shown | {"name": "another", "title": "Another study", "pairs": pairs}


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Iterator[str]:
    """The address of a site with the explorer of one study, a leaderboard, a report and a page of docs/."""
    build = tmp_path_factory.mktemp("site")
    shown = explorer.data(outcome(), "logs-bc/h8", f"exp_runs/{STUDY}/summary.html")
    generated = stage_site.scripts([shown, without_intervals(shown)], episodes.index(ROOT))
    board = (ROOT / "docs/leaderboard.md").read_text()
    generated["leaderboard.md"] = leaderboard.within(board, ROOT, "tail_v1_controls")
    titles = staging.stage(ROOT, build / "pages", generated)
    kept = {"explorer.md", "leaderboard.md", "index.md", "methods.md", f"exp_runs/{STUDY}/summary.md"}
    for name in set(titles) - kept:
        (build / "pages" / name).unlink()
    for name in kept:  # links to pages that this site leaves out
        path = build / "pages" / name
        path.write_text(links.rewrite(path.read_text(), name, name, {one: one for one in kept}.get))
    config = staging.configure(ROOT, build / "pages", build / "site", {name: titles[name] for name in kept})
    command = [sys.executable, "-m", "mkdocs", "build", "--quiet", "--config-file", str(config)]
    subprocess.run(command, check=True, timeout=600)

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *arguments) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=build / "site"))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    thread.join()


@pytest.fixture(scope="module")
def browser() -> Iterator:
    sync_api = importlib.import_module("playwright.sync_api")
    with sync_api.sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"], timeout=180_000)
        yield started
        started.close()


@pytest.fixture
def page(browser, site) -> Iterator:
    """A page that fails the test for errors on the console and for anything that is fetched from elsewhere."""
    wrong = []
    opened = browser.new_page(viewport={"width": 1400, "height": 900})
    opened.set_default_timeout(120_000)
    opened.on("console", lambda message: wrong.append(message.text) if message.type == "error" else None)
    opened.on("pageerror", lambda error: wrong.append(str(error)))
    opened.on(
        "request", lambda asked: None if asked.url.startswith((site, "data:", "blob:")) else wrong.append(asked.url)
    )
    yield opened
    opened.close()
    assert wrong == []


def opened(page, site: str, address: str = ""):
    page.goto(f"{site}explorer.html{address}")
    return ready(page)


def ready(page):
    page.wait_for_selector("#ed-explorer[data-ready='1']")
    return page


def rows(page) -> list[dict[str, str]]:
    return page.evaluate(
        """() => {
          const heads = [...document.querySelectorAll('.ed-wide th')].map((cell) => cell.textContent);
          return [...document.querySelectorAll('.ed-wide tbody tr')].map((row) =>
            Object.fromEntries([...row.children].map((cell, i) => [heads[i], cell.textContent])));
        }"""
    )


def markdown_table(text: str, first: str, column: str) -> list[dict[str, str]]:
    """The first table of a page whose first column has this heading, and that has another column."""
    lines = text.splitlines()
    start = next(n for n, line in enumerate(lines) if line.startswith(f"| {first} ") and f"| {column} " in line)
    cut = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[start:]]
    heads, found = cut[0], []
    for line, cells in zip(lines[start + 2 :], cut[2:], strict=True):
        if not line.startswith("|"):
            break
        found.append(dict(zip(heads, cells, strict=True)))
    return found


def test_numbers_are_those_of_the_reports_tables(page, site):
    """Values and differences, as the page prints them, against summary.md."""
    summary = (ROOT / f"exp_runs/{STUDY}/summary.md").read_text()
    arms = {row["method"]: row for row in markdown_table(summary, "method", "no_delay")}
    opened(page, site)
    shown = rows(page)
    assert len(shown) == ARMS
    for row in shown:
        assert row["solved (%)"] == arms[f"{row['method']}+{row['policy']}"][row["profile"]]
    differences = {
        row["candidate - reference"]: row for row in markdown_table(summary, "candidate - reference", "difference (pp)")
    }
    compared = 0
    for row in shown:
        name = f"{row['method']}+{row['policy']} - naive+{row['policy']} ({row['profile']})"
        if name in differences:
            assert row["solved (pp) to method naive"] == differences[name]["difference (pp)"]
            compared += 1
    assert compared >= 6


def test_controls_change_what_is_shown_and_the_address_restores_it(page, site):
    opened(page, site)
    page.uncheck("input[name=profiles][value=no_delay]")
    ready(page)
    for policy in ("other", "third"):
        page.uncheck(f"input[name=policies][value={policy}]")
        ready(page)
    page.select_option("select[name=metric]", "rms_ddelta_action")
    ready(page)
    page.select_option("select[name=reference]", "profile:long_tail")
    ready(page)
    shown, address = rows(page), page.evaluate("location.hash")
    assert {row["profile"] for row in shown} == {"long_tail", "tail_controlled"}
    assert {row["policy"] for row in shown} == {"tail_v1"}
    assert all("rms jerk to profile long_tail" in row for row in shown)
    assert page.locator(".ed-chart svg").count() >= 3
    page.goto("about:blank")
    assert rows(opened(page, site, address)) == shown
    page.evaluate("location.hash = '#set=no_such&metric=none&profiles=nowhere'")
    page.wait_for_function("location.hash.includes('returned_episode_solved')")
    assert len(rows(ready(page))) == ARMS


def test_a_difference_without_an_interval_is_shown_without_one_either_way_round(page, site):
    opened(page, site, "#set=another")
    for method in ("naive", "realtime_q80"):
        page.select_option("select[name=reference]", f"method:{method}")
        shown = {row["method"]: row[f"solved (pp) to method {method}"] for row in rows(ready(page))}
        assert shown.pop(method) == ""
        assert set(shown.values()) == {"+0.0"}


def test_of_two_choices_the_later_one_is_shown(page, site):
    held = []
    page.route("**/explorer/another.js", lambda route: held.append(route))
    opened(page, site)
    page.select_option("select[name=set]", "another")
    page.wait_for_function("document.querySelector('script[src=\"explorer/another.js\"]') !== null")
    page.select_option("select[name=set]", STUDY)
    ready(page)
    held[0].continue_()
    page.wait_for_function("window.exp_delta.data.another !== undefined")
    page.wait_for_timeout(100)
    assert ready(page).locator("select[name=set]").input_value() == STUDY
    assert f"set={STUDY}" in page.evaluate("location.hash")


@pytest.mark.parametrize("script", ["index", STUDY])
def test_a_script_that_cannot_be_read_is_said(browser, site, script):
    page = browser.new_page()
    page.route(f"**/explorer/{script}.js", lambda route: route.abort())
    page.goto(f"{site}explorer.html")
    page.wait_for_function("document.querySelector('#ed-explorer').textContent.includes('cannot be read')")
    if script == STUDY:  # another study can still be chosen
        page.select_option("select[name=set]", "another")
        assert rows(ready(page))
    page.close()


def test_the_csv_has_the_numbers_of_the_view(page, site):
    opened(page, site)
    with page.expect_download() as waiting:
        page.click("#ed-csv")
    text = Path(waiting.value.path()).read_text()
    read = list(csv.DictReader(io.StringIO(text)))
    shown = rows(page)
    assert len(read) == len(shown)
    for line, row in zip(read, shown, strict=True):
        assert (line["profile"], line["method"], line["policy"]) == (row["profile"], row["method"], row["policy"])
        value = float(re.match(r"[\d.]+", row["solved (%)"])[0])
        assert abs(100 * float(line["value"]) - value) <= 0.05 + 1e-9
        assert float(line["low"]) <= float(line["value"]) <= float(line["high"])


@pytest.mark.parametrize("width", [390, 1400])
@pytest.mark.parametrize("name", ["explorer", "leaderboard", "index", "methods", f"exp_runs/{STUDY}/summary"])
def test_pages_fit_the_screen(page, site, name, width):
    page.set_viewport_size({"width": width, "height": 900})
    if name == "explorer":
        opened(page, site)
    else:
        page.goto(f"{site}{name}.html")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.locator("h1").count() == 1


def test_the_leaderboard_has_a_row_per_method(page, site):
    page.goto(f"{site}leaderboard.html")
    assert page.locator("table").first.locator("tbody tr").count() == 9


@pytest.mark.skipif(not episodes.index(ROOT), reason="no recorded episodes")
def test_two_videos_of_an_episode_play_together(page, site):
    opened(page, site)
    first = [one for one in episodes.index(ROOT) if one["scene"] == episodes.index(ROOT)[0]["scene"]]
    page.wait_for_function("[...document.querySelectorAll('#ed-episodes video')].every((one) => one.readyState >= 2)")
    assert page.locator("#ed-episodes svg").count() == 2
    assert page.locator("#ed-episodes svg").first.locator("rect").count() > len(first[0]["queries"])
    slider = page.locator("#ed-episodes input[type=range]")
    assert int(slider.get_attribute("max")) == max(len(one["age"]) for one in first[:2])
    slider.evaluate("(one) => { one.value = 7; one.dispatchEvent(new Event('input')); }")
    times = page.evaluate("[...document.querySelectorAll('#ed-episodes video')].map((one) => one.currentTime)")
    assert times[0] == times[1] == pytest.approx(7.5 / first[0]["fps"], abs=0.02)
    page.click("#ed-episodes button")
    page.wait_for_function("Number(document.querySelector('#ed-episodes input[type=range]').value) > 9")
    page.select_option("select[name=side1]", first[0]["method"])
    assert json.loads(page.evaluate("document.querySelector('#ed-episodes input[type=range]').value")) == 0
