"""Asynchronous successive halving over environment steps (Li et al. 2020, arXiv 1810.05934)."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from typing import Literal

import numpy as np

from autorl.optimizers.brackets import FidelityOptions, best_first, ladder
from autorl.optimizers.priors import draw
from autorl.optimizers.protocol import Method, Question
from autorl.optimizers.seeds import tuned_seeds
from autorl.spec.space import Configuration
from autorl.trial import Proposal, Standing, TrialResult


class Asha:
    """Trains further what is among the best so far, and starts a random configuration when nothing is (algorithm 2).

    A trial is promoted from its rung if it is in the top ⌊n / η⌋ of the n results there and was not promoted yet; the
    highest rung with such a trial goes first. Nothing ever waits. Failed trials do not count; those that diverged do,
    and are passed over.
    """

    reads: Literal["nothing", "values", "curves"] = "values"

    def __init__(self, question: Question) -> None:
        options: FidelityOptions = question.options
        self._question, self._factor = question, options.reduction_factor
        self._ladder = ladder(question)
        self._seeds = tuned_seeds(question, options)
        self._configs: list[Configuration] = []
        self._rung: list[int] = []
        self._results: list[list[tuple[float, int]]] = [[] for _ in self._ladder]
        self._untold: dict[int, int] = {}
        self._spent = 0

    def ask(self, number: int) -> Proposal:
        """Propose a promotion, or else a random configuration."""
        trial = self._promotable()
        if trial is not None:
            until = self._ladder[self._rung[trial] + 1]
            return Proposal(trial, self._configs[trial], self._seeds, until, resume_from=trial)
        config = draw(self._question.space, np.random.default_rng(self._question.draw(number)))
        return Proposal(len(self._configs), config, self._seeds, self._ladder[0])

    def take(self, number: int, proposal: Proposal) -> None:
        """Take note of the rung that a trial is trained to."""
        self._untold[number] = trial = proposal.trial
        if trial == len(self._configs):
            self._configs.append(proposal.config)
            self._rung.append(-1)
        self._rung[trial] += 1
        self._spent += self._cost(self._rung[trial])

    def tell(self, number: int, result: TrialResult) -> None:
        """Learn a trial's value in its rung; one that failed or diverged is never promoted."""
        trial = self._untold.pop(number)
        if result.value is not None:
            value = result.value if self._question.direction == "maximize" else -result.value
            self._results[self._rung[trial]].append((-math.inf if result.failed else value, trial))

    def needed(self) -> Collection[int]:
        """Return the trials that may still be promoted: all results to come, while the budget lasts, may be worse."""
        found = {trial for trial in self._untold.values() if self._affordable(self._rung[trial] + 1)}
        training = [self._rung[trial] for trial in self._untold.values()]
        for rung, results in enumerate(self._results):
            if self._affordable(rung + 1):
                known = len(results) + training.count(rung) + self._to_come(rung)
                top = None if math.isinf(known) else int(known) // self._factor
                found |= {trial for trial in self._best(results)[:top] if self._rung[trial] == rung}
        return found

    def ranking(self) -> Sequence[Standing]:
        """Return none: values decide among the trials trained furthest."""
        return ()

    def _best(self, results: Sequence[tuple[float, int]]) -> list[int]:
        return best_first([result for result in results if result[0] > -math.inf])

    def _promotable(self) -> int | None:
        for rung in reversed(range(len(self._ladder) - 1)):
            results = self._results[rung]
            for trial in self._best(results)[: len(results) // self._factor]:
                if self._rung[trial] == rung:
                    return trial
        return None

    def _cost(self, rung: int) -> int:
        """Return the environment steps from the rung below to this one, over all seeds."""
        below = self._ladder[rung - 1] if rung else 0
        return len(self._seeds) * (self._ladder[rung] - below)

    def _affordable(self, rung: int) -> bool:
        budget = self._question.budget
        return rung < len(self._ladder) and (budget is None or self._spent + self._cost(rung) <= budget)

    def _to_come(self, rung: int) -> float:
        """Return how many trials at most may still be trained to a rung before one of them is promoted from it."""
        if self._question.budget is None:
            return math.inf
        left = self._question.budget - self._spent - self._cost(rung + 1)
        return left // self._cost(rung)


ASHA = Method(Asha, FidelityOptions)
