"""What every optimizer promises. A test module makes a class of its own from `OptimizerConformance`."""

from __future__ import annotations

import math

from autorl.optimizers.protocol import Factory, Optimizer, Question
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
TRIALS = 30


def question(seed: int = 0) -> Question:
    """Return a question about a space with every kind of parameter."""
    return Question(SPACE, (0, 1, 2), 1000, "maximize", seed)


def score(config: Configuration) -> float:
    """Return the value of a configuration: best at rate 1e-3, discount 0.99."""
    distance = (math.log10(config.values["rate"]) + 3) ** 2 + 50 * (config.values["discount"] - 0.99) ** 2
    return -distance - 0.1 * bool(config.values["clip"])


def drive(optimizer: Optimizer, start: int, end: int, pending: int) -> list[Proposal]:
    """Ask from one number to another, telling what the protocol allows: all trials but the last `pending`."""
    proposals: list[Proposal] = []
    for number in range(start, end):
        if start <= number - 1 - pending:
            optimizer.tell(number - 1 - pending, TrialResult(score(proposals[number - 1 - pending - start].config)))
        proposal = optimizer.ask(number)
        assert proposal is not None
        proposals.append(proposal)
    return proposals


class OptimizerConformance:
    """Give `factory` as a fixture."""

    def test_proposals_lie_in_the_space_and_ask_for_what_the_question_asks(self, factory: Factory) -> None:
        for proposal in drive(factory(question()), 0, TRIALS, pending=1):
            assert SPACE.build(lambda p, c=proposal.config: c.coordinates[p.name]) == proposal.config
            assert proposal.config.inside
            assert ("by" in proposal.config.values) == proposal.config.values["clip"]
            assert set(proposal.seeds) <= {0, 1, 2}
            assert 0 < proposal.until <= 1000

    def test_the_seed_decides(self, factory: Factory) -> None:
        assert drive(factory(question(1)), 0, TRIALS, 1) == drive(factory(question(1)), 0, TRIALS, 1)
        assert drive(factory(question(1)), 0, TRIALS, 1) != drive(factory(question(2)), 0, TRIALS, 1)

    def test_proposals_differ(self, factory: Factory) -> None:
        found = [dict(p.config.values) for p in drive(factory(question()), 0, TRIALS, 1)]
        assert all(a != b for i, a in enumerate(found) for b in found[:i])

    def test_a_study_that_goes_on_proposes_what_it_would_have(self, factory: Factory) -> None:
        whole = drive(factory(question()), 0, TRIALS, pending=1)
        for cut in (1, 5, 12, 25):
            optimizer = factory(question())
            for number in range(cut):
                if number >= 2:
                    optimizer.tell(number - 2, TrialResult(score(whole[number - 2].config)))
                optimizer.restore(number, whole[number])
            rest = []
            for number in range(cut, TRIALS):
                if number >= 2:
                    optimizer.tell(number - 2, TrialResult(score(whole[number - 2].config)))
                rest.append(optimizer.ask(number))
            assert rest == whole[cut:]

    def test_failed_trials_and_a_default_outside_the_space_are_borne(self, factory: Factory) -> None:
        optimizer = factory(question())
        outside = Configuration({"rate": 0.5, "discount": 0.99, "net": [64], "clip": False}, {"discount": 0.01})
        optimizer.restore(0, Proposal(outside, (0, 1, 2), 1000))
        optimizer.tell(0, TrialResult(3.0))
        for number in range(1, TRIALS):
            proposal = optimizer.ask(number)
            assert proposal is not None
            optimizer.tell(number, TrialResult(None if number % 3 == 0 else score(proposal.config)))

    def test_independent_means_independent(self, factory: Factory) -> None:
        optimizer = factory(question())
        if optimizer.independent:
            told = drive(factory(question()), 0, TRIALS, pending=0)
            assert [optimizer.ask(number) for number in range(TRIALS)] == told
