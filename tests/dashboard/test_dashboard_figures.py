"""What the figures say, whom they say it to, and what the pages do when they are used."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from small_study import load
from states import STATES, Writer, make
from streamlit.testing.v1 import AppTest

from autorl.analysis import estimate
from autorl.ledger.book import Book
from autorl.ledger.reader import Reader
from autorl.ledger.records import CurveRecord
from autorl.report.findings import Findings, gather
from autorl.trial import Point, Run

APP = Path(__file__).parents[2] / "dashboard" / "app.py"
Open = Callable[..., AppTest]


@pytest.fixture
def visit(monkeypatch: pytest.MonkeyPatch) -> Open:
    """Return what opens a page of the dashboard."""
    monkeypatch.syspath_prepend(str(APP.parent))

    def visit(url: str, page: str = "overview", **query: str) -> AppTest:
        monkeypatch.setenv("AUTORL_STORAGE", url)
        app = AppTest.from_file(str(APP), default_timeout=60)
        for key, value in query.items():
            app.query_params[key] = value
        app.run()
        if page != "overview":
            app.switch_page(f"app_pages/{page}.py").run()
        assert not app.exception
        return app

    return visit


def headings(app: AppTest) -> list[str]:
    return [heading.value for heading in app.subheader]


def prose(app: AppTest) -> str:
    return "\n".join(str(e.value) for e in [*app.markdown, *app.caption, *app.info, *app.warning])


def findings(url: str) -> Findings:
    with Reader(url) as reader:
        return gather(reader, "small")


@pytest.mark.parametrize("state", STATES)
def test_a_figure_is_a_sentence_with_a_text_alternative_and_its_data(state: str, tmp_path: Path, visit: Open) -> None:
    url = make(state, tmp_path).storage
    for page in ("overview", "curves", "seeds"):
        app = visit(url, page)
        charts: list[Any] = list(app.get("plotly_chart"))
        sentences = [heading for heading in headings(app) if heading.endswith(".")]
        assert len(sentences) == len(charts) == len(app.download_button)
        for sentence, chart in zip(sentences, charts, strict=True):
            assert chart.proto.alt.startswith(sentence)
            assert len(chart.proto.alt) > len(sentence) + 20
        assert "nan" not in prose(app).split()


def test_curves_follow_what_is_chosen(tmp_path: Path, visit: Open) -> None:
    app = visit(make("finished", tmp_path).storage, "curves")
    assert app.multiselect[0].value == [1, 0]
    assert headings(app)[0] == (
        "After 128 environment steps the mean return on the tuning seeds is 0.625 for trial 1 (winner) "
        "and 0.375 for trial 0 (default)."
    )
    assert "Band: the lowest to the highest seed." in prose(app)
    app.segmented_control[0].set_value("test").run()
    assert "on the test seeds is 0.6 for trial 1 (winner) and 0.3 for trial 0 (default)" in headings(app)[0]
    app.multiselect[0].set_value([4]).run()
    assert "None of these trials was trained on the test seeds" in prose(app)
    app.multiselect[0].set_value([]).run()
    assert "Choose a trial above" in prose(app)


def curve(seed: int, values: list[float]) -> CurveRecord:
    points = (Point(100 * (i + 1), 0.0, {"return": value}) for i, value in enumerate(values))
    return CurveRecord(Run(0, "test", seed), tuple(points))


def test_the_band_is_that_of_the_analysis(visit: Open) -> None:
    from board.curves import summarize

    scores = [1.0, 2.0, 4.0, 8.0, 16.0]
    found = summarize([curve(seed, [score, score]) for seed, score in enumerate(scores)], "return", "mean")
    expected = estimate(scores)
    assert (found.middle[1], found.low[1], found.high[1]) == (expected.value, expected.low, expected.high)
    assert found.band == "the 95 % interval of the mean"


def test_an_average_ends_where_the_first_curve_does(visit: Open) -> None:
    from board.curves import summarize

    found = summarize([curve(0, [1.0, 2.0]), curve(1, [3.0, float("nan")])], "return", "mean")
    assert (list(found.steps), list(found.middle)) == ([100], [2.0])
    assert (list(found.low), list(found.high), found.band) == ([1.0], [3.0], "the lowest to the highest seed")


def test_seeds_say_what_the_scores_say(tmp_path: Path, visit: Open) -> None:
    first, second, above, ranked, parts = headings(visit(make("finished", tmp_path).storage, "seeds"))
    assert first == (
        "2 of 2 trials score worse on the test seeds than in tuning; "
        "the winner (trial 1) is 0.025 worse than it promised."
    )
    assert second.startswith(
        "The test seeds do not tell tuned and default apart: tuned is better with probability 1.00 ("
    )
    # Scores of trials 0, 1 and 4 on two seeds: 0.25 and 0.5, 0.75 and 0.5, 0.5 and 0.5.
    # Of 0.25, 0.3, 0.35 and 0.5, 0.55, 0.75 the median is 0.425.
    sides = "100% of the seeds of tuned (trial 1) and 0% of the seeds of default (trial 0)"
    assert above == f"0.425, the median of them all, is reached by {sides}."
    assert ranked.startswith(
        "Trial 1 (winner), the best on the tuning seeds together, is the best on 2 of 2 of them by itself"
    )
    assert parts.startswith("Of the differences between tuning runs")


def test_seeds_follow_the_direction(tmp_path: Path, visit: Open) -> None:
    url = make("finished", tmp_path, 'objectives=[{"metric": "return", "direction": "minimize"}]').storage
    assert headings(visit(url, "seeds"))[0].startswith("None of 2 trials scores worse on the test seeds than in tuning")
    assert headings(visit(url))[0].startswith("The default configuration leads 3 trials with")


def test_seeds_of_a_default_that_won(tmp_path: Path, visit: Open) -> None:
    url = make("default_won", tmp_path, "seeds.validation=[]").storage
    said = headings(visit(url, "seeds"))
    assert said[1] == "The default configuration won: 3 test seeds score from 0.8 to 0.9."


def test_a_side_with_a_failed_test_run_is_not_drawn(tmp_path: Path, visit: Open) -> None:
    app = visit(make("test_failed", tmp_path).storage, "seeds")
    assert (
        headings(app)[1] == "Only default (trial 0) has a score on every test seed: 3 test seeds score from 0.1 to 0.3."
    )
    assert "A test run of the winner or of the default failed" in prose(app)


def test_a_live_study_is_followed_until_paused(tmp_path: Path, visit: Open) -> None:
    with Book(load(tmp_path), 1, print) as book:
        STATES["proposed"](Writer(book))
        app = visit(book.spec.storage)
        assert app.toggle(key="follow").value
        assert "Training now: trial 0 with tuning seed 0 (64 steps)." in prose(app)
        book.beat({Run(0, "tuning", 0): 96}, 1.0)
        app.toggle(key="follow").set_value(False).run()
        assert not app.exception
    assert "has stopped in the tuning phase" in prose(visit(book.spec.storage))


def test_what_has_changed_is_read_again(tmp_path: Path, visit: Open) -> None:
    with Book(load(tmp_path), 1, print) as book:
        STATES["one_trial"](Writer(book))
    app = visit(book.spec.storage)
    assert "only one with a score so far" in headings(app)[0]
    with Book(book.spec, 1, print) as book:
        Writer(book).trial(1, [0.75, 0.5])
    app.run()
    assert (
        headings(app)[0] == "Over 2 trials the leading tuning score went from 0.375 (the default) to 0.625 (trial 1)."
    )


def test_a_link_opens_its_study(tmp_path: Path, visit: Open) -> None:
    url = make("finished", tmp_path).storage
    make("one_trial", tmp_path, "study=newer")
    assert visit(url).title[0].value == "newer"
    assert visit(url, study="small").title[0].value == "small"
    app = visit(url, study="gone")
    assert app.title[0].value == "newer"
    assert "There is no study `gone` in this database" in prose(app)
    app.sidebar.selectbox[0].select("small").run()
    assert app.title[0].value == "small"
    assert set(app.dataframe[-1].value["study"]) == {"small", "newer"}


def test_a_file_that_is_no_database(tmp_path: Path, visit: Open) -> None:
    (tmp_path / "text.db").write_text("not a database" * 100)
    app = visit(f"sqlite:///{tmp_path / 'text.db'}")
    assert "not a database of autorl" in app.error[0].value


def test_only_failed_trials(tmp_path: Path, visit: Open) -> None:
    app = visit(make("finished", tmp_path).storage, "trials")
    configuration = app.dataframe[1].value.set_index("hyperparameter")
    assert list(configuration.loc["clip_range_vf"]) == ["0.5", "–"]  # conditional: the default has none
    app.toggle(key="broken").set_value(True).run()
    assert list(app.dataframe[0].value["trial"]) == [2]
    assert "tuning seed 0 failed: exception" in app.error[0].value


def test_the_dashboard_loads_nothing_that_trains() -> None:
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); import board.data, board.curves, board.seeds, board.show;"
        "print([m for m in ('torch', 'stable_baselines3', 'gymnasium', 'optuna') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code, str(APP.parent)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
