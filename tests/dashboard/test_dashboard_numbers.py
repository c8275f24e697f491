"""Every number on the pages is the ledger's: computed again from its rows, and looked for."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from states import make
from streamlit.testing.v1 import AppTest

from autorl.analysis import probability_better, split_variance, winners_curse
from autorl.report.words import number, probability

APP = Path(__file__).parents[2] / "dashboard" / "app.py"
Runs = dict[tuple[int, str, int], dict[str, Any]]


@pytest.fixture(scope="module")
def ledger(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Runs, dict[int, float]]:
    """Return a finished study's database, its runs and its trials' values, read without autorl."""
    folder = tmp_path_factory.mktemp("numbers")
    url = make("many_trials", folder).storage
    with sqlite3.connect(folder / "study.db") as connection:
        connection.row_factory = sqlite3.Row
        rows = connection.execute(
            "SELECT t.number, t.value, r.*, c.points FROM autorl_run r JOIN autorl_trial t ON t.id = r.trial_id "
            "LEFT JOIN autorl_curve c ON c.run_id = r.id"
        ).fetchall()
    runs = {(row["number"], row["phase"], row["seed"]): dict(row) for row in rows}
    return url, runs, {row["number"]: row["value"] for row in rows}


@pytest.fixture
def app(ledger: tuple[str, Runs, dict[int, float]], monkeypatch: pytest.MonkeyPatch) -> AppTest:
    monkeypatch.setenv("AUTORL_STORAGE", ledger[0])
    monkeypatch.syspath_prepend(str(APP.parent))
    return AppTest.from_file(str(APP), default_timeout=60).run()


def visit(app: AppTest, page: str) -> AppTest:
    app.switch_page(f"app_pages/{page}.py").run()
    assert not app.exception
    return app


def frames(app: AppTest) -> Iterator[pd.DataFrame]:
    for element in app.dataframe:
        yield element.value


def frame(app: AppTest, *columns: str) -> pd.DataFrame:
    """Return the only table of a page that has these columns."""
    (found,) = [each for each in frames(app) if set(columns) <= set(each.columns)]
    return found


def scores(runs: Runs, trial: int, phase: str) -> list[float]:
    return [run["score"] for (number_, phase_, _), run in sorted(runs.items()) if (number_, phase_) == (trial, phase)]


def test_the_overview(app: AppTest, ledger: tuple[str, Runs, dict[int, float]]) -> None:
    _, runs, values = ledger
    best = max(values, key=lambda trial: values[trial])
    tuned, default = scores(runs, best, "test"), scores(runs, 0, "test")
    chance = probability_better(tuned, default).value
    assert [metric.value for metric in app.metric] == [
        number(float(np.mean(tuned))),
        number(float(np.mean(default))),
        probability(chance),
    ]
    shown = frame(app, "tuning score", "leader's score")
    assert shown["tuning score"].tolist() == pytest.approx([values[trial] for trial in range(30)])
    assert shown["leader's score"].tolist() == pytest.approx(
        np.maximum.accumulate([values[t] for t in range(30)]).tolist()
    )
    spent = frame(app, "phase", "environment steps").set_index("phase")
    for phase in ("tuning", "validation", "test"):
        own = [run for (_, phase_, _), run in runs.items() if phase_ == phase]
        assert spent.loc[phase, "runs"] == str(len(own))
        assert spent.loc[phase, "environment steps"] == f"{sum(run['env_steps'] for run in own):,}"


def test_the_seeds(app: AppTest, ledger: tuple[str, Runs, dict[int, float]]) -> None:
    _, runs, values = ledger
    visit(app, "seeds")
    table = np.array([scores(runs, trial, "tuning") for trial in range(30)])
    assert app.metric[0].value == number(max(0.0, winners_curse(table)), 3)
    split = split_variance(table)
    assert app.metric[1].value == probability(split.consistency.value)
    parts = frame(app, "part", "variance")
    assert parts["variance"].tolist() == pytest.approx([split.configuration, split.seed, split.interaction])
    assert parts["share"].sum() == pytest.approx(1.0)
    promised = frame(app, "phase", "tuning", "score")
    for row in promised.to_dict("records"):
        trial = int(row["trial"].split()[1])
        assert row["tuning"] == pytest.approx(values[trial])
        assert row["score"] == pytest.approx(np.mean(scores(runs, trial, row["phase"])))
    for row in frame(app, "configuration", "trial", "seed", "score").to_dict("records"):
        assert row["score"] == runs[row["trial"], "test", row["seed"]]["score"]
    for row in frame(app, "trial", "seed", "rank").to_dict("records"):
        trial, seed = int(row["trial"].split()[1]), row["seed"]
        assert row["score"] == runs[trial, "tuning", seed]["score"]
        assert row["rank"] == 1 + np.sum(table[:, seed] > row["score"])
    for row in frame(app, "configuration", "above", "share").to_dict("records"):
        trial = 0 if "default" in row["configuration"] else max(values, key=lambda t: values[t])
        assert row["share"] == pytest.approx(np.mean(np.array(scores(runs, trial, "test")) > row["above"]))


def test_the_trials(app: AppTest, ledger: tuple[str, Runs, dict[int, float]]) -> None:
    _, runs, values = ledger
    shown = frame(visit(app, "trials"), "trial", "tuning", "by seed")
    assert sorted(shown["trial"]) == list(range(30))
    for row in shown.to_dict("records"):
        assert row["tuning"] == values[row["trial"]]
        assert row["by seed"] == "  ".join(number(score, 3) for score in scores(runs, row["trial"], "tuning"))
        tested = scores(runs, row["trial"], "test")
        assert row["test"] == pytest.approx(np.mean(tested)) if tested else pd.isna(row["test"])


def test_the_curves(app: AppTest, ledger: tuple[str, Runs, dict[int, float]]) -> None:
    _, runs, _ = ledger
    visit(app, "curves")
    shown = frame(app, "environment steps", "average", "return, seed 0")
    assert len(shown) == 4  # two trials, two evaluations
    for row in shown.to_dict("records"):
        own = []
        for seed in (0, 1):
            points = json.loads(runs[row["trial"], "tuning", seed]["points"])
            (point,) = [each for each in points if each["env_steps"] == row["environment steps"]]
            own.append(point["metrics"]["return"])
            assert row[f"return, seed {seed}"] == own[-1]
        assert row["average"] == pytest.approx(np.mean(own))


def test_what_a_score_costs(app: AppTest, ledger: tuple[str, Runs, dict[int, float]]) -> None:
    _, runs, values = ledger
    shown = frame(visit(app, "pareto"), "trial", "cost", "tuning score")
    for row in shown.to_dict("records"):
        own = [
            run["cpu_seconds"] for (trial, phase, _), run in runs.items() if (trial, phase) == (row["trial"], "tuning")
        ]
        assert row["cost"] == pytest.approx(np.mean(own))
        assert row["tuning score"] == values[row["trial"]]
