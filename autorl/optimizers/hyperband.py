"""Hyperband over environment steps (Li et al. 2018, JMLR 18(185)), and BOHB, which proposes from a model in it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from autorl.optimizers.brackets import Brackets, FidelityOptions, ladder
from autorl.optimizers.encoding import Encoding
from autorl.optimizers.kernel_density import KernelDensity
from autorl.optimizers.priors import draw
from autorl.optimizers.protocol import Method, Question
from autorl.optimizers.seeds import tuned_seeds
from autorl.spec.space import Choice, Configuration
from autorl.trial import Proposal, Standing, TrialResult


class Hyperband:
    """Successive halving in brackets that start ever fewer random configurations with ever longer runs (algorithm 1).

    A rung promotes when all its results are known; meanwhile later brackets begin. Trials go on from their checkpoints.
    """

    reads: Literal["nothing", "values", "curves"] = "values"

    def __init__(self, question: Question) -> None:
        options: FidelityOptions = question.options
        self.question = question
        self.ladder = ladder(question)
        self._seeds = tuned_seeds(question, options)
        self._brackets = Brackets(len(self.ladder), options.reduction_factor)
        self._configs: list[Configuration] = []
        self._untold: dict[int, Proposal] = {}

    def ask(self, number: int) -> Proposal:
        """Propose a promotion of the oldest bracket that has one, or a new configuration."""
        bracket = self._brackets.due()
        until = self.ladder[bracket.fidelity]
        if bracket.promoted:
            trial = bracket.promoted[0]
            return Proposal(trial, self._configs[trial], self._seeds, until, resume_from=trial)
        return Proposal(len(self._configs), self.choose(number), self._seeds, until)

    def choose(self, number: int) -> Configuration:
        """Return a new configuration: a random one."""
        return draw(self.question.space, np.random.default_rng(self.question.draw(number)))

    def take(self, number: int, proposal: Proposal) -> None:
        """Take note of a trial in its bracket."""
        if proposal.trial == len(self._configs):
            self._configs.append(proposal.config)
        self._brackets.take(number, proposal.trial)
        self._untold[number] = proposal

    def tell(self, number: int, result: TrialResult) -> None:
        """Learn a trial's value at a fidelity."""
        proposal, value = self._untold.pop(number), result.value
        if value is not None:
            value = value if self.question.direction == "maximize" else -value
            self.learn(proposal, value)
        self._brackets.tell(number, None if result.failed else value)

    def learn(self, proposal: Proposal, value: float) -> None:
        """Learn from a configuration's value, the higher the better, for the choice of others: nothing."""

    def needed(self) -> Collection[int]:
        """Return the trials that their brackets may still promote."""
        return self._brackets.needed()

    def ranking(self) -> Sequence[Standing]:
        """Return none: values decide among the trials trained furthest."""
        return ()


class BohbOptions(FidelityOptions):
    """As for Hyperband, and how often the model is not asked."""

    random_fraction: float = Field(
        default=1 / 3,
        ge=0,
        le=1,
        description="Fraction of the configurations that are random, whatever the model says.",
    )


class Bohb(Hyperband):
    """Hyperband whose configurations come from densities of good and bad ones (Falkner et al. 2018, algorithm 2).

    The densities l and g are fitted to the largest fidelity with N ≥ d + 3 results, d the number of parameters: l to
    the best max(d + 1, 0.15 N), g to the worst max(d + 1, 0.85 N) (equation 3). Of 64 draws from l, its bandwidths
    three times as wide, that with the largest l / g is proposed. Until a fidelity has enough results, and for a random
    fraction of the proposals, configurations are random. A parameter that is inactive counts as drawn uniformly.

    The split matters: few trials get to the largest fidelity, all of them good. Optuna's estimator, which calls a tenth
    of them good and the others bad, is driven away from where they are.
    """

    def __init__(self, question: Question) -> None:
        super().__init__(question)
        self._random_fraction: float = question.options.random_fraction
        self._encoding = Encoding(question.space)
        domains = [parameter.domain for parameter in question.space]
        self._counts = np.array([len(d.values) if isinstance(d, Choice) else 0 for d in domains], dtype=np.int64)
        self._observed: dict[int, list[tuple[float, NDArray[np.float64]]]] = {until: [] for until in self.ladder}

    def choose(self, number: int) -> Configuration:
        """Return a new configuration: the model's, or a random one."""
        fitted = [results for results in self._observed.values() if len(results) >= len(self._counts) + 3]
        rng = np.random.default_rng([self.question.draw(number), 1])
        if not fitted or rng.random() < self._random_fraction:
            return super().choose(number)
        found = np.array([vector for _, vector in sorted(fitted[-1], key=lambda result: -result[0])])
        found = np.where(np.isnan(found), self._as_choices(rng.random(found.shape)), found)
        count, least = len(found), len(self._counts) + 1
        good = KernelDensity(found[: max(least, int(0.15 * count))], self._counts)
        bad = KernelDensity(found[-max(least, int(0.85 * count)) :], self._counts)
        places = good.draw(64, 3.0, rng)
        best = places[np.argmax(good.log(places) - bad.log(places))]
        return self._encoding.decode(np.where(self._counts > 0, (best + 0.5) / np.maximum(self._counts, 1), best))

    def learn(self, proposal: Proposal, value: float) -> None:
        """Add a result to its fidelity's, unless the space cannot express the configuration."""
        config = proposal.config
        if config.inside:
            known = [parameter.name in config.values for parameter in self.question.space]
            vector = np.where(known, self._as_choices(self._encoding.encode(config)), np.nan)
            self._observed[proposal.until].append((value, vector))

    def _as_choices(self, vectors: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return vectors with the columns of choices as whole numbers from 0."""
        return np.where(self._counts > 0, np.floor(vectors * self._counts), vectors)


HYPERBAND = Method(Hyperband, FidelityOptions)
BOHB = Method(Bohb, BohbOptions)
