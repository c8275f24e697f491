"""ASHA promotes what is among the best of its rung, once, and pays for the difference only."""

from __future__ import annotations

import time
from typing import Literal

import numpy as np
import pytest
from conformance.optimizers import SEEDS, SPACE, Drive, OptimizerConformance, drive, question, result_of

from autorl.errors import AutorlError
from autorl.optimizers.brackets import ladder
from autorl.optimizers.halving import ASHA
from autorl.optimizers.priors import draw
from autorl.optimizers.protocol import Method, Optimizer, Question
from autorl.trial import Proposal, TrialResult


class TestAsha(OptimizerConformance):
    @pytest.fixture
    def method(self) -> Method:
        return ASHA


def told(values: list[float], direction: Literal["maximize", "minimize"] = "maximize") -> Optimizer:
    """Return an optimizer that started trials of these values at the lowest rung."""
    optimizer = ASHA.make(Question(SPACE, SEEDS, (100, 300, 1000), direction, 0, options=ASHA.options()))
    for number, value in enumerate(values):
        optimizer.take(number, Proposal(number, draw(SPACE, np.random.default_rng(number)), SEEDS, 100))
        optimizer.tell(number, TrialResult(value))
    return optimizer


def asked(optimizer: Optimizer, number: int) -> Proposal:
    proposal = optimizer.ask(number)
    assert isinstance(proposal, Proposal)
    return proposal


def test_fidelities_are_a_geometric_sequence_at_evaluation_points() -> None:
    assert ladder(question(ASHA)) == (100, 300, 1000)
    assert ladder(question(ASHA, reduction_factor=2)) == (100, 200, 400, 1000)
    assert ladder(question(ASHA, min_fraction=0.25)) == (300, 1000)
    points = tuple(range(1, 82))
    assert ladder(Question(SPACE, SEEDS, points, "maximize", 0, options=ASHA.options(min_fraction=1 / 81))) == (
        1, 3, 9, 27, 81,
    )  # fmt: skip


@pytest.mark.parametrize("options", [{"min_fraction": 0.5}, {"min_fraction": 0.3, "reduction_factor": 4}])
def test_a_study_without_short_runs_is_refused(options: dict[str, float]) -> None:
    with pytest.raises(AutorlError, match=r"optimizer.min_fraction: .* lower 'min_fraction' to at most"):
        ASHA.make(question(ASHA, **options))


def test_it_promotes_the_top_third_and_no_other() -> None:
    assert asked(told([1, 2]), 2).trial == 2
    best = asked(told([1, 3, 2]), 3)
    assert (best.trial, best.until, best.resume_from) == (1, 300, 1)
    assert asked(told([1, 3, 2], "minimize"), 3).trial == 0


def test_it_promotes_once() -> None:
    optimizer = told([1, 3, 2, 0, 0])
    optimizer.take(5, asked(optimizer, 5))
    assert asked(optimizer, 6).trial == 5
    optimizer.take(6, asked(optimizer, 6))
    optimizer.tell(5, TrialResult(3.0))
    optimizer.tell(6, TrialResult(0.0))
    assert asked(optimizer, 7).trial == 2  # the second of six


def test_the_highest_rung_goes_first() -> None:
    optimizer = told([*range(9)])
    for number in range(9, 12):
        optimizer.take(number, asked(optimizer, number))
        optimizer.tell(number, TrialResult(number))
    whole = asked(optimizer, 12)
    assert (whole.trial, whole.until) == (6, 1000)


def test_a_promotion_costs_the_difference() -> None:
    run = drive(ASHA, count=13, pending=0)
    counts = [sum(p.until == until for p in run.proposals) for until in (100, 300, 1000)]
    assert counts == [9, 3, 1]
    assert run.steps == len(SEEDS) * (9 * 100 + 3 * 200 + 1 * 700)


def test_failed_trials_are_not_promoted() -> None:
    run = Drive(ASHA.make(question(ASHA)), 1, fail=lambda number: number % 2 == 0).go(80)
    for number, proposal in enumerate(run.proposals):
        if number % 2 == 0:
            assert all(p.trial != proposal.trial for p in run.proposals[number + 1 :])


def test_fewer_seeds() -> None:
    assert {p.seeds for p in drive(ASHA, seeds=2).proposals} == {(0, 1)}
    with pytest.raises(AutorlError, match="3 tuning seeds"):
        ASHA.make(question(ASHA, seeds=4))


def kept(pending: int, budget: int | None) -> float:
    """Check that nothing that a study resumes was given up before, and return the share that it kept at its end."""
    optimizer = ASHA.make(question(ASHA, budget=budget))
    run = Drive(optimizer, pending, fail=lambda number: number % 5 == 1)
    lost: set[int] = set()
    dearest = len(SEEDS) * 700
    while len(run.proposals) < 150 and (budget is None or run.steps + dearest <= budget):
        run.go(1)
        assert run.proposals[-1].resume_from not in lost
        needed = set(optimizer.needed())
        assert not needed & lost
        lost |= set(run.trials) - needed - {p.trial for p in run.proposals[run._told :]}
    return len(needed) / len(run.trials)


@pytest.mark.parametrize("pending", [0, 3])
def test_what_is_given_up_is_never_resumed(pending: int) -> None:
    assert kept(pending, None) < 1
    assert kept(pending, 60_000) < 0.25


def test_proposals_stay_quick() -> None:
    optimizer = ASHA.make(question(ASHA, budget=10**7))
    for number in range(1000):
        proposal = asked(optimizer, number)
        optimizer.take(number, proposal)
        optimizer.tell(number, result_of(proposal))
    begun = time.process_time()
    for number in range(1000, 1010):
        optimizer.ask(number)
        optimizer.needed()
    assert time.process_time() - begun < 1.0
