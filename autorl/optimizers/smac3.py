"""SMAC (Lindauer et al. 2022, SMAC3, JMLR 23(54)): a surrogate proposes configurations, an intensifier races them.

SMAC's intensifiers are generators that cannot be stored. They decide by costs alone, so they race *entrants*, numbers
that stand for trials: an entrant's configuration is chosen when its first evaluation is due, and may be replaced then.
Taking what was proposed is enough to bring an intensifier to where it was; the surrogate, which learns from what was
trained in fact, is made for each proposal.
"""

from __future__ import annotations

import logging
import math
from bisect import bisect_left
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from autorl.optimizers.protocol import Method, Question
from autorl.spec.section import Spec, Whole
from autorl.spec.space import Configuration
from autorl.trial import Proposal, Standing, TrialResult

if TYPE_CHECKING:
    from smac.intensifier.abstract_intensifier import AbstractIntensifier
    from smac.runhistory import TrialInfo

    from autorl.optimizers.smac_model import Cost

_LARGEST_SEED = 2**31 - 1


class SmacOptions(Spec):
    """Which SMAC, and how it starts."""

    facade: Literal["blackbox", "hyperparameter", "multi_fidelity"] = Field(
        default="hyperparameter",
        description="blackbox: a Gaussian process on all tuning seeds at once. hyperparameter: a random forest, and "
        "configurations race over the tuning seeds. multi_fidelity: a random forest, and Hyperband over steps.",
    )
    initial: Whole | None = Field(
        default=None,
        ge=1,
        description="Configurations that are tried before there is a model; SMAC's own number by default (8 or 10 for "
        "each parameter, a quarter of the budget at most).",
    )
    eta: Whole = Field(default=3, ge=2, description="multi_fidelity: one of so many is promoted, to so many times.")
    min_steps: Whole | None = Field(
        default=None,
        ge=1,
        description="multi_fidelity: environment steps of the shortest runs; the first evaluation by default.",
    )


def smac(question: Question) -> SmacOptimizer:
    """Propose with SMAC.

    The blackbox facade models the mean over all tuning seeds with a Gaussian process, and inactive parameters as a
    value of their own, as SMAC does. The hyperparameter facade evaluates a configuration on one tuning seed, and on
    more of them while it beats the incumbent on those that both have (Hutter et al. 2011, algorithm 3). The
    multi-fidelity facade runs Hyperband's brackets over environment steps, on all tuning seeds.

    It differs from SMAC's own loop in that the model is fitted for each new configuration instead of each eighth, that
    a bracket's configurations are chosen one by one, that random draws depend on the proposal's number, and that a
    failed run tells the model nothing. With several objectives the model is ParEGO's, and the incumbents of the race
    are those that none dominates. A study ends early when SMAC finds no new configuration.

    Raises:
        AutorlError: the space has a range with a step.
    """
    return SmacOptimizer(question)


@dataclass
class _Trial:
    config: Configuration
    seeds: set[int] = field(default_factory=set)
    until: int = 0
    cost: Cost = math.inf
    lost: bool = False


