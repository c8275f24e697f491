"""DEHB begins with successive halving, then evolves its subpopulations."""

from __future__ import annotations

import time

import numpy as np
import pytest
from conformance.optimizers import SEEDS, Drive, OptimizerConformance, drive, question, result_of, score

from autorl.optimizers.dehb import DEHB, cross, mutate
from autorl.optimizers.hyperband import HYPERBAND
from autorl.optimizers.optuna_samplers import RANDOM
from autorl.optimizers.protocol import Method
from autorl.trial import Proposal


class TestDehb(OptimizerConformance):
    @pytest.fixture
    def method(self) -> Method:
        return DEHB


def test_mutants_are_a_parent_and_a_difference() -> None:
    rng = np.random.default_rng(0)
    a, b, c = np.array([0.5, 0.9, 0.1]), np.array([0.6, 0.9, 0.1]), np.array([0.2, 0.1, 0.9])
    mutant = mutate(a, b, c, 0.5, rng)
    assert mutant[0] == pytest.approx(0.7)
    assert mutant[1] != pytest.approx(1.3)
    assert ((mutant >= 0) & (mutant <= 1)).all()


def test_crossover_takes_each_dimension_with_its_probability() -> None:
    rng = np.random.default_rng(0)
    target, mutant = np.zeros(20_000), np.ones(20_000)
    assert cross(target, mutant, 0.3, rng).mean() == pytest.approx(0.3, abs=0.02)
    assert all(cross(target[:4], mutant[:4], 0.0, rng).sum() == 1 for _ in range(20))
    assert (cross(target, mutant, 1.0, rng) == mutant).all()


def test_the_first_bracket_is_successive_halving() -> None:
    ours, plain = drive(DEHB, count=13, pending=0), drive(HYPERBAND, count=13, pending=0)
    assert ours.proposals == plain.proposals
    assert ours.steps == len(SEEDS) * (9 * 100 + 3 * 200 + 1 * 700)


def test_later_brackets_fill_what_is_empty_and_challenge_what_is_not() -> None:
    # Subpopulations of 9, 5 and 3; the second bracket has 5 and 1 proposals, the third 3.
    run = drive(DEHB, count=13 + 6 + 3 + 13, pending=0)
    second = run.proposals[13:19]
    assert [p.until for p in second] == [300] * 5 + [1000]
    assert [p.resume_from is None for p in second] == [True] * 5 + [False]
    third = run.proposals[19:22]
    assert [p.until for p in third] == [1000] * 3
    again = run.proposals[22:]
    assert [p.until for p in again] == [100] * 9 + [300] * 3 + [1000]
    assert all(p.resume_from is None for p in again)


def value(proposal: Proposal) -> float:
    found = result_of(proposal).value
    assert found is not None
    return found


def test_offspring_are_of_the_best_below() -> None:
    """With crossover 1 and a small factor, offspring are next to their first parent."""
    run = drive(DEHB, count=35, pending=0, crossover=1.0, mutation_factor=1e-3)
    offspring = run.proposals[31:34]
    assert {p.until for p in offspring} == {300}
    # The trial that started a place, or the offspring that challenged it.
    places = [max(pair, key=value) for pair in zip(run.proposals[:9], run.proposals[22:31], strict=True)]
    rates = [p.config.values["rate"] for p in sorted(places, key=value)[-3:]]
    for child in offspring:
        assert min(abs(np.log(child.config.values["rate"] / rate)) for rate in rates) < 0.01


def test_failed_trials_are_not_promoted_and_have_no_offspring() -> None:
    run = Drive(DEHB.make(question(DEHB)), 2, fail=lambda number: number % 3 != 0).go(80)
    for number, proposal in enumerate(run.proposals):
        if number % 3 != 0:
            assert all(p.trial != proposal.trial for p in run.proposals[number + 1 :])


@pytest.mark.parametrize("pending", [0, 3])
def test_what_is_given_up_is_never_resumed(pending: int) -> None:
    optimizer = DEHB.make(question(DEHB))
    run = Drive(optimizer, pending, fail=lambda number: number % 5 == 1)
    lost: set[int] = set()
    for _ in range(100):
        run.go(1)
        assert run.proposals[-1].resume_from not in lost
        needed = set(optimizer.needed())
        assert not needed & lost
        lost |= set(run.trials) - needed - {p.trial for p in run.proposals[run._told :]}
    assert len(needed) < 10


def test_what_was_trained_in_its_place_counts_as_it_is() -> None:
    """A replaced configuration is a parent with its own vector, on whichever path the state was reached."""
    first = drive(DEHB, 1, 40)
    fixed = list(drive(RANDOM, 5, 6).trials.values())
    run = Drive(DEHB.make(question(DEHB)), 2, fixed).go(40)
    again = Drive(DEHB.make(question(DEHB)), 2, fixed)
    again.restore(run.proposals[:20], run.known[:20])
    assert again.go(20).proposals == run.proposals
    assert run.proposals != first.proposals


def test_late_proposals_are_better_than_random() -> None:
    gains = []
    for seed in range(5):
        evolved = list(drive(DEHB, seed, 100).trials.values())[-15:]
        random = list(drive(RANDOM, seed, 40).trials.values())[-15:]
        gains.append(float(np.mean([score(c) for c in evolved]) - np.mean([score(c) for c in random])))
    assert np.mean(gains) > 0.5
    assert sum(gain > 0 for gain in gains) >= 4


def test_proposals_stay_quick() -> None:
    optimizer = DEHB.make(question(DEHB))
    for number in range(1000):
        proposal = optimizer.ask(number)
        assert isinstance(proposal, Proposal)
        optimizer.take(number, proposal)
        optimizer.tell(number, result_of(proposal))
    begun = time.process_time()
    for number in range(1000, 1010):
        optimizer.ask(number)
    assert time.process_time() - begun < 1.0
