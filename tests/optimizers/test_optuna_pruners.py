"""Pruners stop the trials that Optuna's own would, and the rest is trained to the end."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import optuna
import pytest
from conformance.optimizers import POINTS, SEEDS, Drive, OptimizerConformance, curve, drive, question, result_of
from pydantic import ValidationError
from scipy import stats

from autorl.errors import AutorlError
from autorl.optimizers.optuna_pruners import PrunerSpec
from autorl.optimizers.optuna_samplers import CMA_ES, QMC, RANDOM, TPE
from autorl.optimizers.protocol import Method
from autorl.trial import Proposal, TrialResult

MEDIAN = {"name": "median", "startup_trials": 3}
WILCOXON = {"name": "wilcoxon", "p_threshold": 0.3}
HYPERBAND = {"name": "hyperband", "reduction_factor": 2}


def pruned(method: Method, **options: Any) -> Method:
    """Return a method with a pruner as its default."""
    chosen = method.options(**options)
    return Method(lambda q: method.make(replace(q, options=chosen)), method.options)


class TestTpeWithMedian(OptimizerConformance):
    @pytest.fixture
    def method(self) -> Method:
        return pruned(TPE, pruner=MEDIAN, seeds=1, startup_trials=5)


class TestRandomWithPercentile(OptimizerConformance):
    @pytest.fixture
    def method(self) -> Method:
        return pruned(RANDOM, pruner={"name": "percentile", "percentile": 40.0, "startup_trials": 2, "every": 3})


class TestCmaEsWithHyperband(OptimizerConformance):
    @pytest.fixture
    def method(self) -> Method:
        return pruned(CMA_ES, pruner=HYPERBAND)


class TestQmcWithHyperband(OptimizerConformance):
    @pytest.fixture
    def method(self) -> Method:
        return pruned(QMC, pruner=HYPERBAND)


class TestTpeWithWilcoxon(OptimizerConformance):
    @pytest.fixture
    def method(self) -> Method:
        return pruned(TPE, pruner=WILCOXON, startup_trials=5)


def ends(whole: Drive) -> dict[int, int]:
    """Return how many stages each trial was trained for."""
    found: dict[int, int] = {}
    for proposal in whole.proposals:
        found[proposal.trial] = found.get(proposal.trial, 0) + 1
    return found


def by_optuna(whole: Drive, pruner: optuna.pruners.BasePruner, steps: list[int]) -> dict[int, int]:
    """Train the same configurations in Optuna's own loop, one after another; return how many stages each got."""
    study = optuna.create_study(study_name="autorl", direction="maximize", pruner=pruner)
    found: dict[int, int] = {}
    for trial, config in whole.trials.items():
        study.tell(study.ask(), state=optuna.trial.TrialState.FAIL)  # Hyperband's brackets depend on trial numbers
        running = study.ask()
        for stage, step in enumerate(steps, 1):
            found[trial] = stage
            value = float(np.mean([curve(config, seed, POINTS[step - 1])[-1][1] for seed in SEEDS]))
            running.report(value, step)
            if step == steps[-1]:
                study.tell(running, value)
            elif running.should_prune():
                study.tell(running, state=optuna.trial.TrialState.PRUNED)
                break
    return found


@pytest.mark.parametrize(
    ("pruner", "reference", "steps"),
    [
        (MEDIAN, optuna.pruners.MedianPruner(3), list(range(1, 11))),
        ({**MEDIAN, "every": 4}, optuna.pruners.MedianPruner(3, 0, 4), [4, 8, 10]),
        ({**MEDIAN, "warmup": 5, "every": 2}, optuna.pruners.MedianPruner(3, 5, 2), [5, 7, 9, 10]),
        (
            {"name": "percentile", "percentile": 25.0, "startup_trials": 1},
            optuna.pruners.PercentilePruner(25.0, 1),
            list(range(1, 11)),
        ),
        ({"name": "hyperband"}, optuna.pruners.HyperbandPruner(1, 10, 3), [1, 3, 9, 10]),
        (HYPERBAND, optuna.pruners.HyperbandPruner(1, 10, 2), [1, 2, 4, 8, 10]),
    ],
    ids=["median", "every", "warmup", "percentile", "hyperband", "factor"],
)
def test_the_same_trials_are_stopped_as_by_optuna(
    pruner: dict[str, Any], reference: optuna.pruners.BasePruner, steps: list[int]
) -> None:
    whole = Drive(RANDOM.make(question(RANDOM, pruner=pruner)), pending=0).go(150)
    expected = by_optuna(whole, reference, steps)
    found = ends(whole)
    last = max(found)  # may still be under way
    assert {trial: n for trial, n in found.items() if trial < last} == {t: n for t, n in expected.items() if t < last}
    assert len(set(found.values())) > 1


