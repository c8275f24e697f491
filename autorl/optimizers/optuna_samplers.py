"""Optuna's samplers as optimizers.

The sampler works on an in-memory Optuna study that mirrors the ledger, and is made anew for each proposal, seeded with
a hash of (study seed, trial number). No sampler is ever stored, and a study that goes on proposes what it would have.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Collection, Sequence
from typing import Literal

import optuna
from optuna.exceptions import ExperimentalWarning
from optuna.samplers import BaseSampler, RandomSampler, TPESampler
from optuna.trial import TrialState, create_trial

from autorl.optimizers.protocol import Method, Question
from autorl.spec.distributions import distribution
from autorl.spec.space import Choice, Parameter
from autorl.trial import Proposal, Standing, TrialResult


def random(question: Question) -> OptunaOptimizer:
    """Sample uniformly (on a log scale where the space says so), independently of all results."""
    return OptunaOptimizer(question, lambda seed: RandomSampler(seed=seed), "nothing")


def tpe(question: Question) -> OptunaOptimizer:
    """Tree-structured Parzen estimator (Bergstra et al. 2011), multivariate, conditional parameters in groups.

    Trials still training count as bad ones (constant liar), so that parallel proposals differ. The first ten proposals
    are random.
    """

    def sampler(seed: int) -> TPESampler:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)  # `group` may still change; it is chosen knowingly
            return TPESampler(seed=seed, group=True, constant_liar=True)

    return OptunaOptimizer(question, sampler, "values")


class OptunaOptimizer:
    """Any Optuna sampler that needs no attributes of its own in the study.

    Proposals train each configuration on all tuning seeds, to the end.
    """

    def __init__(
        self, question: Question, sampler: Callable[[int], BaseSampler], reads: Literal["nothing", "values"]
    ) -> None:
        self.reads: Literal["nothing", "values", "curves"] = reads
        self._question = question
        self._sampler = sampler
        self._distributions = {parameter.name: distribution(parameter) for parameter in question.space}
        # Samplers warn of being experimental and of what they fall back to; the choice was made here.
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self._study = optuna.create_study(direction=question.direction)
        self._number_of: dict[int, int] = {}
        self._added = 0

    def ask(self, number: int) -> Proposal:
        """Propose a configuration on all tuning seeds."""
        self._study.sampler = self._sampler(self._question.draw(number))
        trial = self._study.ask()
        config = self._question.space.build(lambda parameter: _suggest(trial, parameter))
        # A sampler leaves notes on the trial that it sampled, and reads them while the trial is running. A trial that
        # is only taken has none, so neither may this one: it is added anew.
        self._study.tell(trial, state=TrialState.FAIL)
        self._added += 1
        return Proposal(number, config, self._question.seeds, self._question.until)

    def take(self, number: int, proposal: Proposal) -> None:
        """Add a trial, unless the space cannot express it: no model could place it.

        A sampler that ignores results has no use for them.
        """
        if self.reads == "nothing" or not proposal.config.inside:
            return
        params = dict(proposal.config.coordinates)
        distributions = {name: self._distributions[name] for name in params}
        self._study.add_trial(create_trial(state=TrialState.RUNNING, params=params, distributions=distributions))
        self._number_of[number] = self._added
        self._added += 1

    def tell(self, number: int, result: TrialResult) -> None:
        """Learn a trial's objective; a failed trial is left out of the model."""
        if number not in self._number_of:
            return
        trial = self._number_of.pop(number)
        if result.value is None:
            self._study.tell(trial, state=TrialState.FAIL)
        else:
            self._study.tell(trial, result.value)

    def needed(self) -> Collection[int]:
        """Return none: runs are trained to the end at once."""
        return ()

    def ranking(self) -> Sequence[Standing]:
        """Return none: values decide."""
        return ()


def _suggest(trial: optuna.Trial, parameter: Parameter) -> object:
    domain = parameter.domain
    if isinstance(domain, Choice):
        return trial.suggest_categorical(parameter.name, domain.labels)
    if domain.integer:
        step = int(domain.step or 1)
        return trial.suggest_int(parameter.name, int(domain.low), int(domain.high), step=step, log=domain.log)
    return trial.suggest_float(parameter.name, domain.low, domain.high, step=domain.step, log=domain.log)


RANDOM = Method(random)
TPE = Method(tpe)
