"""Studies of several objectives, and with constraints, from their file to their report."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import databases
import optuna
import pytest
from small_study import ignore, kwargs, load

from autorl.engine.conductor import conduct
from autorl.engine.front import verdicts
from autorl.engine.measures import course, due
from autorl.engine.proposals import replay
from autorl.engine.selection import rank
from autorl.errors import SpecError
from autorl.ledger.digest import digest
from autorl.ledger.reader import Reader
from autorl.ledger.records import TrialRecord
from autorl.report.export import render
from autorl.report.findings import Findings, gather
from autorl.report.sentences import sentences
from autorl.spec.space import Configuration
from autorl.trial import Point, Verdict

TWO = "objectives=[{metric: return}, {metric: return_std, direction: minimize}]"
BOUND = "constraints=[{metric: length, at_most: 1}]"


def findings(storage: str) -> Findings:
    with Reader(storage) as reader:
        return gather(reader, "small")


def test_a_study_of_two_objectives_finds_a_front_and_tests_it(tmp_path: Path) -> None:
    spec = load(tmp_path, TWO, BOUND, "optimizer={name: race, seed: 1}", "budget.trials=8")
    assert conduct(spec, ignore)
    found = findings(spec.storage)
    assert found.study.state == "finished"
    chosen = found.study.front
    assert chosen
    assert found.winner is not None
    assert found.winner.number in chosen
    tested = {number for number, runs in found.runs.items() if any(run.phase == "test" for run in runs)}
    assert tested == {0, *chosen}
    for runs in found.runs.values():
        for run in runs:
            if run.state == "completed":
                assert len(run.scores) == 3
                assert run.scores[0] == run.score
    for trial in found.trials:
        if trial.state == "completed":
            assert trial.values[0] == trial.value
            assert trial.verdict is not None
            assert trial.verdict.undominated is not None
    traded = found.front
    assert traded is not None
    assert [member.trial.number for member in traded.members[: traded.on]] == list(chosen)
    assert traded.test is not None
    assert all(len(member.test) == 2 for member in traded.members)
    (bound,) = found.kept
    assert bound.holds
    script = render(found, found.winner, "sb3")
    assert f"trial {found.winner.number}" in script
    compile(script, "exported", "exec")
    said = " ".join(sentences(found))
    assert "trade off mean return and mean return_std" in said or "trades off mean return and mean return_std" in said
    assert "Constraint mean length at most 1" in said


def test_a_trial_with_a_failed_seed_takes_nothing_off_the_front(tmp_path: Path) -> None:
    broken = kwargs(how="nan", log=str(tmp_path / "failed"), times=1)
    alone = ("execution.executor=processes", "execution.workers=1", "budget.trials=3")
    spec = load(tmp_path, "task.env=probe_envs:autorl-tests/Broken-v0", broken, TWO, *alone)
    conduct(spec, ignore)
    found = findings(spec.storage)
    (failed,) = (trial for trial in found.trials if trial.value is None)
    survived = [run for run in found.runs[failed.number] if run.phase == "tuning" and run.state == "completed"]
    assert survived
    assert failed.verdict is None
    assert all(trial.verdict is not None for trial in found.trials if trial is not failed)


def test_a_winner_that_failed_on_a_validation_seed_is_judged_by_tuning(tmp_path: Path) -> None:
    spec = load(tmp_path, BOUND, "budget.trials=3")
    assert conduct(spec, ignore)
    failing = "UPDATE autorl_run SET state = 'failed', score = NULL, scores = NULL WHERE phase = 'validation'"
    databases.execute(spec.storage, failing)
    (kept,) = findings(spec.storage).kept
    assert kept.test is not None
    assert kept.likely > 0.5


def test_optuna_opens_its_objectives_and_constraints(tmp_path: Path) -> None:
    spec = load(tmp_path, TWO, BOUND, "budget.trials=4")
    conduct(spec, ignore)
    study = optuna.load_study(study_name="small", storage=spec.storage)
    assert [direction.name for direction in study.directions] == ["MAXIMIZE", "MINIMIZE"]
    found = findings(spec.storage)
    for trial in study.trials:
        assert trial.values == list(found.trials[trial.number].values[:2])
        assert trial.constraints == {"mean length at most 1": 0.0}
    assert study.best_trials


@pytest.mark.slow
def test_one_that_is_interrupted_goes_on_as_if_it_had_not_been(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    settings = (TWO, BOUND, "optimizer={name: race, seed: 1}", "budget.trials=4")
    whole, parts = load(tmp_path / "a", *settings), load(tmp_path / "b", *settings)
    conduct(whole, ignore)
    rounds = 0
    while not conduct(parts, ignore, _after(6)):
        rounds += 1
    assert rounds > 1
    with Reader(whole.storage) as a, Reader(parts.storage) as b:
        assert digest(a, "small") == digest(b, "small")
        assert all(same for _, same in replay(b, b.study("small").spec))


def _after(steps: int) -> Callable[[], bool]:
    left = iter(range(steps))
    return lambda: next(left, None) is None


def test_what_meets_no_constraint_is_no_failure_and_is_said(tmp_path: Path) -> None:
    spec = load(tmp_path, "constraints=[{metric: length, at_most: 0.5}]", "budget.trials=4")
    conduct(spec, ignore)
    found = findings(spec.storage)
    assert {trial.state for trial in found.trials} == {"completed"}
    assert found.winner is not None
    (bound,) = found.kept
    assert (bound.likely, bound.holds) == (0.0, False)
    said = " ".join(sentences(found))
    assert "less than the 0.90 asked for: no trial was more likely to" in said
    assert "it does not hold: 1" in said


def test_an_optimizer_that_cannot_is_refused_with_those_that_can(tmp_path: Path) -> None:
    for override, what in ((TWO, "several objectives"), (BOUND, "constraints")):
        with pytest.raises(SpecError, match=f"'asha' knows no {what}; use one of .*race.*tpe"):
            load(tmp_path, override, "optimizer={name: asha}")
    with pytest.raises(SpecError, match="the study has several objectives; leave it out"):
        load(tmp_path, TWO, "budget={trials: 2, steps_per_run: 128, target: 1.0}")
    with pytest.raises(SpecError, match="unknown metric 'lenght'; did you mean 'length'"):
        load(tmp_path, "constraints=[{metric: lenght, at_most: 1}]")


def test_what_a_run_is_worth_is_its_end_its_area_or_when_it_got_there(tmp_path: Path) -> None:
    """Returns 0, 1 and 3 at 100, 200 and 300 steps; half a second of processor time for each of wall time."""
    spec = load(
        tmp_path,
        "objectives=[{metric: return}, {metric: return, over_run: area}, "
        "{metric: return, over_run: steps_to, threshold: 2, direction: minimize}, "
        "{metric: cpu_seconds, direction: minimize}]",
        "constraints=[{metric: wall_seconds, at_most: 9}]",
        "budget.steps_per_run=300",
        "evaluation.points=3",
    )
    curve = [Point(at, at / 100, {"return": value}) for at, value in ((100, 0.0), (200, 1.0), (300, 3.0))]
    never = 2.0 * spec.budget.steps_per_run
    assert course(spec, curve, 1.5) == [
        (100, (0.0, 0.0, never, 0.5, 1.0)),
        (200, (1.0, 0.5, never, 1.0, 2.0)),
        (300, (3.0, 1.25, 250.0, 1.5, 3.0)),
    ]
    # A rollout of 256 steps ends beyond two points at once, and both evaluations come after it.
    at_once = [replace(point, env_steps=steps) for point, steps in zip(curve, (256, 256, 300), strict=True)]
    assert course(spec, at_once, 1.5) == course(spec, curve, 1.5)


@pytest.mark.parametrize(
    ("steps", "points"),
    [
        ([100, 200, 300, 400], [100, 200, 300, 400]),
        ([104, 200, 304, 400], [100, 200, 300, 400]),
        ([256, 256, 512, 512], [100, 200, 300, 400]),  # rollouts of 256: two points are passed at once
        ([512, 512, 512, 512], [100, 200, 300, 400]),
        ([256, 256], [100, 200]),  # so far
        ([304, 512], [300, 400]),  # a fork, from 200 steps on
        ([], []),
    ],
)
def test_an_evaluation_counts_for_the_point_at_which_it_was_due(steps: list[int], points: list[int]) -> None:
    assert due([100, 200, 300, 400], steps) == points


def test_the_time_of_an_action_is_an_objective_that_changes_no_curve(tmp_path: Path) -> None:
    spec = load(
        tmp_path, "objectives=[{metric: return}, {metric: inference_ms, direction: minimize}]", "budget.trials=2"
    )
    conduct(spec, ignore)
    found = findings(spec.storage)
    assert all(0.0 < trial.values[1] < 100.0 for trial in found.trials)
    with Reader(spec.storage) as reader:
        (curve, *_) = reader.curves("small", [0])
    assert "inference_ms" not in curve.points[-1].metrics
    with pytest.raises(SpecError, match="unknown metric 'inference_ms'"):
        load(tmp_path, "objectives=[{metric: inference_ms, direction: minimize}]", "algorithm.backend=jax")


def test_a_target_that_breaks_a_constraint_ends_nothing(tmp_path: Path) -> None:
    budget = "budget={trials: 3, steps_per_run: 128, target: -10}"
    spec = load(tmp_path, "constraints=[{metric: length, at_most: 0.5}]", budget)
    conduct(spec, ignore)
    assert findings(spec.storage).study.ended == "the budget is spent"


def judged(number: int, value: float, verdict: Verdict | None) -> TrialRecord:
    config = Configuration({})
    return TrialRecord(number, "optimizer", config, None, 0.0, None, "completed", value, 100, 2, verdict=verdict)  # type: ignore[arg-type]


def test_what_meets_the_constraints_comes_first_and_the_likeliest_of_the_others_next() -> None:
    allowed, unlikely, never = (Verdict((p,), p > 0.9, None) for p in (0.95, 0.5, 0.1))
    trials = [judged(0, 9.0, never), judged(1, 5.0, allowed), judged(2, 8.0, None), judged(3, 7.0, unlikely)]
    assert [trial.number for trial in rank(trials, "maximize")] == [1, 2, 3, 0]
    fronts = [replace(t, verdict=Verdict((), True, p)) for t, p in zip(trials, (0.2, 0.9, 0.1, 0.6), strict=True)]
    assert [trial.number for trial in rank(fronts, "maximize")] == [1, 3, 0, 2]


def test_a_trial_that_dominates_by_breaking_a_constraint_takes_nothing_off_the_front(tmp_path: Path) -> None:
    spec = load(tmp_path, TWO, BOUND)
    scores = {0: [(1.0, 1.0, 1.0)] * 3, 1: [(2.0, 0.5, 9.0)] * 3, 2: [(0.5, 2.0, 1.0)] * 3}
    found = verdicts(spec, scores)
    assert {number: one.admissible for number, one in found.items()} == {0: True, 1: False, 2: True}
    assert {number: one.undominated for number, one in found.items()} == {0: 1.0, 1: 0.0, 2: 0.0}