class SmacOptimizer:
    """The adapter: entrants of the race become trials, budgets become evaluation points, objectives become costs."""

    def __init__(self, question: Question) -> None:
        # Imported here: SMAC takes seconds.
        from smac.facade import BlackBoxFacade, HyperparameterOptimizationFacade, MultiFidelityFacade

        from autorl.optimizers.smac_model import Surrogate

        logging.getLogger("smac").setLevel(logging.CRITICAL)
        self.reads: Literal["nothing", "values", "curves"] = "values"
        self._question = question
        options: SmacOptions = question.options
        self._racing = options.facade == "hyperparameter"
        self._signs = [-1.0 if direction == "maximize" else 1.0 for direction in question.directions]
        self._worst: Cost = math.inf if len(self._signs) == 1 else [math.inf] * len(self._signs)
        facades: dict[str, Any] = {
            "blackbox": BlackBoxFacade,
            "hyperparameter": HyperparameterOptimizationFacade,
            "multi_fidelity": MultiFidelityFacade,
        }
        seed = question.draw(0) & _LARGEST_SEED
        self._model = Surrogate(
            facades[options.facade],
            question.space,
            seed,
            _evaluations(question),
            options.initial,
            len(self._signs),
        )
        self._race = _Race(question, seed)
        self._trials: list[_Trial] = []
        self._trial_of: dict[int, int] = {}
        self._due: TrialInfo | None = None
        self._pending: dict[int, tuple[int, TrialInfo]] = {}

    def ask(self, number: int) -> Proposal | None:
        """Propose a new configuration, or more seeds or steps for one that does well."""
        if (due := self._next()) is None:
            return None
        seeds, until = self._seeds(due), self._until(due)
        trial = self._trial_of.get(_entrant(due))
        if trial is not None:
            return Proposal(trial, self._trials[trial].config, seeds, until, resume_from=trial)
        config = self._model.propose(self._question.draw(number) & _LARGEST_SEED)
        return None if config is None else Proposal(len(self._trials), config, seeds, until)

    def take(self, number: int, proposal: Proposal) -> None:
        """Let the entrant that is due stand for this trial."""
        due = self._next()
        assert due is not None, "SMAC proposed nothing"
        self._due = None
        if proposal.trial == len(self._trials):
            self._trials.append(_Trial(proposal.config))
            self._trial_of[_entrant(due)] = proposal.trial
            self._model.taken()
        trial = self._trials[proposal.trial]
        trial.seeds |= set(proposal.seeds)
        trial.until = proposal.until
        self._race.start(due)
        self._model.start(trial.config, due.seed, due.budget)
        self._pending[number] = proposal.trial, due

    def tell(self, number: int, result: TrialResult) -> None:
        """Learn the cost; a failed trial leaves the race, and teaches the model something only if it diverged."""
        index, done = self._pending.pop(number)
        trial = self._trials[index]
        trial.lost = result.value is None or bool(result.failed)
        if result.value is None:
            self._race.finish(done, self._worst)
            return
        values = result.values or (result.value,)
        costs = [sign * value for sign, value in zip(self._signs, values, strict=True)]
        trial.cost = costs[0] if len(costs) == 1 else costs
        self._race.finish(done, self._worst if trial.lost else trial.cost)
        self._model.learn(trial.config, done.seed, done.budget, trial.cost)

    def needed(self) -> Collection[int]:
        """Return the trials in the race that lack seeds or steps."""
        alive = {self._trial_of[entrant] for entrant in self._race.alive() if entrant in self._trial_of}
        return {index for index in alive if not self._trials[index].lost and not self._whole(self._trials[index])}

    def ranking(self) -> Sequence[Standing]:
        """Return none: values decide."""
        return ()

    def _next(self) -> TrialInfo | None:
        """Return the evaluation that is due, letting the race pass over those that need no training."""
        while self._due is None and (due := self._race.next()) is not None:
            index = self._trial_of.get(_entrant(due))
            if index is None:
                self._due = due
            elif (trial := self._trials[index]).lost:
                self._race.finish(due, self._worst)
            elif not self._racing and self._until(due) == trial.until:
                self._race.finish(due, trial.cost)  # two budgets share an evaluation point
            else:
                self._due = due
        return self._due

    def _whole(self, trial: _Trial) -> bool:
        return trial.until == self._question.until and trial.seeds == set(self._question.seeds)

    def _seeds(self, due: TrialInfo) -> tuple[int, ...]:
        if not self._racing:
            return self._question.seeds
        return (self._question.seeds[self._race.seeds.index(due.seed)],)

    def _until(self, due: TrialInfo) -> int:
        if due.budget is None:
            return self._question.until
        # SMAC's budgets are powers of eta below a full run, which may miss a point by a rounding error.
        return self._question.points[bisect_left(self._question.points, due.budget * (1 - 1e-9))]


