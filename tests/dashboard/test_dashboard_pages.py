"""Each page of the dashboard in every state of a study, with the report's numbers."""

from __future__ import annotations

from pathlib import Path

import pytest
from states import HOSTILE, STATES, make, make_front
from streamlit.testing.v1 import AppTest

from autorl.ledger.reader import Reader
from autorl.report.findings import Findings, gather
from autorl.report.sentences import headline_lines, sentences

APP = Path(__file__).parents[2] / "dashboard" / "app.py"
PAGES = ("overview", "seeds", "sensitivity", "curves", "trials", "curriculum", "pareto", "compare", "reproduce")


def start(url: str, monkeypatch: pytest.MonkeyPatch) -> AppTest:
    monkeypatch.setenv("AUTORL_STORAGE", url)
    monkeypatch.syspath_prepend(str(APP.parent))
    return AppTest.from_file(str(APP), default_timeout=180).run()


def findings(url: str) -> Findings:
    with Reader(url) as reader:
        return gather(reader, "small")


def said(app: AppTest) -> str:
    """Return everything that a page says in words."""
    parts = [*app.title, *app.markdown, *app.caption, *app.info, *app.warning, *app.error, *app.code, *app.subheader]
    return "\n".join(str(part.value) for part in parts)


@pytest.mark.parametrize("state", STATES)
def test_every_page_shows_something_right(state: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    app = start(make(state, tmp_path).storage, monkeypatch)
    for page in PAGES:
        if page != "overview":
            app.switch_page(f"app_pages/{page}.py").run()
        assert not app.exception, (page, app.exception)
        assert app.title


def test_the_overview_tells_what_the_report_tells(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = make("finished", tmp_path).storage
    found, app = findings(url), start(url, monkeypatch)
    assert [(m.value, m.delta) for m in app.metric] == [(value, between) for _, value, between in headline_lines(found)]
    for sentence in sentences(found):
        assert sentence in said(app)
    assert found.headline is not None
    for caution in found.headline.cautions:
        assert caution in said(app)


def test_a_paused_study_says_why_and_its_runs_how_they_failed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    app = start(make("paused", tmp_path).storage, monkeypatch)
    assert any("tuning, paused" in str(caption.value) for caption in app.sidebar.caption)
    assert "This study has paused: somebody has to look." in said(app)
    assert "trials 1, 2, 3 failed with the same traceback:" in said(app)
    assert "1 run failed at first and completed when tried again (1 crashed)." in said(app)
    app.switch_page("app_pages/trials.py").run()
    assert not app.exception
    runs = app.dataframe[-1].value
    assert list(runs["failed attempts"])[:2] == ["crashed", "–"]
    assert list(runs["starts"])[:2] == [2, 1]


def test_an_unfinished_study_promises_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    app = start(make("tuning", tmp_path).storage, monkeypatch)
    assert not app.metric
    assert "That number is optimistic" in said(app)
    assert "has stopped in the tuning phase" in said(app)


def test_the_default_is_not_compared_with_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    app = start(make("default_won", tmp_path, "seeds.validation=[]").storage, monkeypatch)
    assert len(app.metric) == 1
    assert "No trial beat the default configuration" in said(app)


def test_trials_come_best_first_with_their_seeds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = make("finished", tmp_path).storage
    app = start(url, monkeypatch).switch_page("app_pages/trials.py").run()
    table = app.dataframe[0].value
    assert list(table["trial"]) == [t.number for t in findings(url).ranked] + [2, 3]
    assert list(table["tuning"])[:2] == pytest.approx([0.625, 0.5])


def test_errors_are_shown_as_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    app = start(make("all_failed", tmp_path).storage, monkeypatch).switch_page("app_pages/trials.py").run()
    assert any(HOSTILE in block.value for block in app.code)
    assert HOSTILE not in "".join(str(m.value) for m in app.markdown)


def test_no_database_and_no_study_say_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    app = start(f"sqlite:///{tmp_path}/none.db", monkeypatch)
    assert not app.exception
    assert "no database there yet" in said(app)
    assert "autorl run FILE.yaml" in said(app)


def test_the_dashboard_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = make("finished", tmp_path).storage
    before = findings(url)
    app = start(url, monkeypatch)
    for page in PAGES[1:]:
        app.switch_page(f"app_pages/{page}.py").run()
    assert findings(url) == before


def test_a_study_of_several_objectives_is_shown_on_every_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = make_front(tmp_path).storage
    found, app = findings(url), start(url, monkeypatch)
    for sentence in sentences(found):
        assert sentence in said(app)
    for page in PAGES[1:]:
        app.switch_page(f"app_pages/{page}.py").run()
        assert not app.exception, (page, app.exception)
    app.switch_page("app_pages/pareto.py").run()
    shown = said(app)
    assert "2 trials trade off mean return and mean length" in shown
    assert "4 of 5 trials meet 'mean return_std at most 0.5' on 3 new seeds with a probability of 0.90 or more" in shown
    assert "Over 4 trials the hypervolume went from" in shown
    app.selectbox(key="member-small").select(1).run()
    assert not app.exception
    assert "trial 1" in " ".join(str(frame.value.columns.tolist()) for frame in app.dataframe)
