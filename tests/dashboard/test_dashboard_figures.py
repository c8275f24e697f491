"""What the figures say, whom they say it to, and what the pages do when they are used."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from small_study import load
from states import STATES, Writer, config, make
from streamlit.testing.v1 import AppTest

from autorl.analysis import estimate
from autorl.ledger.book import Book
from autorl.ledger.reader import Reader
from autorl.ledger.records import CurveRecord
from autorl.report.findings import Findings, gather
from autorl.report.influence import Influence, influence
from autorl.spec.space import Configuration
from autorl.trial import Point, Run

APP = Path(__file__).parents[2] / "dashboard" / "app.py"
Open = Callable[..., AppTest]


@pytest.fixture
def visit(monkeypatch: pytest.MonkeyPatch) -> Open:
    """Return what opens a page of the dashboard."""
    monkeypatch.syspath_prepend(str(APP.parent))

    def visit(url: str, page: str = "overview", **query: str) -> AppTest:
        monkeypatch.setenv("AUTORL_STORAGE", url)
        app = AppTest.from_file(str(APP), default_timeout=180)
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


def test_the_threshold_counts_seeds_that_failed(tmp_path: Path, visit: Open) -> None:
    found = findings(make("finished", tmp_path).storage)
    visit(found.spec.storage)
    from board.curves import summarize
    from board.learning import table

    curves = summarize([curve(20, [0.5, 1.0]), curve(21, [0.5, 1.0]), curve(22, [0.25])], "return", "mean")
    runs = tuple(replace(run, state="failed", score=None) if run.seed == 22 else run for run in found.runs[1])
    failed = replace(found, runs={**found.runs, 1: runs})
    (row,) = table(failed, {1: curves}, "test", 0.75).to_dict("records")
    assert row["seeds"] == "2 (1 more failed)"
    assert row["reaches 0.75"] == "median 150 steps; 67% of seeds"
    assert row["mean over training (area under the curve)"].startswith("0.75")
    (lower,) = table(failed, {1: curves}, "test", 0.25).to_dict("records")
    assert lower["reaches 0.25"].endswith("100% of seeds")  # it got there before it failed


def test_a_curve_with_few_early_evaluations_is_not_extrapolated_from_them(tmp_path: Path, visit: Open) -> None:
    found = findings(make("finished", tmp_path).storage)
    visit(found.spec.storage)
    from board.curves import summarize
    from board.learning import table

    late = [1, *range(60, 72)]  # one evaluation in the first half
    points = tuple(Point(1_000 * step, 0.0, {"return": 1 - 30 / (30 + step)}) for step in late)
    curves = summarize([CurveRecord(Run(1, "tuning", seed), points) for seed in (0, 1)], "return", "mean")
    (row,) = table(found, {1: curves}, "tuning", 0.5).to_dict("records")
    assert "first half" not in row["where it was going"]


def test_only_the_objectives_metric_has_a_direction(tmp_path: Path, visit: Open) -> None:
    app = visit(make("finished", tmp_path).storage, "curves")
    assert len(app.number_input) == 1
    app.selectbox("metric-small").select("length").run()
    assert not app.exception
    assert not app.number_input


def test_a_profile_of_costs_counts_what_is_low(tmp_path: Path, visit: Open) -> None:
    goal = "objectives=[{metric: return, direction: minimize}]"
    app = visit(make("finished", tmp_path, goal).storage, "seeds")
    # The median of 0.25, 0.3, 0.35 (default) and 0.5, 0.55, 0.75 (tuned) is 0.425, which all of the default stay below.
    said = next(heading for heading in headings(app) if "the median of them all" in heading)
    assert "0% of the seeds of tuned" in said
    assert "100% of the seeds of default" in said


def test_equal_scores_have_no_consistency(tmp_path: Path, visit: Open) -> None:
    spec = load(tmp_path)
    with Book(spec, max_pending=1, waiting=print) as book:
        for trial in (0, 1):
            Writer(book).trial(trial, [0.5, 0.5])
    app = visit(spec.storage, "seeds")
    assert "all scores are equal" in str(app.metric[1])


def test_numbers_are_filtered_where_a_default_is_a_word(tmp_path: Path, visit: Open) -> None:
    spec = load(tmp_path)
    with Book(spec, max_pending=1, waiting=print) as book:
        for trial in (0, 1, 2):
            values = {**config(trial).values, "learning_rate": "auto" if trial == 0 else 0.1**trial}
            Writer(book).trial(trial, [0.5, 0.25], Configuration(values, {}))
    app = visit(spec.storage, "trials")
    app.multiselect("filters-small").select("learning_rate").run()
    assert not app.exception
    assert [each.value for each in app.number_input] == pytest.approx([0.01, 0.1])
    app.number_input("filter-small-learning_rate-low").set_value(0.05).run()
    assert app.dataframe[0].value["trial"].tolist() == [1]


def test_nothing_is_said_of_where_a_point_has_no_place(tmp_path: Path, visit: Open) -> None:
    found = findings(make("many_trials", tmp_path).storage)
    visit(found.spec.storage)
    from board.sensitivity import around

    with Reader(found.spec.storage) as reader:
        seen = influence(found, lambda trials, phase: reader.curves("small", trials, phase))
    assert isinstance(seen, Influence)
    nowhere = replace(found.trials[0], config=Configuration({}, {}))
    assert around(found, seen, nowhere) is None
    drawn = around(found, seen, found.trials[found.study.winner or 0])
    assert drawn is not None
    # A power of two from 3 values moves by one of them, which is more than a tenth.
    moved = drawn.table.set_index("hyperparameter").loc["batch_size"]
    assert moved["worst change nearby"] != 0 or moved["best change nearby"] != 0
