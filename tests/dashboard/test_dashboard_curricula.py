"""The page on curricula: its figures say what the ledger's rows say, computed again from them."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from states import make, make_taught
from streamlit.testing.v1 import AppTest

from autorl.ledger.reader import Reader
from autorl.report.curricula import curriculum_sentences
from autorl.report.findings import gather

APP = Path(__file__).parents[2] / "dashboard" / "app.py"
Open = Callable[..., AppTest]


@pytest.fixture
def visit(monkeypatch: pytest.MonkeyPatch) -> Open:
    """Return what opens the page of a study."""
    monkeypatch.syspath_prepend(str(APP.parent))

    def visit(url: str) -> AppTest:
        monkeypatch.setenv("AUTORL_STORAGE", url)
        app = AppTest.from_file(str(APP), default_timeout=180).run().switch_page("app_pages/curriculum.py").run()
        assert not app.exception
        return app

    return visit


def records(folder: Path, trial: int, seeds: tuple[int, ...] = (0, 1)) -> list[list[dict[str, Any]]]:
    """Return evaluation → the records of a trial's tuning seeds, read without autorl."""
    query = (
        "SELECT c.points FROM autorl_curve c JOIN autorl_run r ON r.id = c.run_id "
        "JOIN autorl_trial t ON t.id = r.trial_id WHERE t.number = ? AND r.phase = 'tuning' AND r.seed = ?"
    )
    with sqlite3.connect(folder / "study.db") as connection:
        runs = [json.loads(connection.execute(query, (trial, seed)).fetchone()[0]) for seed in seeds]
    return [[point["curriculum"]["distance"] for point in points] for points in zip(*runs, strict=True)]


def frame(app: AppTest, *columns: str) -> pd.DataFrame:
    (found,) = [each.value for each in app.dataframe if set(columns) <= set(each.value.columns)]
    return found


def headings(app: AppTest) -> list[str]:
    return [heading.value for heading in app.subheader]


def prose(app: AppTest) -> str:
    return "\n".join(str(element.value) for element in [*app.markdown, *app.caption, *app.info])


@pytest.mark.parametrize("seeds", [(0, 1), (1,)])
def test_every_number_is_the_rows(seeds: tuple[int, ...], tmp_path: Path, visit: Open) -> None:
    app = visit(make_taught(tmp_path).storage)
    if seeds == (1,):
        app.selectbox(key="run-small").set_value("seed 1").run()
        assert not app.exception
    told = records(tmp_path, 1, seeds)
    steps = np.array([np.sum([record["env_steps"] for record in runs], axis=0) for runs in told])
    episodes = np.array([np.sum([record["episodes"] for record in runs], axis=0) for runs in told])
    won = [[[(r or 0) * n for r, n in zip(x["success"], x["episodes"], strict=True)] for x in runs] for runs in told]
    when = frame(app, "to step", "environment steps", "share")
    assert when["to step"].tolist() == [64] * 8 + [128] * 8
    assert when["from step"].tolist() == [0] * 8 + [64] * 8
    assert when["distance"].tolist() == [str(distance) for distance in range(1, 9)] * 2
    assert when["environment steps"].tolist() == steps.ravel().tolist()
    assert when["share"].tolist() == pytest.approx((steps / steps.sum(axis=1, keepdims=True)).ravel().tolist())
    density = frame(app, "share of training", "of the target")
    assert density["environment steps"].tolist() == steps.sum(axis=0).tolist()
    assert density["share of training"].sum() == pytest.approx(1.0)
    assert density["of the target"].tolist() == [False] * 7 + [True]
    success = frame(app, "episodes", "success rate")
    assert success["episodes"].tolist() == episodes.ravel().tolist()
    rates = np.sum(won, axis=1).ravel() / np.where(episodes.ravel() > 0, episodes.ravel(), np.nan)
    assert success["success rate"].tolist() == pytest.approx(rates.tolist(), nan_ok=True)


def test_figures_are_sentences_with_a_text_alternative_and_their_data(tmp_path: Path, visit: Open) -> None:
    app = visit(make_taught(tmp_path).storage)
    when, density, success, target = headings(app)
    assert when == (
        "Trial 1 (winner, linear) trained mostly distance 1 to 2 at first and 7 to 8 at the end; the target is 8."
    )
    # Steps on the distances: 12, 14, 12, 8, 5, 12, 21, 32 for each seed, 116 together.
    assert (
        density == "The curriculum of trial 1 (linear) spent 56% of its training on distance 6 to 8; the target is 8."
    )
    assert success.startswith("Between 64 and 128 environment steps the success rate of trial 1 (winner, linear) is ")
    assert target == (
        "On the target (distance 8), after 128 environment steps the mean return on the tuning seeds is 0.9 for trial "
        "1 (winner), 0 for trial 0 (default) and 0.4 for trial 2."
    )
    charts: list[Any] = list(app.get("plotly_chart"))
    assert len(charts) == len(app.download_button) == 4
    for sentence, chart in zip(headings(app), charts, strict=True):
        assert chart.proto.alt.startswith(sentence)
        assert len(chart.proto.alt) > len(sentence) + 20
    assert "Curricula: trial 1 (winner): linear; trial 0 (default): none; trial 2: uniform." in prose(app)


def test_where_the_teachers_stood_is_a_table(tmp_path: Path, visit: Open) -> None:
    url = make_taught(tmp_path).storage
    with sqlite3.connect(tmp_path / "study.db") as connection:
        path = '$[1].curriculum."(teacher)"'
        bounds = json.dumps({"bounds": [[0.0, 0.25], [0.5, 1.0]]})
        connection.execute("UPDATE autorl_curve SET points = json_set(points, ?, json(?))", (path, bounds))
    app = visit(url)
    assert "Where the teacher stood" in headings(app)
    found = frame(app, "seed", "bounds")
    assert found.to_dict("list") == {
        "seed": [0, 1],
        "environment steps": [128, 128],
        "bounds": ["[[0, 0.25], [0.5, 1]]"] * 2,
    }
    app.selectbox(key="run-small").set_value("seed 1").run()
    assert frame(app, "seed", "bounds")["seed"].tolist() == [1]


def test_the_page_says_what_the_report_says(tmp_path: Path, visit: Open) -> None:
    url = make_taught(tmp_path).storage
    with Reader(url) as reader:
        said = curriculum_sentences(gather(reader, "small"), lambda *asked: reader.curves("small", *asked))
    app = visit(url)
    assert len(said) == 2
    assert said[0] in prose(app)
    assert said[1] == headings(app)[1]


def test_another_trial_and_other_seeds_can_be_chosen(tmp_path: Path, visit: Open) -> None:
    app = visit(make_taught(tmp_path).storage)
    app.selectbox(key="taught-small").set_value(0).run()
    assert headings(app)[0] == (
        "Trial 0 (default, none) trained mostly distance 8, at first and at the end; the target is 8."
    )
    app.segmented_control[0].set_value("test").run()
    assert not app.exception
    assert "Trial 0 (default, none) has no record on the test seeds yet." in prose(app)


def test_without_curricula_it_says_how_to_have_one(tmp_path: Path, visit: Open) -> None:
    app = visit(make("finished", tmp_path).storage)
    assert "what of it may vary in `task.parameters`" in prose(app)
