"""Racing prefers what is good, spends its budget where it tells, and says what to expect."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from conformance.optimizers import POINTS, SEEDS, Drive, OptimizerConformance, drive, proposals, question, score

from autorl.optimizers.protocol import Method
from autorl.optimizers.race import RACE
from autorl.spec.space import Choice, Parameter, SearchSpace
from autorl.trial import Proposal, TrialResult


class TestRace(OptimizerConformance):
    @pytest.fixture
    def method(self) -> Method:
        return RACE


def race(seed: int, runs: int, **changes: Any) -> Drive:
    """Drive a race to the end of a budget of so many full runs."""
    asked = question(RACE, seed, runs * POINTS[-1])
    return Drive(RACE.make(asked), **changes).go(10_000).finish()


def test_the_budget_is_kept_and_spent() -> None:
    for pending in (0, 3):
        whole = race(0, 24, pending=pending)
        assert whole.ended
        assert 0.9 * 24 * POINTS[-1] < whole.steps <= 24 * POINTS[-1]


def test_some_of_the_best_are_trained_on_all_seeds_and_most_are_not() -> None:
    whole = race(0, 48)
    finalists = {t for t in whole.trials if all(whole.reached.get((t, seed)) == POINTS[-1] for seed in SEEDS)}
    assert len(whole.trials) > 16
    assert finalists & {standing.trial for standing in whole.optimizer.ranking()[:3]}
    assert len(finalists) < 0.25 * len(whole.trials)


def test_it_finds_better_configurations_than_random_search_with_the_same_budget() -> None:
    found, at_random = [], []
    for seed in range(4):
        whole = race(seed, 36)
        found.append(score(whole.trials[whole.optimizer.ranking()[0].trial]))
        rng = np.random.default_rng(seed)
        drawn = drive(RACE, seed, 10).trials  # its first ten are random
        at_random.append(max(score(config) + rng.normal(0, 0.06) for config in drawn.values()))
    assert np.mean(found) > np.mean(at_random)
    assert np.mean(found) > -0.3


@pytest.mark.slow
def test_what_is_expected_of_the_winner_is_neither_lucky_nor_narrow() -> None:
    surprises, covered = [], []
    for seed in range(8):
        whole = race(seed, 24)
        best = whole.optimizer.ranking()[0]
        truth = score(whole.trials[best.trial])
        surprises.append(best.mean - truth)
        covered.append(best.low <= truth <= best.high)
    assert abs(np.mean(surprises)) < 0.1
    assert np.mean(covered) >= 0.75


def test_a_small_space_is_tried_once_and_then_trained_further() -> None:
    space = SearchSpace((Parameter("x", Choice((1, 2, 3, 4)), "x"),))

    def result(proposal: Proposal) -> TrialResult:
        value = float(proposal.config.values["x"])
        curve = tuple((point, value) for point in POINTS if point <= proposal.until)
        return TrialResult(value, dict.fromkeys(proposal.seeds, curve))

    found = proposals(RACE.make(replace(question(RACE, 0, 60 * POINTS[-1]), space=space)), 60, result)
    assert sorted(p.config.values["x"] for p in found if p.resume_from is None) == [1, 2, 3, 4]
    assert {p.trial for p in found if p.until == POINTS[-1]} == set(range(4))


def test_a_lost_trial_is_neither_continued_nor_ranked() -> None:
    whole = race(0, 24, fail=lambda number: number % 5 == 3)
    lost = {whole.proposals[number].trial for number in range(len(whole.proposals)) if number % 5 == 3}
    assert lost
    assert lost.isdisjoint(standing.trial for standing in whole.optimizer.ranking())
    assert lost.isdisjoint(whole.optimizer.needed())
    for trial in lost:
        asked = [n for n, proposal in enumerate(whole.proposals) if proposal.trial == trial]
        assert asked[-1] % 5 == 3 or asked[-1] - asked[-2] <= 2  # at most what was pending when it failed
