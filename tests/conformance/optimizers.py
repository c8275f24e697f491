"""What every optimizer promises. A test module makes a class of its own from `OptimizerConformance`."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from autorl.optimizers.protocol import WAIT, Method, Optimizer, Question
from autorl.spec.space import Choice, Configuration, Numeric, Parameter, SearchSpace
from autorl.trial import Proposal, TrialResult

SPACE = SearchSpace(
    (
        Parameter("rate", Numeric(1e-5, 1e-1, log=True), "rate"),
        Parameter("discount", Numeric(1e-3, 0.1, log=True), "discount", transform="one_minus"),
        Parameter("batch", Numeric(3, 8, integer=True), "batch", transform="power_of_two"),
        Parameter("net", Choice(([64], [64, 64], "large")), "net"),
        Parameter("clip", Choice((False, True)), "clip"),
        Parameter("by", Numeric(0.1, 1.0), "by", when=(("clip", (True,)),)),
    )
)
SEEDS = (0, 1, 2)
POINTS = tuple(range(100, 1001, 100))
COUNT = 40


def question(method: Method, seed: int = 0, budget: int | None = None, **options: Any) -> Question:
    """Return a question about a space with every kind of parameter."""
    return Question(SPACE, SEEDS, POINTS, "maximize", seed, budget, 10, method.options(**options))


def score(config: Configuration) -> float:
    """Return the value of a configuration: best at rate 1e-3, discount 0.99."""
    distance = (math.log10(config.values["rate"]) + 3) ** 2 + 50 * (config.values["discount"] - 0.99) ** 2
    return -distance - 0.1 * bool(config.values["clip"])


def curve(config: Configuration, seed: int, until: int) -> tuple[tuple[int, float], ...]:
    """Return a learning curve: it rises from -10 to the configuration's value, with noise by seed and configuration."""
    noise = np.random.default_rng([seed, int(abs(score(config)) * 1e9)]).normal(0, 0.1, len(POINTS))
    rise = 1 - np.exp(-3 * np.array(POINTS) / POINTS[-1])
    values = -10 + (score(config) + 10) * rise / rise[-1] + noise
    return tuple((p, float(v)) for p, v in zip(POINTS, values, strict=True) if p <= until)


def result_of(proposal: Proposal) -> TrialResult:
    """Return what training a proposal gives."""
    curves = {seed: curve(proposal.config, seed, proposal.until) for seed in proposal.seeds}
    return TrialResult(float(np.mean([c[-1][1] for c in curves.values()])), curves)


@dataclass
class Drive:
    """Does what the engine does: asks, takes and tells in order, with so many proposals unknown at each ask.

    Attributes:
        proposals: those that were taken.
        diverge: the numbers of proposals that diverge, as a function.
        known: of each, how many results it knew.
        trials: trial → its configuration.
        reached: (trial, seed) → environment steps.
        steps: environment steps that all proposals take.
        ended: whether the optimizer had nothing left to try.
    """

    optimizer: Optimizer
    pending: int = 1
    fixed: Sequence[Configuration] = ()
    fail: Any = None
    diverge: Any = None
    proposals: list[Proposal] = field(default_factory=list)
    known: list[int] = field(default_factory=list)
    trials: dict[int, Configuration] = field(default_factory=dict)
    reached: dict[tuple[int, int], int] = field(default_factory=dict)
    steps: int = 0
    ended: bool = False
    _told: int = 0
    _worst: float | None = None

    def restore(self, proposals: Sequence[Proposal], known: Sequence[int]) -> None:
        """Go on from recorded proposals."""
        for proposal, told in zip(proposals, known, strict=True):
            self._tell(told)
            self._take(proposal)

    def go(self, count: int) -> Drive:
        """Take so many proposals more, unless the optimizer ends."""
        for _ in range(count):
            number = len(self.proposals)
            self._tell(number - self.pending)
            while (proposal := self.optimizer.ask(number)) is WAIT:
                assert self._told < number, "waits for results of which there are none"
                self._tell(self._told + 1)
            if proposal is None:
                self.ended = True
                break
            if proposal.trial == len(self.trials) < len(self.fixed):
                proposal = replace(proposal, config=self.fixed[proposal.trial])
            self._check(proposal)
            self._take(proposal)
        return self

    def finish(self) -> Drive:
        """Tell all results that have not been told."""
        self._tell(len(self.proposals))
        return self

    def _take(self, proposal: Proposal) -> None:
        self.known.append(self._told)
        self.optimizer.take(len(self.proposals), proposal)
        self.proposals.append(proposal)
        self.trials.setdefault(proposal.trial, proposal.config)
        for seed in proposal.seeds:
            start = self.reached.get((proposal.resume_from, seed), 0) if proposal.resume_from is not None else 0
            self.steps += proposal.until - start
            self.reached[proposal.trial, seed] = proposal.until

    def _tell(self, count: int) -> None:
        while self._told < count:
            proposal = self.proposals[self._told]
            result = result_of(proposal)
            if self.fail is not None and self.fail(self._told):
                result = TrialResult(None, failed=proposal.seeds)
            elif self.diverge is not None and self.diverge(self._told):
                result = TrialResult(self._worst, failed=proposal.seeds)
            elif result.value is not None:
                self._worst = min(result.value, math.inf if self._worst is None else self._worst)
            self.optimizer.tell(self._told, result)
            self._told += 1

    def _check(self, proposal: Proposal) -> None:
        assert proposal.until in POINTS
        assert proposal.seeds
        assert set(proposal.seeds) <= set(SEEDS)
        assert len(set(proposal.seeds)) == len(proposal.seeds)
        if proposal.trial in self.trials:
            assert proposal.config == self.trials[proposal.trial]
            assert proposal.resume_from == proposal.trial
        else:
            assert proposal.trial == len(self.trials)
            config = proposal.config
            if proposal.trial >= len(self.fixed):
                assert config.inside
                assert SPACE.build(lambda p: config.coordinates[p.name]) == config
        if proposal.resume_from is not None:
            assert proposal.resume_from in self.optimizer.needed()
            known = {t for p in self.proposals[: self._told] for t in [p.trial]}
            assert proposal.resume_from in known
            for seed in proposal.seeds:
                assert self.reached.get((proposal.resume_from, seed), 0) < proposal.until


