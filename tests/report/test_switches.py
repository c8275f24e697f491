"""What is said of enqueued configurations beside the default, against SciPy's paired interval."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from scipy import stats
from small_study import ignore, load, write
from typer.testing import CliRunner

from autorl.cli.app import app
from autorl.engine.conductor import conduct
from autorl.ledger.reader import Reader
from autorl.report.findings import Findings, gather
from autorl.report.switches import switches

ENQUEUE = 'optimizer.enqueue=[{"gamma": 0.95}, {"batch_size": 8, "learning_rate": 0.02}]'


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("switches")
    conduct(load(folder, ENQUEUE, "seeds.tuning=0:3", "budget.trials=4"), ignore)
    return folder


@pytest.fixture(scope="module")
def found(folder: Path) -> Findings:
    with Reader(f"sqlite:///{folder}/study.db") as reader:
        return gather(reader, "small")


def test_effects_are_paired_differences(found: Findings) -> None:
    tried = switches(found)
    assert {switch.trial for switch in tried} == {1, 2}  # neither the default nor what the optimizer proposed
    assert {switch.change for switch in tried} == {"gamma: 0.95", "learning_rate: 0.02, batch_size: 8"}
    assert [switch.effect.value for switch in tried] == sorted((s.effect.value for s in tried), reverse=True)
    for switch in tried:
        differences = np.subtract(found.scores(switch.trial, "tuning"), found.scores(0, "tuning"))
        assert switch.seeds == 3
        assert switch.effect.value == pytest.approx(differences.mean())
        expected = stats.ttest_1samp(differences, 0.0).confidence_interval()
        assert (switch.effect.low, switch.effect.high) == pytest.approx(tuple(expected))
        assert switch.decided == (expected.low > 0 or expected.high < 0)


def test_every_report_shows_them(found: Findings, folder: Path) -> None:
    storage, html = f"sqlite:///{folder}/study.db", folder / "report.html"
    run = CliRunner().invoke
    printed = run(app, ["report", "small", "--storage", storage], env={"COLUMNS": "100"}).stdout
    assert "gamma: 0.95" in printed
    assert run(app, ["report", "small", "--storage", storage, "--html", str(html)]).exit_code == 0
    assert "gamma: 0.95" in html.read_text()
    data = json.loads(run(app, ["report", "small", "--storage", storage, "--format", "json"]).stdout)
    assert data["switches"] == [json.loads(json.dumps(switch.to_dict())) for switch in switches(found)]


def test_a_study_that_asked_for_nothing_says_nothing(tmp_path: Path) -> None:
    write(tmp_path)
    conduct(load(tmp_path, "budget.trials=2"), ignore)
    with Reader(f"sqlite:///{tmp_path}/study.db") as reader:
        assert switches(gather(reader, "small")) == []
