"""What pages share: the answer first, a glossary, names, and the page above all reports."""

import html
import re
from pathlib import Path

import pandas as pd
import pytest
from matplotlib.figure import Figure

from rtc.report import answers, glossary, overview, page, web
from rtc.report.page import Page, Section
from rtc.shared import markup
from rtc.study import files as study_files
from rtc.study.layout import Drawing
from rtc.study.study import Study, arm

ROOT = Path(__file__).parents[1]
REPORT = "# A study\n\n## Question\n\nWhich?\n\n{answer}\n\n## Data\n\n- [results.csv](results.csv)\n"


def test_the_answer_is_the_marked_first_paragraph(tmp_path):
    assert answers.answer(tmp_path, False) is None
    assert answers.discussion(tmp_path, False) == ""
    path = tmp_path / "discussion.md"
    path.write_text("One policy.\n\n**Answer.** Not here.\n")
    assert answers.answer(tmp_path, False) is None  # another paragraph is never taken for it
    assert answers.discussion(tmp_path, False).startswith("One policy.")
    path.write_text("**Answer.** The\nfirst.\n\nOne policy.\n\nMore.\n")
    assert answers.answer(tmp_path, False) == "The\nfirst."
    assert answers.discussion(tmp_path, False) == "One policy.\n\nMore."
    assert answers.answer(tmp_path, True) is None
    (tmp_path / "discussion.zh-CN.md").write_text("**回答。** 第一个。\n")
    assert answers.answer(tmp_path, True) == "第一个。"


def test_only_figures_that_a_page_no_longer_names_go(tmp_path):
    own = tmp_path / "figures"
    own.mkdir()
    for name in ("holiday.png", "other.svg", "preview.mp4"):
        (own / name).write_bytes(b"the user's")
    (tmp_path / "notes.md").write_text("![other](figures/other.png)\n")

    def write(*names, videos=True):
        drawn = {name: Figure() for name in names}
        written = {"en": Page("A page", [Section("Data", [], names)], "here")}
        return page.write(tmp_path, written, drawn, videos=videos).read_text()

    assert "<video" in write("one", "two")
    assert "<video" not in write("two", videos=False)
    left = {path.name for path in own.iterdir()}
    assert left == {"holiday.png", "other.svg", "preview.mp4", "two.png", "two.svg"}


@pytest.mark.parametrize(
    "name",
    [
        "<img src=x>.csv",
        "&lt;b&gt;",
        "</h1><script>a</script>",
        "a`<i>`` <b>x</b>` <u>",
        "`<b>`",
        "<!-- x",
        "a\n# b <b>",
    ],
)
def test_names_never_become_html(name, tmp_path):
    parts = [f"{markup.code(name)}: {' '.join(markup.plain(name).split())}", pd.DataFrame({"label": [name], "n": [1]})]
    path = tmp_path / "page.md"
    path.write_text(Page(f"Advice for {name}", [Section("", parts)], "x").markdown())
    body, _ = web.to_html(path)
    own = {"h1", "p", "code", "table", "thead", "tbody", "tr", "th", "td", "div"}
    assert set(re.findall(r"<(\w+)", body)) <= own
    assert "<!--" not in body
    shown = html.unescape(re.sub("<[^>]*>", "", body))
    words = " ".join(name.replace("`", "").split())
    assert " ".join(shown.replace("`", "").split()).count(words) == 4


def test_comparisons_stay_as_they_are():
    assert markup.plain("p < 0.001 & 3<4, `x<y>`") == "p < 0.001 & 3<4, `x<y>`"
    assert markup.code("a.csv") == "`a.csv`"


def test_a_term_is_explained_where_it_comes_up_first():
    known = set()
    first = glossary.explain("What `long_tail` costs `realtime_linear`.", known, False)
    assert [line.partition(":")[0] for line in first] == ["**long_tail**"]
    assert glossary.explain("Again `long_tail`; see [x](naive/realtime.md).", known, False) == []
    assert glossary.explain("in the margins", known, False)[0].startswith("**margin**")
    assert glossary.explain("长尾延迟", set(), True)[0].startswith("**延迟 d**：")


