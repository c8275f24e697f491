"""Optuna's samplers as optimizers, and grid search: the methods that propose whole configurations, one by one.

Where a search space has priors, all of them draw from these whatever they draw without a model: random search
everything, the others their first proposals and the parameters that their model leaves out.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution
from optuna.exceptions import ExperimentalWarning
from optuna.samplers import BaseSampler, CmaEsSampler, GPSampler, NSGAIIISampler, NSGAIISampler, TPESampler
from optuna.search_space import _GroupDecomposedSearchSpace
from optuna.trial import FrozenTrial, TrialState
from pydantic import Field

from autorl.optimizers.grid import Grid, GridOptions
from autorl.optimizers.optuna_optimizer import OptunaOptimizer, SamplerOptions
from autorl.optimizers.priors import quantile
from autorl.optimizers.protocol import Method, Question
from autorl.optimizers.seeds import SeedsOptions
from autorl.spec.distributions import distribution
from autorl.spec.section import Whole
from autorl.spec.space import Numeric, SearchSpace


class StartupOptions(SamplerOptions):
    """As for all samplers, and when a model takes over."""

    startup_trials: Whole = Field(default=10, ge=1, description="Trials with a result before a model proposes.")


class CmaEsOptions(SamplerOptions):
    """As for all samplers, and the size of a generation."""

    population_size: Whole | None = Field(
        default=None, ge=4, description="Trials of a generation; by default 4 + ⌊3 ln d⌋ for d numeric parameters."
    )


class GeneticOptions(SeedsOptions):
    """On how many seeds configurations are tuned, and the size of a generation."""

    population_size: Whole = Field(default=50, ge=2, description="Trials of a generation.")


class FromPriors(BaseSampler):
    """Takes each parameter on its own, from its prior.

    Args:
        space: the search space.
        share: gives the quantile of a parameter, by name.
    """

    def __init__(self, space: SearchSpace, share: Callable[[str], float]) -> None:
        self._space, self._share = space, share

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """Return none."""
        return {}

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Return none."""
        return {}

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """Return the parameter's coordinate at its quantile."""
        return quantile(self._space[param_name], self._share(param_name))


def _at_random(space: SearchSpace, seed: int) -> FromPriors:
    rng = np.random.default_rng(seed)
    return FromPriors(space, lambda _: rng.random())


def random(question: Question) -> OptunaOptimizer:
    """Random search (Bergstra and Bengio 2012): from the priors, or uniformly on the scale of each parameter."""
    return OptunaOptimizer(question, lambda seed, _: _at_random(question.space, seed), learns=False)


def qmc(question: Question) -> OptunaOptimizer:
    """Quasi-random search: trial n is point n of a Sobol sequence with Owen's scrambling, at the priors' quantiles.

    Every parameter has a dimension of its own, which is passed over where it is not active; so a conditional space is
    covered as evenly as the conditions allow.
    """
    from scipy.stats.qmc import Sobol

    dimension = {parameter.name: index for index, parameter in enumerate(question.space)}
    # A seed that no proposal draws from.
    seed = question.draw(-1)

    def sampler(_: int, trial: int) -> BaseSampler:
        sequence = Sobol(max(len(dimension), 1), rng=np.random.default_rng(seed))
        (point,) = sequence.fast_forward(trial).random(1) if trial else sequence.random(1)
        return FromPriors(question.space, lambda name: float(point[dimension[name]]))

    return OptunaOptimizer(question, sampler, learns=False)


class _Tpe(TPESampler):
    """TPE whose random proposals come from the priors."""

    def __init__(self, space: SearchSpace, seed: int, startup: int) -> None:
        super().__init__(seed=seed, n_startup_trials=startup, multivariate=True, group=True, constant_liar=True)
        self._space, self._priors, self._startup = space, _at_random(space, seed), startup

    def seeded(self, seed: int) -> _Tpe:
        """Return the sampler as it is when made with a seed; making one takes a tenth of the time of a proposal."""
        self._rng.rng.seed(seed)
        self._random_sampler._rng.rng.seed(seed)
        self._priors = _at_random(self._space, seed)
        # It adds to the groups of parameters in the order in which trials end, which is another after an interruption.
        self._group_decomposed_search_space = _GroupDecomposedSearchSpace(True)
        return self

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        told = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED))
        if len(told) < self._startup:
            return self._priors.sample_independent(study, trial, param_name, param_distribution)
        return super().sample_independent(study, trial, param_name, param_distribution)


def tpe(question: Question) -> OptunaOptimizer:
    """Tree-structured Parzen estimator (Bergstra et al. 2011), multivariate, conditional parameters in groups.

    Trials still training count as bad ones (constant liar), so that parallel proposals differ. It learns from pruned
    trials too: they count as worse than all complete ones, the further they got the better.
    """
    startup = question.options.startup_trials
    sampler = _quietly(lambda seed, _: _Tpe(question.space, seed, startup))(0, 0)
    assert isinstance(sampler, _Tpe)
    return OptunaOptimizer(question, lambda seed, _: sampler.seeded(seed), learns=True, bare=True)


class _Gp(GPSampler):
    """A Gaussian process fitted to a part of the trials when there are many."""

    def __init__(self, space: SearchSpace, seed: int, startup: int) -> None:
        super().__init__(
            seed=seed,
            independent_sampler=_at_random(space, seed),
            n_startup_trials=startup,
            warn_independent_sampling=False,
        )

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        told = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        if len(told) <= GP_TRIALS:
            return super().sample_relative(study, trial, search_space)
        part = optuna.create_study(directions=study.directions)
        higher = [direction == optuna.study.StudyDirection.MAXIMIZE for direction in study.directions]
        part.add_trials(part_of(told, higher))
        training = study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
        part.add_trials([other for other in training if other.number != trial.number])
        part.ask()
        return super().sample_relative(part, part.get_trials(deepcopy=False)[-1], search_space)


