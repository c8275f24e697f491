"""The HTML report: one file, every state, the report's numbers, and nobody's markup but its own."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import databases
import pytest
from states import HOSTILE, STATES, make

from autorl.ledger.reader import Reader
from autorl.report.findings import Findings, gather
from autorl.report.html import page
from autorl.report.sentences import headline_lines, sentences

VOID = {"meta", "br", "link", "img", "input", "hr", "use", "path", "rect", "circle", "line"}


class Page(HTMLParser):
    """Collects a page's text, its links, and elements that are not closed."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.text, self.links, self.open, self.tags = "", list[str](), list[str](), list[str]()
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [value or "" for name, value in attrs if name in ("href", "src")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [value or "" for name, value in attrs if name in ("href", "src")]

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def report(state: str, folder: Path, *overrides: str) -> tuple[Findings, str]:
    spec = make(state, folder, *overrides)
    with Reader(spec.storage) as reader:
        found = gather(reader, spec.study)
        return found, page(found, reader)


@pytest.mark.parametrize("state", STATES)
def test_every_state_is_a_whole_page_that_needs_nothing_else(state: str, tmp_path: Path) -> None:
    found, html = report(state, tmp_path)
    shown = Page(html)
    assert shown.open == []
    assert "script" not in shown.tags
    assert all(link.startswith("#") for link in shown.links)
    assert not re.search(r"@import|url\((?!#)", html)
    for sentence in sentences(found):
        assert sentence.replace("`", "") in shown.text
    assert html.count("<figure") == html.count("<figcaption") == 4
    assert html.count('role="img"') == html.count("<svg")


def test_a_paused_study_says_why_and_what_recovered(tmp_path: Path) -> None:
    _, html = report("paused", tmp_path)
    shown = Page(html).text
    assert "trials 1, 2, 3 failed with the same traceback:" in shown
    assert "1 run failed at first and completed when tried again (1 crashed)." in shown
    assert HOSTILE not in html


def test_numbers_are_those_of_the_report(tmp_path: Path) -> None:
    found, html = report("finished", tmp_path)
    shown, lines = Page(html).text, headline_lines(found)
    assert len(lines) == 3
    for _, value, between in lines:
        assert value in shown
        assert between in shown
    assert found.headline is not None
    for caution in found.headline.cautions:
        assert caution in shown


def test_without_test_scores_there_is_no_headline(tmp_path: Path) -> None:
    for state in ("tuning", "all_failed", "test_failed"):
        (folder := tmp_path / state).mkdir()
        found, html = report(state, folder)
        assert found.headline is None
        assert "probability that tuned is better" not in html


def test_the_default_is_not_compared_with_itself(tmp_path: Path) -> None:
    _, html = report("default_won", tmp_path, "seeds.validation=[]")
    assert "No trial beat the default configuration" in html
    assert "probability that tuned is better" not in html


def test_what_users_and_errors_say_is_escaped(tmp_path: Path) -> None:
    _, html = report("tuning", tmp_path)
    assert HOSTILE not in html
    assert HOSTILE in Page(html).text


def test_the_same_ledger_gives_the_same_bytes(tmp_path: Path) -> None:
    spec = make("finished", tmp_path)
    with Reader(spec.storage) as reader:
        found = gather(reader, spec.study)
        assert page(found, reader) == page(found, reader)


def test_the_study_in_the_report_can_be_run_again(tmp_path: Path) -> None:
    from autorl.report.html import resolved
    from autorl.spec.load import load_study
    from autorl.spec.yaml12 import dump

    found, _ = report("finished", tmp_path)
    (tmp_path / "again.yaml").write_text(dump(resolved(found)))
    assert load_study(tmp_path / "again.yaml") == found.spec


def test_a_configuration_with_a_failed_test_run_has_no_mean(tmp_path: Path) -> None:
    from autorl.report.figures import figures

    spec = make("test_failed", tmp_path)
    with Reader(spec.storage) as reader:
        scores, curves, *_ = figures(gather(reader, spec.study), reader)
    mean = next(row for row in scores.rows if row[0] == "mean")
    assert mean == ("mean", "–", "0.2")
    assert "1 run failed" in scores.caption
    assert {row[2] for row in curves.rows if row[0] == "tuned"} == {"–"}
    assert all(row[2] != "–" for row in curves.rows if row[0] == "default")


@pytest.mark.parametrize(
    "url",
    ["postgresql://me:hunter2@host/db", "postgresql://me:hunter2/x:y@host/db", "postgresql://host/db?password=hunter2"],
)
def test_a_password_is_left_out(url: str, tmp_path: Path) -> None:
    spec = make("finished", tmp_path)
    with Reader(spec.storage) as reader:
        found = gather(reader, spec.study)
        secret = found.spec.model_copy(update={"storage": url})
        reader.url = url
        html = page(replace(found, study=replace(found.study, spec=secret)), reader)
    assert "hunter2" not in html
    assert "host/db" in html


def test_energy_is_told_where_the_machine_told_it(tmp_path: Path) -> None:
    spec = make("finished", tmp_path)
    with Reader(spec.storage) as reader:
        assert "kWh" not in page(gather(reader, spec.study), reader)
    databases.execute(spec.storage, "UPDATE autorl_run SET energy_joules = 1800000 WHERE phase = 'tuning'")
    with Reader(spec.storage) as reader:
        found = gather(reader, spec.study)
        runs = sum(run.phase == "tuning" and run.env_steps > 0 for own in found.runs.values() for run in own)
        shown = Page(page(found, reader)).text
        assert found.spent["tuning"]["energy_joules"] == 1.8e6 * runs
        assert "energy_joules" not in found.spent["test"]
        assert f"{runs / 2:g} kWh" in shown
