"""Every number on the pages is the ledger's: computed again from its rows, and looked for."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from states import make, make_objectives
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
    return AppTest.from_file(str(APP), default_timeout=180).run()


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


def told(*command: str) -> dict[str, Any]:
    """Return what a command prints as JSON."""
    line = [sys.executable, "-m", "autorl", *command, "--format", "json"]
    found: dict[str, Any] = json.loads(subprocess.run(line, capture_output=True, text=True, check=True).stdout)
    return found


def test_the_headline_is_the_reports(app: AppTest, ledger: tuple[str, Runs, dict[int, float]]) -> None:
    report = told("report", "small", "--storage", ledger[0])
    assert [metric.value for metric in app.metric] == [
        number(report["headline"]["tuned"]["value"]),
        number(report["headline"]["default"]["value"]),
        probability(report["headline"]["probability_better"]["value"]),
    ]
    seeds = report["seeds"]
    visit(app, "seeds")
    assert app.metric[0].value == number(max(0.0, seeds["winners_curse"]), 3)
    assert app.metric[1].value == probability(seeds["consistency_of_a_seed"]["value"])
    assert app.metric[2].value == f"{seeds['seeds_needed']:,}"


def test_the_sensitivity(app: AppTest, ledger: tuple[str, Runs, dict[int, float]]) -> None:
    _, runs, values = ledger
    report = told("report", "small", "--storage", ledger[0])["sensitivity"][0]
    visit(app, "sensitivity")
    shown = frame(app, "hyperparameter", "fANOVA").set_index("hyperparameter")
    assert set(shown.index) == set(report["importance"])
    for name, shares in report["importance"].items():
        assert shown.loc[name, "fANOVA"] == pytest.approx(shares["fanova"])
        assert shown.loc[name, "PED-ANOVA"] == pytest.approx(shares["ped_anova"])
    assert shown["fANOVA"].is_monotonic_decreasing
    assert report["trials"] == len(values)
    said = "\n".join(str(e.value) for e in [*app.caption, *app.markdown, *app.subheader])
    assert f"{len(values)} trials' scores after 128 environment steps" in said
    assert f"explains {report['explained']:.0%} of the variance" in said
    assert f"Kendall's W of 2 seeds: {probability(report['agreement_of_seeds'])}" in said
    # What the model says of points must lie among the scores it was made from, the means over the tuning seeds.
    means = [float(np.mean(scores(runs, trial, "tuning"))) for trial in values]
    effect = frame(app, "mean", "low", "high")
    assert effect["mean"].between(min(means), max(means)).all()
    path = frame(app, "change", "predicted score")
    assert path["predicted score"].between(min(means), max(means)).all()
    gain = path["predicted score"].iloc[-1] - path["predicted score"].iloc[0]
    assert f"the model predicts {number(abs(gain))} better" in said
    near = frame(app, "hyperparameter", "local importance")
    assert near["local importance"].sum() == pytest.approx(1.0)


def test_the_sensitivity_of_each_objective(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = make_objectives(tmp_path).storage
    monkeypatch.setenv("AUTORL_STORAGE", url)
    monkeypatch.syspath_prepend(str(APP.parent))
    app = AppTest.from_file(str(APP), default_timeout=180).run()
    with sqlite3.connect(tmp_path / "study.db") as connection:
        rows = connection.execute(
            "SELECT t.number, r.scores FROM autorl_run r JOIN autorl_trial t ON t.id = r.trial_id"
        ).fetchall()
    reports = told("report", "small", "--storage", url)["sensitivity"]
    visit(app, "sensitivity")
    for column, report in enumerate(reports):
        app.segmented_control(key="objective-small").set_value(report["objective"]).run()
        assert not app.exception
        shown = frame(app, "hyperparameter", "fANOVA").set_index("hyperparameter")
        for name, shares in report["importance"].items():
            assert shown.loc[name, "fANOVA"] == pytest.approx(shares["fanova"])
        assert shown.index[0] == ("learning_rate", "batch_size")[column]
        values = [json.loads(scores)[column] for _, scores in rows]
        effect = frame(app, "mean", "low", "high")
        assert effect["mean"].between(min(values), max(values)).all()
        path = frame(app, "change", "predicted score")
        assert path["predicted score"].between(min(values), max(values)).all()


def test_the_comparison(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = make("many_trials", tmp_path).storage
    make("finished", tmp_path, "study=other")
    with sqlite3.connect(tmp_path / "study.db") as connection:
        connection.row_factory = sqlite3.Row
        query = (
            "SELECT s.name, s.winner, t.number, r.* FROM autorl_run r JOIN autorl_trial t ON t.id = r.trial_id "
            "JOIN autorl_study s ON s.id = t.study_id"
        )
        rows = [dict(row) for row in connection.execute(query)]
    monkeypatch.setenv("AUTORL_STORAGE", url)
    monkeypatch.syspath_prepend(str(APP.parent))
    app = AppTest.from_file(str(APP), default_timeout=180)
    app.query_params["study"] = "small"
    visit(app.run(), "compare")
    own = {name: [row for row in rows if row["name"] == name] for name in ("small", "other")}
    spent = {name: sum(r["env_steps"] for r in each if r["phase"] == "tuning") for name, each in own.items()}
    tests = {n: [r["score"] for r in e if r["phase"] == "test" and r["number"] == r["winner"]] for n, e in own.items()}
    shown = frame(app, "study", "tuning steps").set_index("study")
    points = frame(app, "study", "test score", "low").set_index("study")
    for name in own:
        assert shown.loc[name, "tuning steps"] == f"{spent[name]:,}"
        assert shown.loc[name, "winner"] == str(own[name][0]["winner"])
        assert points.loc[name, "test score"] == pytest.approx(np.mean(tests[name]))
        assert shown.loc[name, "test score"].startswith(number(float(np.mean(tests[name]))))
    said = told("compare", "small", "other", "--storage", url)
    assert said["budget"] == min(spent.values())
    (pair,) = said["pairs"]
    assert pair["difference"]["value"] == pytest.approx(np.mean(tests["other"]) - np.mean(tests["small"]))
    assert pair["better"]["value"] == probability_better(tests["other"], tests["small"]).value
    sentence = next(str(e.value) for e in app.markdown if "On their test seeds" in str(e.value))
    assert f"(difference {number(pair['difference']['value'])}" in sentence
    assert f"with probability {probability(pair['better']['value'])}" in sentence
    for row in frame(app, "study", "environment steps", "trial").to_dict("records"):
        scored = [r["score"] for r in own[row["study"]] if r["phase"] == "tuning" and r["number"] == row["trial"]]
        assert row["tuning score"] == pytest.approx(np.mean(scored))


def test_what_it_takes_to_run_it_again(app: AppTest, ledger: tuple[str, Runs, dict[int, float]]) -> None:
    url, _, values = ledger
    with sqlite3.connect(url.removeprefix("sqlite:///")) as connection:
        connection.row_factory = sqlite3.Row
        (row,) = connection.execute("SELECT * FROM autorl_study").fetchall()
    visit(app, "reproduce")
    shown = frame(app, "what", "value").set_index("what")["value"]
    for name, version in json.loads(row["versions"]).items():
        assert shown[name] == version
    assert shown["tuning seeds"] == "0:2"
    assert shown["test seeds"] == "20:23"
    assert shown["fingerprint"].startswith(row["spec_hash"])
    file = next(yaml.safe_load(code.value) for code in app.code if "search_space" in code.value)
    stored = json.loads(row["spec"])
    assert {key: file[key] for key in ("budget", "seeds", "task")} == {
        key: stored[key] for key in ("budget", "seeds", "task")
    }
    best = max(values, key=lambda trial: values[trial])
    text = next(str(e.value) for e in app.markdown if "Final configuration" in str(e.value))
    assert f"**Final configuration** trial {best}" in text
