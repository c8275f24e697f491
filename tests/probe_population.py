"""A stand-in for training whose best learning rate decays: what a population does with it has a known answer."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from autorl.optimizers.protocol import WAIT, Method, Question
from autorl.spec.space import Configuration, Numeric, Parameter, SearchSpace
from autorl.trial import Proposal, TrialResult

POINTS = tuple(range(100, 1001, 100))
RATE = Parameter("rate", Numeric(1e-5, 1e-1, log=True), "rate")
OTHER = Parameter("other", Numeric(0.0, 1.0), "other")
SPACE = SearchSpace((RATE, OTHER))

Rise = Callable[[Configuration, int], float]


def decaying(config: Configuration, end: int) -> float:
    """Return what an interval up to `end` gains: the best rate falls from 1e-2 to 1e-4."""
    best = -2 - 2 * (end - 100) / 900
    return 1 - (math.log10(config.values["rate"]) - best) ** 2


@dataclass
class Trained:
    """What a population did.

    Attributes:
        proposals: in order.
        values: of each, its value.
        parents: trial → the trial it was forked from, or None.
        needed: before each proposal, the trials whose checkpoints were kept.
        spent: environment steps.
        ended: whether the optimizer had nothing left to propose.
    """

    proposals: list[Proposal] = field(default_factory=list)
    values: list[float | None] = field(default_factory=list)
    parents: dict[int, int | None] = field(default_factory=dict)
    needed: list[set[int]] = field(default_factory=list)
    spent: int = 0
    ended: bool = False

    def lineage(self, trial: int | None) -> list[int]:
        """Return a trial's ancestors and itself, the first one first."""
        return [] if trial is None else [*self.lineage(self.parents[trial]), trial]

    def schedule(self, trial: int, name: str) -> list[float]:
        """Return the value of a parameter in each interval of a trial's life, its ancestors' included."""
        found = {
            p.until: p.config.values[name] for one in self.lineage(trial) for p in self.proposals if p.trial == one
        }
        return [found[until] for until in sorted(found)]

    def winner(self) -> int:
        """Return the best trial of those trained to the end."""
        full = [(v, p.trial) for p, v in zip(self.proposals, self.values, strict=True) if v and p.until == POINTS[-1]]
        return max(full)[1]


def train(
    method: Method,
    rise: Rise = decaying,
    space: SearchSpace = SPACE,
    seed: int = 0,
    seeds: tuple[int, ...] = (0,),
    budget: int | None = None,
    direction: Any = "maximize",
    count: int = 10_000,
    fail: Callable[[Proposal], bool] = lambda proposal: False,
    first: Configuration | None = None,
    **options: Any,
) -> Trained:
    """Let an optimizer train a population, each proposal told before the next is asked for.

    Args:
        method: the optimizer.
        rise: what an interval adds to the value of the checkpoint it starts from.
        space: the search space.
        seed: of the proposals.
        seeds: the tuning seeds.
        budget: in environment steps, or None.
        direction: what is better.
        count: proposals at most.
        fail: which proposals fail.
        first: configuration of the first trial, in place of the proposed one.
        options: of the optimizer.
    """
    question = Question(space, seeds, POINTS, direction, seed, budget, 10, method.options(**options))
    optimizer = method.make(question)
    done = Trained()
    skill: dict[int, tuple[float, int]] = {}
    for number in range(count):
        proposal = optimizer.ask(number)
        assert proposal is not WAIT
        if proposal is None:
            done.ended = True
            break
        if number == 0 and first is not None:
            proposal = replace(proposal, config=first)
        done.needed.append(set(optimizer.needed()))
        source = proposal.resume_from
        value, reached = skill[source] if source is not None else (0.0, 0)
        optimizer.take(number, proposal)
        done.parents.setdefault(proposal.trial, source)
        done.proposals.append(proposal)
        done.spent += (proposal.until - reached) * len(proposal.seeds)
        value += sum(rise(proposal.config, end) for end in POINTS if reached < end <= proposal.until)
        skill[proposal.trial] = (value, proposal.until)
        told = None if fail(proposal) else value if direction == "maximize" else -value
        done.values.append(told)
        optimizer.tell(number, TrialResult(told))
    return done