def proposals(optimizer: Optimizer, count: int, result: Callable[[Proposal], TrialResult]) -> list[Proposal]:
    """Ask, take and tell one after the other, over whatever space, until there is nothing left or so many times."""
    found: list[Proposal] = []
    while len(found) < count and (proposal := optimizer.ask(len(found))) is not None:
        assert isinstance(proposal, Proposal)
        optimizer.take(len(found), proposal)
        optimizer.tell(len(found), result(proposal))
        found.append(proposal)
    return found


def drive(method: Method, seed: int = 0, count: int = COUNT, pending: int = 1, **options: Any) -> Drive:
    """Drive a new optimizer for so many proposals."""
    return Drive(method.make(question(method, seed, **options)), pending).go(count)


class OptimizerConformance:
    """Give `method` as a fixture, and what does not hold as attributes."""

    repeats = False
    """Whether configurations may come up twice."""

    def test_proposals_are_valid_whatever_is_pending(self, method: Method) -> None:
        for pending in (0, 1, 4, COUNT):  # with several lanes a worker, all of a short study may be asked for at once
            whole = drive(method, pending=pending)
            assert len(whole.proposals) == COUNT or whole.ended
            assert ("by" in whole.proposals[-1].config.values) == whole.proposals[-1].config.values["clip"]

    def test_the_seed_decides(self, method: Method) -> None:
        assert drive(method, 1).proposals == drive(method, 1).proposals
        assert drive(method, 1).proposals != drive(method, 2).proposals

    def test_trials_differ(self, method: Method) -> None:
        found = [dict(config.values) for config in drive(method).trials.values()]
        assert self.repeats or all(a != b for i, a in enumerate(found) for b in found[:i])

    def test_a_study_that_goes_on_proposes_what_it_would_have(self, method: Method) -> None:
        for pending in (0, 2):
            whole = drive(method, pending=pending)
            for cut in (1, 5, 12, 25):
                again = Drive(method.make(question(method)), pending)
                again.restore(whole.proposals[:cut], whole.known[:cut])
                again.go(COUNT - min(cut, len(whole.proposals)))
                assert again.proposals == whole.proposals
                assert again.known == whole.known

    def test_failures_and_a_default_outside_the_space_are_borne(self, method: Method) -> None:
        values = {"rate": 0.5, "discount": 0.99, "net": [64], "clip": False}
        outside = Configuration(values, {"discount": 0.01, "net": "[64]", "clip": False})
        whole = Drive(method.make(question(method)), 1, [outside], lambda number: number % 3 == 2).go(COUNT).finish()
        assert whole.trials[0] == outside

    def test_a_study_in_which_everything_fails_goes_on(self, method: Method) -> None:
        whole = Drive(method.make(question(method)), 1, fail=lambda _: True).go(COUNT).finish()
        assert len(whole.proposals) == COUNT or whole.ended

    def test_what_diverged_is_neither_continued_nor_forked(self, method: Method) -> None:
        for every in (2, 3):
            diverge = frozenset(range(1, COUNT, every)).__contains__
            whole = Drive(method.make(question(method)), 1, diverge=diverge).go(COUNT).finish()
            for proposal, known in zip(whole.proposals, whole.known, strict=True):
                lost = {whole.proposals[number].trial for number in range(1, known, every)}
                assert proposal.resume_from not in lost
            assert not {p.trial for p in whole.proposals[1::every]} & set(whole.optimizer.needed())

    def test_what_reads_nothing_needs_no_results(self, method: Method) -> None:
        optimizer = method.make(question(method))
        if optimizer.reads == "nothing":
            assert Drive(optimizer, COUNT).go(COUNT).proposals == drive(method, pending=0).proposals

    def test_a_ranking_names_trials_with_their_intervals(self, method: Method) -> None:
        whole = drive(method).finish()
        standings = whole.optimizer.ranking()
        assert len({s.trial for s in standings}) == len(standings)
        for standing in standings:
            assert standing.trial in whole.trials
            assert standing.low <= standing.mean <= standing.high
        assert [s.mean for s in standings] == sorted((s.mean for s in standings), reverse=True)