GP_TRIALS = 150
"""How many trials a Gaussian process is fitted to: the cost of a fit grows with their third power."""


def part_of(trials: Sequence[FrozenTrial], maximize: Sequence[bool]) -> list[FrozenTrial]:
    """Choose `GP_TRIALS` complete trials: the best half of them, and of the rest the latest, in their order.

    The best say where the optimum is, the latest which places near it have just turned out worse. Those that violate
    constraints are worse than all that do not, the worse the more. Each of several objectives has its share of the
    best.
    """
    share = GP_TRIALS // 2 // len(maximize)
    chosen: set[int] = set()
    for objective, higher in enumerate(maximize):
        rank = {
            trial.number: (_violation(trial), -trial.values[objective] if higher else trial.values[objective])
            for trial in trials
        }
        chosen |= set(sorted(rank, key=rank.__getitem__)[:share])
    rest = [trial.number for trial in trials if trial.number not in chosen]
    chosen |= set(rest[-(GP_TRIALS - len(chosen)) :])
    return [trial for trial in trials if trial.number in chosen]


def _violation(trial: FrozenTrial) -> float:
    """Return by how much a trial violates all constraints together."""
    return float(sum(max(0.0, by) for by in trial.constraints.values()))


def gp(question: Question) -> OptunaOptimizer:
    """Gaussian process with a Matérn 5/2 kernel and noise, and log expected improvement (Ament et al. 2023).

    With trials in training it maximizes the expected improvement over them together (q-log-EI). Conditional parameters
    are drawn from their priors once trials lack them. When more than `GP_TRIALS` trials are complete, it is fitted to
    that many (`part_of`). It does not learn from pruned trials.
    """
    startup = question.options.startup_trials
    return OptunaOptimizer(question, _quietly(lambda seed, _: _Gp(question.space, seed, startup)), learns=True)


class _CmaEs(CmaEsSampler):
    """CMA-ES over the same dimensions throughout.

    Optuna takes the parameters that all trials so far have in common, and gives up for good when one of them proves
    conditional after the first generation.
    """

    def __init__(self, space: SearchSpace, seed: int, population: int | None, pruned: bool) -> None:
        super().__init__(
            seed=seed,
            independent_sampler=_at_random(space, seed),
            popsize=population,
            consider_pruned_trials=pruned,
            warn_independent_sampling=False,
        )
        self._dimensions = {
            parameter.name: distribution(parameter)
            for parameter in sorted(space, key=lambda parameter: parameter.name)
            if isinstance(parameter.domain, Numeric) and not parameter.when
        }

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        return self._dimensions


def cma_es(question: Question) -> OptunaOptimizer:
    """Covariance matrix adaptation evolution strategy (Hansen 2016), over the unconditional numeric parameters.

    Choices and conditional parameters are drawn from their priors, independently of all results. The first generation
    starts from the middle of the ranges with σ = 1/6 of them. A trial with another configuration than was proposed
    counts in its generation with the configuration that it has. With the median or percentile pruner, pruned trials
    count with their last objective.
    """
    options: CmaEsOptions = question.options
    pruned = options.pruner.name in ("median", "percentile")
    return OptunaOptimizer(
        question,
        _quietly(lambda seed, _: _CmaEs(question.space, seed, options.population_size, pruned)),
        learns=True,
        notes=True,
    )


class _MutatesFromPriors(BaseSampler):
    """Draws the first generation and what mutates from the priors."""

    priors: FromPriors

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        return self.priors.sample_independent(study, trial, param_name, param_distribution)


class _Nsga2(_MutatesFromPriors, NSGAIISampler):
    pass


class _Nsga3(_MutatesFromPriors, NSGAIIISampler):
    pass


def _genetic(question: Question, kind: type[_Nsga2] | type[_Nsga3]) -> OptunaOptimizer:
    population: int = question.options.population_size

    def sampler(seed: int, _: int) -> BaseSampler:
        made = kind(population_size=population, seed=seed)
        made.priors = _at_random(question.space, seed)
        return made

    return OptunaOptimizer(question, _quietly(sampler), learns=True, notes=True)


def nsga2(question: Question) -> OptunaOptimizer:
    """NSGA-II (Deb et al. 2002): generations, uniform crossover, elitist selection by rank and crowding."""
    return _genetic(question, _Nsga2)


def nsga3(question: Question) -> OptunaOptimizer:
    """NSGA-III (Deb and Jain 2014): as NSGA-II, with selection by reference points instead of crowding."""
    return _genetic(question, _Nsga3)


def _quietly(make: Callable[[int, int], BaseSampler]) -> Callable[[int, int], BaseSampler]:
    def sampler(seed: int, trial: int) -> BaseSampler:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)  # these may still change; they are chosen knowingly
            return make(seed, trial)

    return sampler


_CLONES = "A child may equal one of its parents, so that a configuration is trained again."

RANDOM = Method(random, SamplerOptions, several=True, constrained=True)
TPE = Method(tpe, StartupOptions, several=True, constrained=True)
GP = Method(gp, StartupOptions, extra="samplers", several=True, constrained=True)
CMA_ES = Method(cma_es, CmaEsOptions, extra="samplers")
QMC = Method(qmc, SamplerOptions, several=True, constrained=True)
NSGA2 = Method(nsga2, GeneticOptions, caveat=_CLONES, several=True, constrained=True)
NSGA3 = Method(nsga3, GeneticOptions, caveat=_CLONES, several=True, constrained=True)
GRID = Method(Grid, GridOptions, several=True, constrained=True)
