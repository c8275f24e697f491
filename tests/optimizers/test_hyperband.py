"""Hyperband has the brackets of its paper, and BOHB's model finds what is good."""

from __future__ import annotations

import time

import numpy as np
import pytest
from conformance.optimizers import SEEDS, SPACE, Drive, OptimizerConformance, drive, question, result_of, score
from scipy.stats import gaussian_kde

from autorl.optimizers.brackets import bracket_sizes
from autorl.optimizers.hyperband import BOHB, HYPERBAND, Bohb
from autorl.optimizers.kernel_density import KernelDensity
from autorl.optimizers.optuna_samplers import RANDOM
from autorl.optimizers.protocol import Method, Question
from autorl.trial import Proposal, TrialResult


class TestHyperband(OptimizerConformance):
    @pytest.fixture
    def method(self) -> Method:
        return HYPERBAND


class TestBohb(OptimizerConformance):
    @pytest.fixture
    def method(self) -> Method:
        return BOHB


TABLE = [[81, 27, 9, 3, 1], [34, 11, 3, 1], [15, 5, 1], [8, 2], [5]]


def test_brackets_are_those_of_the_paper() -> None:
    """Li et al. 2018, table 1: R = 81, η = 3."""
    assert bracket_sizes(5, 3) == TABLE


@pytest.mark.parametrize(("fidelities", "factor"), [(2, 2), (3, 3), (4, 4), (6, 2)])
def test_brackets_are_those_of_smac(fidelities: int, factor: int) -> None:
    utils = pytest.importorskip("smac.intensifier.hyperband_utils")
    theirs = utils.determine_HB(eta=factor, min_budget=1, max_budget=factor ** (fidelities - 1))
    assert bracket_sizes(fidelities, factor) == list(theirs["n_configs_in_stage"].values())


def paper() -> Question:
    options = HYPERBAND.options(min_fraction=1 / 81, seeds=1)
    return Question(SPACE, SEEDS, tuple(range(1, 82)), "maximize", 0, options=options)


def test_a_round_trains_what_the_table_says_and_pays_for_differences() -> None:
    optimizer = HYPERBAND.make(paper())
    rungs: list[int] = []
    reached: dict[int, int] = {}
    steps = 0
    for number in range(sum(map(sum, TABLE))):
        proposal = optimizer.ask(number)
        assert isinstance(proposal, Proposal)
        optimizer.take(number, proposal)
        steps += proposal.until - reached.get(proposal.trial, 0)
        reached[proposal.trial] = proposal.until
        rungs.append(proposal.until)
        optimizer.tell(number, TrialResult(score(proposal.config)))
    expected = [3**k for s, sizes in enumerate(TABLE) for k, n in enumerate(sizes, s) for _ in range(n)]
    assert rungs == expected
    # By bracket: n_0 r_0 + Σ n_i (r_i - r_{i-1}); without going on from checkpoints it would be 1902.
    costs = [sum(n * (3**k - 3 ** (k - 1) * (k > s)) for k, n in enumerate(sizes, s)) for s, sizes in enumerate(TABLE)]
    assert steps == sum(costs) == 1581
    assert list(optimizer.needed()) == []


def test_the_best_of_a_rung_are_promoted() -> None:
    run = drive(HYPERBAND, count=13, pending=0)
    values = [result_of(p).value for p in run.proposals]
    for start, size, promoted in ((0, 9, 3), (9, 3, 1)):
        rung = sorted(range(start, start + size), key=lambda n: -(values[n] or 0))[:promoted]
        after = run.proposals[start + size : start + size + promoted]
        assert [run.proposals[n].trial for n in rung] == [p.trial for p in after]


def test_brackets_overlap_so_that_nothing_waits() -> None:
    optimizer = HYPERBAND.make(question(HYPERBAND))
    untils = []
    for number in range(9 + 5 + 3 + 9):
        proposal = optimizer.ask(number)
        assert isinstance(proposal, Proposal)
        optimizer.take(number, proposal)
        untils.append(proposal.until)
    assert untils == [100] * 9 + [300] * 5 + [1000] * 3 + [100] * 9


def test_the_oldest_bracket_goes_first() -> None:
    run = drive(HYPERBAND, count=14, pending=1)
    assert [p.until for p in run.proposals] == [100] * 9 + [300] * 4 + [300]
    assert [p.resume_from is None for p in run.proposals[9:]] == [True, False, False, False, True]


@pytest.mark.parametrize("method", [HYPERBAND, BOHB])
def test_failed_trials_are_not_promoted(method: Method) -> None:
    run = Drive(method.make(question(method)), 2, fail=lambda number: number % 3 != 0).go(80)
    for number, proposal in enumerate(run.proposals):
        if number % 3 != 0:
            assert all(p.trial != proposal.trial for p in run.proposals[number + 1 :])


def test_a_bracket_whose_runs_all_failed_is_over() -> None:
    run = Drive(HYPERBAND.make(question(HYPERBAND)), 0, fail=lambda number: number < 9).go(12)
    assert [p.until for p in run.proposals] == [100] * 9 + [300] * 3
    assert all(p.resume_from is None for p in run.proposals)


