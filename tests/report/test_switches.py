"""What is said of enqueued configurations beside the default, against Dunnett's table and Student's interval."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import stats
from small_study import ignore, load, write
from typer.testing import CliRunner

from autorl.cli.app import app
from autorl.engine.conductor import conduct, retest
from autorl.ledger.reader import Reader
from autorl.report.findings import Findings, gather
from autorl.report.switches import switches

ENQUEUE = 'optimizer.enqueue=[{"batch_size": 8, "learning_rate": 0.02}, {"gamma": 0.95}]'


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("switches")
    task = "task.env=probe_envs:autorl-tests/Target-v0"  # the bandit is solved by all
    changes = task, "seeds.tuning=0:3", "budget.trials=4"
    conduct(load(folder, ENQUEUE, *changes), ignore)
    return folder


@pytest.fixture(scope="module")
def found(folder: Path) -> Findings:
    with Reader(f"sqlite:///{folder}/study.db") as reader:
        return gather(reader, "small")


DUNNETT = 2.86
"""Of two comparisons with one default at 6 degrees of freedom, two-sided 95 %: Dunnett (1964), table II."""


def test_effects_are_differences_with_intervals_that_hold_together(found: Findings) -> None:
    tried = switches(found)
    assert {switch.trial for switch in tried} == {1, 2}  # neither the default nor what the optimizer proposed
    assert {switch.change for switch in tried} == {"gamma: 0.95", "learning_rate: 0.02, batch_size: 8"}
    assert [switch.effect.value for switch in tried] == sorted((s.effect.value for s in tried), reverse=True)
    deviation = np.sqrt(np.mean([np.var(found.scores(number, "tuning"), ddof=1) for number in (0, 1, 2)]))
    for switch in tried:
        effect = np.mean(found.scores(switch.trial, "tuning")) - np.mean(found.scores(0, "tuning"))
        half = DUNNETT * deviation * np.sqrt(2 / 3)
        assert switch.seeds == 3
        assert switch.effect.value == pytest.approx(effect)
        assert (switch.effect.low, switch.effect.high) == pytest.approx((effect - half, effect + half), rel=5e-3)
        assert switch.decided == (abs(effect) > half)


def test_a_single_one_has_students_interval(found: Findings) -> None:
    (switch,) = switches(replace(found, trials=found.trials[:2]))
    expected = stats.ttest_ind(found.scores(1, switch.phase), found.scores(0, switch.phase)).confidence_interval()
    width = expected.high - expected.low
    assert (switch.effect.low, switch.effect.high) == pytest.approx(tuple(expected), abs=1e-3 * width)


def test_of_one_that_failed_on_a_seed_its_survivors_say_nothing(found: Findings) -> None:
    survived = tuple(
        replace(run, state="failed", score=None, scores=()) if (run.phase, run.seed) == ("tuning", 2) else run
        for run in found.runs[1]
    )
    first, last = switches(replace(found, runs={**found.runs, 1: survived}))
    assert (first.trial, first.failed) == (2, 0)
    assert (last.trial, last.failed, last.seeds, last.decided) == (1, 1, 2, False)
    assert np.isnan(last.effect.value)
    assert last.to_dict()["effect"]["value"] is None
    untested = tuple(run for run in survived if run.phase == "tuning")
    (alone,) = switches(replace(found, trials=found.trials[:2], runs={**found.runs, 1: untested}))
    assert (alone.trial, alone.failed) == (1, 1)
    lost = tuple(replace(run, state="failed", score=None, scores=()) for run in found.runs[0])
    assert switches(replace(found, runs={**found.runs, 0: lost})) == []


def test_every_report_shows_them(found: Findings, folder: Path) -> None:
    storage, html = f"sqlite:///{folder}/study.db", folder / "report.html"
    run = CliRunner().invoke
    printed = run(app, ["report", "small", "--storage", storage], env={"COLUMNS": "100"}).stdout
    assert "gamma: 0.95" in printed
    assert run(app, ["report", "small", "--storage", storage, "--html", str(html)]).exit_code == 0
    assert "gamma: 0.95" in html.read_text()
    data = json.loads(run(app, ["report", "small", "--storage", storage, "--format", "json"]).stdout)
    assert data["switches"] == [json.loads(json.dumps(switch.to_dict())) for switch in switches(found)]


def test_once_all_were_tested_it_is_the_test_seeds_that_count(tmp_path: Path) -> None:
    spec = load(tmp_path, ENQUEUE, "budget={trials: 3, steps_per_run: 64}")
    conduct(spec, ignore)

    def phases() -> set[tuple[str, int]]:
        with Reader(spec.storage) as reader:
            return {(switch.phase, switch.seeds) for switch in switches(gather(reader, "small"))}

    assert phases() == {("tuning", 2)}
    retest(spec, [1, 2], ignore)
    assert phases() == {("test", 3)}


def test_a_study_that_asked_for_nothing_says_nothing(tmp_path: Path) -> None:
    write(tmp_path)
    conduct(load(tmp_path, "budget.trials=2"), ignore)
    with Reader(f"sqlite:///{tmp_path}/study.db") as reader:
        assert switches(gather(reader, "small")) == []