def test_a_wilcoxon_test_stops_what_is_worse_than_the_best_on_common_seeds() -> None:
    seeds = tuple(range(8))
    asked = replace(question(RANDOM, pruner={"name": "wilcoxon"}), seeds=seeds)
    optimizer = RANDOM.make(asked)
    scores: dict[int, list[float]] = {}
    stopped: set[int] = set()
    for number in range(150):
        proposal = optimizer.ask(number)
        assert isinstance(proposal, Proposal)
        before = scores.setdefault(proposal.trial, [])
        assert proposal.seeds == (seeds[len(before)],)  # common seeds, one at a time, in full
        assert proposal.until == POINTS[-1]
        complete = {t: s for t, s in scores.items() if len(s) == len(seeds)}
        if not before and number:  # a new trial: was it right to leave the one before?
            left = scores[proposal.trial - 1]
            if len(left) < len(seeds):
                best = max((s for t, s in complete.items()), key=np.mean)
                test = stats.wilcoxon(np.array(left) - best[: len(left)], alternative="less", zero_method="zsplit")
                assert test.pvalue < 0.1
                assert np.mean(left) < np.mean(best)
                stopped.add(proposal.trial - 1)
        elif len(before) >= 2 and complete:
            best = max(complete.values(), key=np.mean)
            test = stats.wilcoxon(np.array(before) - best[: len(before)], alternative="less", zero_method="zsplit")
            assert test.pvalue >= 0.1 or np.mean(before) >= np.mean(best)
        optimizer.take(number, proposal)
        result = result_of(proposal)
        assert result.value is not None
        before.append(result.value)
        optimizer.tell(number, result)
    assert len(stopped) > 5


def test_the_way_of_rl_zoo3_can_be_written() -> None:
    # TPE, the median pruner, one seed.
    whole = drive(TPE, count=200, seeds=1, pruner={"name": "median"})
    assert {proposal.seeds for proposal in whole.proposals} == {SEEDS[:1]}
    finished = [trial for trial, stages in ends(whole).items() if stages == len(POINTS)]
    assert len(finished) >= 5
    assert len(whole.trials) > len(finished) + 10


def test_a_trial_goes_on_before_a_new_one_starts_the_oldest_first() -> None:
    optimizer = RANDOM.make(question(RANDOM, pruner={"name": "median", "startup_trials": 99}))
    taken = []
    for number in range(4):
        proposal = optimizer.ask(number)
        assert isinstance(proposal, Proposal)
        assert proposal.trial == number
        optimizer.take(number, proposal)
        taken.append(proposal)
    for number in (0, 1, 2):
        optimizer.tell(number, result_of(taken[number]))
    for number, trial in ((4, 0), (5, 1), (6, 2), (7, 4)):
        proposal = optimizer.ask(number)
        assert isinstance(proposal, Proposal)
        assert proposal.trial == trial
        assert (proposal.resume_from, proposal.until) == ((trial, 200) if trial < 3 else (None, 100))
        optimizer.take(number, proposal)


def test_checkpoints_are_needed_only_of_trials_with_stages_left() -> None:
    whole = drive(RANDOM, count=120, pruner={"name": "median", "startup_trials": 1, "every": 5})
    whole.finish()
    reached = {trial: until for (trial, _), until in whole.reached.items()}
    needed = set(whole.optimizer.needed())
    assert all(reached[trial] < 1000 for trial in needed)
    assert len(needed) <= 2
    assert sum(until == 500 for until in reached.values()) > 10


def test_failed_and_diverged_trials_do_not_go_on() -> None:
    for result in (TrialResult(None), TrialResult(-1e9, {SEEDS[0]: ((100, 0.0),)})):
        optimizer = RANDOM.make(question(RANDOM, pruner=MEDIAN))
        proposal = optimizer.ask(0)
        assert isinstance(proposal, Proposal)
        optimizer.take(0, proposal)
        optimizer.tell(0, result)
        following = optimizer.ask(1)
        assert isinstance(following, Proposal)
        assert following.trial == 1
        assert not optimizer.needed()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"name": "median", "percentile": 20.0}, "'percentile' is no option of median; its options: every, warmup"),
        ({"name": "median", "p_threshold": 0.2}, "'p_threshold' is no option of median"),
        ({"name": "none", "every": 2}, "'every' is no option of none; its options: none"),
        ({"name": "percentile"}, "percentile needs 'percentile'"),
        ({"name": "percentile", "percentile": 120.0}, "less than 100"),
        ({"name": "medium"}, "'median'"),
    ],
)
def test_a_mistake_in_the_options_is_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        PrunerSpec(**options)


@pytest.mark.parametrize(
    ("pruner", "message"),
    [
        ({"name": "median", "warmup": 10}, "after the last of the 10 evaluation points"),
        ({"name": "hyperband", "min_points": 10}, "after the last of the 10"),
        ({"name": "wilcoxon"}, "before it has had 4 seeds; a trial has 3 in all, so raise p_threshold, or give 5"),
    ],
)
def test_a_pruner_that_could_never_stop_a_trial_is_refused(pruner: dict[str, Any], message: str) -> None:
    with pytest.raises(AutorlError, match=message):
        drive(RANDOM, pruner=pruner)