def test_every_term_is_told_in_both_languages_and_found_by_its_own_name():
    assert len(glossary.terms()) > 20
    for one in glossary.terms():
        assert one.en_text
        assert one.zh_text
        assert one.used(one.term.removesuffix(" d").removesuffix(" s"), chinese=False), one.term
        if one.zh:
            assert one.used(one.zh.removesuffix(" d").removesuffix(" s"), chinese=True), one.term
        assert not one.en_text.endswith(".")
        assert f"**{one.term}**: {one.en_text}." in glossary.page()


def test_the_page_above_the_reports_has_their_questions_and_answers(tmp_path):
    for name, answer in (
        ("one", "**Answer.** The [first](x.md), not the [second](../two/summary.md)."),
        ("two", "No answer has been written yet."),
    ):
        (tmp_path / name).mkdir()
        (tmp_path / name / "summary.md").write_text(REPORT.format(answer=answer))
    (tmp_path / "one/index.html").write_text("a page")
    (tmp_path / "one/episodes.parquet").write_bytes(b"data")
    (tmp_path / "bench.md").write_text("# A measurement\n")
    assert overview.write(tmp_path) == tmp_path / "index.html"
    text = (tmp_path / "README.md").read_text()
    one, two = text.split("### ")[1:]
    assert "[A study](one/summary.md)" in one
    assert "Which?\n\n**Answer.** The [first](one/x.md), not the [second](two/summary.md)." in one
    assert "[page](one/index.html) · [episodes.parquet](one/episodes.parquet)" in one
    assert "Which?\n\nNo answer has been written yet." in two
    assert "- [A measurement](bench.md)" in text
    shown = (tmp_path / "index.html").read_text()
    assert 'href="one/index.html"' in shown  # the page, where there is one
    assert 'href="two/summary.md"' in shown
    assert "全部" not in shown
    with pytest.raises(ValueError, match="holds no reports"):
        overview.write(tmp_path / "one")


def test_the_glossary_of_the_documentation_is_the_reports_own():
    written = (ROOT / "docs/glossary.md").read_text()
    assert glossary.page() in written
    assert glossary.page(chinese=True) in written


def test_the_shipped_list_names_every_report():
    listed = re.findall(r"^### .*\]\((\w+)/summary\.md\)$", (ROOT / "exp_runs/README.md").read_text(), re.MULTILINE)
    folders = [path.parent.name for path in (ROOT / "exp_runs").glob("*/summary.md")]
    assert sorted(listed) == sorted(folders), "python exp/list_reports.py"


def test_a_study_file_chooses_figures_and_preview(tmp_path):
    text = """
        figures = ["arms", {{ kind = "arms", name = "few", profiles = ["{profile}"] }}]
        preview = {preview}
        [profiles.long_tail]
        [methods.naive]
        [methods.realtime]
    """
    path, arms = tmp_path / "study.toml", '[["long_tail", "realtime"], ["long_tail", "naive"]]'
    path.write_text(text.format(profile="long_tail", preview=arms))
    study = study_files.read(path)
    assert study.figures == ("arms", Drawing("arms", name="few", profiles=("long_tail",)))
    assert study.preview == (("long_tail", "realtime"), ("long_tail", "naive"))
    for profile, preview, message in (
        ("burst", arms, "profiles entry='burst'"),
        ("long_tail", '["long_tail"]', "preview=.* must be two arms"),
        ("long_tail", '[["burst", "naive"], ["long_tail", "naive"]]', "preview of study: there is no arm"),
    ):
        path.write_text(text.format(profile=profile, preview=preview))
        with pytest.raises(ValueError, match=message):
            study_files.read(path)


def test_figures_of_one_kind_need_names():
    texts = dict.fromkeys(("title", "title_zh", "question", "question_zh"), "")
    arms = (arm("no_delay", "naive"),)
    with pytest.raises(ValueError, match=r"share a file: \['arms'\]"):
        Study(name="a", arms=arms, figures=("arms", Drawing("arms")), **texts)