@pytest.mark.parametrize("method", [HYPERBAND, BOHB])
@pytest.mark.parametrize("pending", [0, 3])
def test_what_is_given_up_is_never_resumed(method: Method, pending: int) -> None:
    optimizer = method.make(question(method))
    run = Drive(optimizer, pending, fail=lambda number: number % 5 == 1)
    lost: set[int] = set()
    for _ in range(100):
        run.go(1)
        assert run.proposals[-1].resume_from not in lost
        needed = set(optimizer.needed())
        assert not needed & lost
        lost |= set(run.trials) - needed - {p.trial for p in run.proposals[run._told :]}
        assert len(needed) <= 9 + 5 + 3


def late(method: Method, seed: int, count: int) -> float:
    """Return the mean score of the last ten configurations."""
    configs = list(drive(method, seed, count).trials.values())[-10:]
    return float(np.mean([score(config) for config in configs]))


def test_late_proposals_of_bohb_are_better_than_random() -> None:
    gains = [late(BOHB, seed, 60) - late(RANDOM, seed, 40) for seed in range(5)]
    assert np.mean(gains) > 0.5
    assert sum(gain > 0 for gain in gains) >= 4


def test_bohb_that_is_always_random_is_hyperband() -> None:
    assert drive(BOHB, random_fraction=1.0).proposals == drive(HYPERBAND).proposals
    # Nine results are enough for six parameters; the tenth configuration is the model's.
    modelled, plain = (
        drive(BOHB, random_fraction=0.0, count=14, pending=0).trials,
        drive(HYPERBAND, count=14, pending=0).trials,
    )
    assert [modelled[t] == plain[t] for t in range(10)] == [True] * 9 + [False]


def test_bohb_learns_from_the_largest_fidelity_that_has_enough() -> None:
    """What is good in short runs is bad in long ones; once enough of these are known, proposals move there."""
    configs = list(drive(RANDOM, 0, 40).trials.values())
    rates = []
    for known in (8, 9):
        optimizer = Bohb(question(BOHB, random_fraction=0.0))
        for number, config in enumerate(configs):
            rate = float(np.log10(config.values["rate"]))
            optimizer.learn(Proposal(number, config, SEEDS, 100), rate)
            if number < known:
                optimizer.learn(Proposal(number, config, SEEDS, 1000), -rate)
        rates.append(np.mean([np.log10(optimizer.choose(number).values["rate"]) for number in range(20)]))
    assert rates[0] > -2.5
    assert rates[1] < -3.5


def test_densities_of_numbers_are_those_of_scipy() -> None:
    data, places = np.random.default_rng(0).random((2, 30, 1))
    density = KernelDensity(data, np.array([0]))
    theirs = gaussian_kde(data[:, 0], bw_method=float(density.bandwidths[0] / data.std(ddof=1)))
    assert density.log(places) == pytest.approx(theirs.logpdf(places[:, 0]))
    assert density.bandwidths[0] == pytest.approx(1.06 * data.std() * 30 ** (-1 / 5))


def test_probabilities_of_choices_are_those_of_their_draws() -> None:
    data = np.array([[0.0], [0.0], [0.0], [1.0], [2.0]])
    density = KernelDensity(data, np.array([4]))
    probabilities = np.exp(density.log(np.arange(4.0)[:, None]))
    assert probabilities.sum() == pytest.approx(1)
    h = density.bandwidths[0]
    assert probabilities[3] == pytest.approx(h / 3)
    assert probabilities[0] == pytest.approx(0.6 * (1 - h) + 0.4 * h / 3)
    drawn = density.draw(20_000, 3.0, np.random.default_rng(0))[:, 0].astype(int)
    assert np.bincount(drawn) / 20_000 == pytest.approx(probabilities, abs=0.02)


def test_draws_of_numbers_stay_inside_and_as_wide_as_told() -> None:
    density = KernelDensity(np.array([[0.48], [0.5], [0.52]]), np.array([0]))
    narrow, wide = (density.draw(5_000, widen, np.random.default_rng(0)) for widen in (1.0, 10.0))
    assert narrow.std() == pytest.approx(np.hypot(density.bandwidths[0], 0.0163), rel=0.05)
    assert wide.std() == pytest.approx(np.hypot(10 * density.bandwidths[0], 0.0163), rel=0.05)
    edge = KernelDensity(np.array([[0.0], [1.0]]), np.array([0])).draw(1_000, 3.0, np.random.default_rng(0))
    assert ((edge >= 0) & (edge <= 1)).all()


def test_proposals_of_bohb_stay_quick() -> None:
    optimizer = BOHB.make(question(BOHB, random_fraction=0.0))
    random = HYPERBAND.make(question(HYPERBAND))
    for number in range(1000):
        proposal = random.ask(number)
        assert isinstance(proposal, Proposal)
        for each in (random, optimizer):
            each.take(number, proposal)
            each.tell(number, result_of(proposal))
    begun = time.process_time()
    for number in range(1000, 1005):
        optimizer.ask(number)
    assert time.process_time() - begun < 5 * 0.5