class _Race:
    """One of SMAC's intensifiers over entrants.

    Attributes:
        seeds: those that it numbers its evaluations with.
    """

    def __init__(self, question: Question, seed: int) -> None:
        from ConfigSpace import Configuration as Entrant
        from ConfigSpace import ConfigurationSpace
        from smac.facade import HyperparameterOptimizationFacade, MultiFidelityFacade
        from smac.runhistory import RunHistory
        from smac.scenario import Scenario

        from autorl.optimizers.smac_model import costs

        objectives = len(question.directions)
        options: SmacOptions = question.options
        space = ConfigurationSpace({"entrant": (0, _LARGEST_SEED)})
        self._intensifier: AbstractIntensifier
        if options.facade == "multi_fidelity":
            shortest = min(options.min_steps or question.points[0], question.until)
            scenario = Scenario(
                space, objectives=costs(objectives), seed=seed, min_budget=shortest, max_budget=question.until
            )
            self._intensifier = MultiFidelityFacade.get_intensifier(scenario, eta=options.eta)
        else:
            calls = len(question.seeds) if options.facade == "hyperparameter" else 1
            scenario = Scenario(space, objectives=costs(objectives), seed=seed)
            self._intensifier = HyperparameterOptimizationFacade.get_intensifier(scenario, max_config_calls=calls)
        self._history = self._intensifier.runhistory = RunHistory(n_objectives=objectives)
        entrants: Any = (Entrant(space, values={"entrant": number}) for number in count())
        self._intensifier.config_selector = entrants
        self._evaluations: Iterator[TrialInfo] = iter(self._intensifier)

    @property
    def seeds(self) -> list[int | None]:
        return [key.seed for key in self._intensifier.get_instance_seed_keys_of_interest()]

    def next(self) -> TrialInfo | None:
        """Return the evaluation that is due."""
        return next(self._evaluations, None)

    def start(self, due: TrialInfo) -> None:
        """As `SMBO.ask` does once it knows what is due."""
        self._history.add_running_trial(due)

    def finish(self, done: TrialInfo, cost: Cost) -> None:
        """As `SMBO.tell` does."""
        self._history.add(done.config, cost, seed=done.seed, budget=done.budget, force_update=True)
        self._intensifier.update_incumbents(done.config)

    def alive(self) -> set[int]:
        """Return the entrants that may be evaluated again."""
        state = self._intensifier.get_state()
        found = {config["entrant"] for config in self._intensifier.get_incumbents()}
        found |= {self._history.get_config(number)["entrant"] for number, _ in state.get("queue", ())}
        stages = state.get("tracker", {}).values()
        return found | {config["entrant"] for stage in stages for _, configs in stage for config in configs}


def _entrant(evaluation: TrialInfo) -> int:
    return int(evaluation.config["entrant"])


def _evaluations(question: Question) -> int:
    """Return how many evaluations the budget pays for, in SMAC's count."""
    from smac.intensifier.hyperband_utils import get_n_trials_for_hyperband_multifidelity

    options: SmacOptions = question.options
    if question.budget is None:
        return _LARGEST_SEED
    if options.facade == "hyperparameter":
        return max(1, question.budget // question.until)
    runs = question.budget / len(question.seeds)
    if options.facade == "blackbox":
        return max(1, int(runs // question.until))
    shortest = min(options.min_steps or question.points[0], question.until)
    found = get_n_trials_for_hyperband_multifidelity(runs, shortest, question.until, options.eta, print_summary=False)
    return max(1, found)


SMAC = Method(
    smac,
    SmacOptions,
    caveat="its proposals stay the same only under the same version of smac; the blackbox facade's Gaussian process "
    "takes seconds for each proposal beyond 100 configurations",
    extra="smac",
    several=True,
)
