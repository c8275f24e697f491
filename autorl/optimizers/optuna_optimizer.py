"""An Optuna sampler, with or without a pruner, as an optimizer.

It works on an in-memory Optuna study that is filled with what was taken and told, and is made anew for each proposal,
seeded by the question and the number. Nothing is stored, and a study that goes on proposes what it would have.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any, Literal

import optuna
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial, TrialState, create_trial
from pydantic import Field

from autorl.errors import AutorlError
from autorl.optimizers.optuna_pruners import Course, PrunerSpec, Stage, course
from autorl.optimizers.protocol import Question
from autorl.optimizers.seeds import SeedsOptions, tuned_seeds
from autorl.spec.distributions import distribution
from autorl.spec.space import Choice, Configuration, Parameter, SearchSpace
from autorl.trial import Proposal, Standing, TrialResult

SamplerFactory = Callable[[int, int], BaseSampler]
"""Makes the sampler of one proposal, from the seed of its draws and the number of the trial that it starts."""


class SamplerOptions(SeedsOptions):
    """Which seeds each configuration is trained on, and whether bad ones are stopped early."""

    pruner: PrunerSpec = Field(
        default=PrunerSpec(name="none"), description="Which trials are stopped early; by default none."
    )


@dataclass
class _Progress:
    """A trial: its configuration, its number in the Optuna study (or None), and how far it has got.

    Attributes:
        objectives: what it was last told of several objectives, or next to constraints.
        violations: what it was last told of constraints.
    """

    config: Configuration
    number: int | None
    taken: int = 0
    values: list[float] = field(default_factory=list)
    objectives: tuple[float, ...] = ()
    violations: tuple[float, ...] = ()


class OptunaOptimizer:
    """Proposes what an Optuna sampler samples; with a pruner, in stages.

    After each stage but the last the pruner decides. A trial that may go on does so before a new one is started, the
    oldest first; one that may not is pruned in the Optuna study. A trial whose run diverged cannot go on.

    Trials that no model can place (a default that is outside the space, or has a parameter left to the algorithm) are
    not in the Optuna study: they are trained to the end, and nothing is learned from them.

    Args:
        question: what to answer; its options are `SeedsOptions`, or `SamplerOptions` for a pruner.
        sampler: makes the sampler of each proposal.
        learns: whether the sampler uses results.
        notes: whether it goes on from attributes that it left on earlier trials. They are not stored: when a study
            goes on, each trial is sampled again to find them.
        bare: whether it can sample for the same trial of the Optuna study again and again, which saves adding one.
    """

    def __init__(
        self, question: Question, sampler: SamplerFactory, *, learns: bool, notes: bool = False, bare: bool = False
    ) -> None:
        self._question, self._sampler, self._keeps_notes = question, sampler, notes
        pruner = getattr(question.options, "pruner", PrunerSpec(name="none"))
        if question.others and pruner.name != "none":
            raise AutorlError("pruners compare one objective; leave the pruner out, or use race")
        self._course: Course = course(question, tuned_seeds(question, question.options), pruner)
        self.reads: Literal["nothing", "values", "curves"] = (
            "curves" if self._course.pruner is not None else "values" if learns else "nothing"
        )
        self._bare = bare and self._course.pruner is None
        self._distributions = {parameter.name: distribution(parameter) for parameter in question.space}
        # Samplers warn of being experimental and of what they fall back to; the choice was made here.
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        # Hyperband draws a trial's bracket from the study's name.
        self._study = optuna.create_study(study_name="autorl", directions=list(question.directions))
        self._notes: Mapping[str, Any] = {}
        self._added = 0
        if self._bare:
            # A trial that is always sampled for and never told: samplers leave the one they sample for out of account.
            self._study.add_trial(create_trial(state=TrialState.RUNNING))
            self._added = 1
        self._trials: list[_Progress] = []
        self._untold: dict[int, int] = {}
        self._ready: set[int] = set()
        self._open: set[int] = set()

    def ask(self, number: int) -> Proposal:
        """Propose to go on with the oldest trial that may, or else a new configuration."""
        if self._ready:
            trial = min(self._ready)
            progress = self._trials[trial]
            stage = self._course.stages[progress.taken]
            return Proposal(trial, progress.config, stage.seeds, stage.until, resume_from=trial)
        trial, stage = len(self._trials), self._course.stages[0]
        return Proposal(trial, self._sample(number, trial), stage.seeds, stage.until)

    def take(self, number: int, proposal: Proposal) -> None:
        """Add a trial, or take note of its next stage."""
        self._untold[number] = trial = proposal.trial
        if trial == len(self._trials):
            self._trials.append(_Progress(proposal.config, self._add(number, proposal)))
            self._open.add(trial)
        self._trials[trial].taken += 1
        self._ready.discard(trial)
        if self._trials[trial].taken == len(self._course.stages):
            self._open.discard(trial)

    def tell(self, number: int, result: TrialResult) -> None:
        """Learn a trial's objective after a stage, and decide whether it goes on.

        One that failed is left out. One that diverged does not go on, and is no trial to compare others with.
        """
        trial = self._untold.pop(number)
        progress = self._trials[trial]
        if result.value is None:
            self._finish(trial, TrialState.FAIL)
            return
        stage = self._course.stages[len(progress.values)]
        progress.values.append(result.value)
        progress.objectives, progress.violations = result.values, result.violations
        self._report(progress, stage)
        if len(progress.values) == len(self._course.stages):
            self._finish(trial, TrialState.COMPLETE)
        elif result.failed:
            self._finish(trial, TrialState.PRUNED)
        elif self._stops(progress, stage, result):
            self._finish(trial, TrialState.COMPLETE if self._course.over_seeds else TrialState.PRUNED)
        else:
            self._ready.add(trial)

    def needed(self) -> Collection[int]:
        """Return the trials that have stages left."""
        return self._open

    def ranking(self) -> Sequence[Standing]:
        """Return none: values decide."""
        return ()

    def _sample(self, number: int, trial: int) -> Configuration:
        if self._bare:
            return self._sample_bare(self._sampler(self._question.draw(number), trial))
        self._study.sampler = self._sampler(self._question.draw(number), trial)
        sampled = self._study.ask()
        config = self._question.space.build(lambda parameter: _suggest(sampled, parameter))
        # Samplers read what they noted on a trial while it is running. A trial that is only taken has no such notes, so
        # this one ends here, and what is trained is added as another.
        self._notes = self._study.tell(sampled, state=TrialState.FAIL).system_attrs
        return config

    def _sample_bare(self, sampler: BaseSampler) -> Configuration:
        study, asked = self._study, self._history[0]
        relative = sampler.sample_relative(study, asked, sampler.infer_relative_search_space(study, asked))

        def choose(parameter: Parameter) -> object:
            name = parameter.name
            if name in relative:
                return relative[name]
            return sampler.sample_independent(study, asked, name, self._distributions[name])

        return self._question.space.build(choose)

    def _add(self, number: int, proposal: Proposal) -> int | None:
        """Add a trial to the Optuna study; return its number there, or None if it has no place in it."""
        if self.reads == "nothing":
            return None
        if self._bare:
            return self._add_bare(proposal)
        # Numbers matter to CMA-ES and Hyperband: trial n is 2 n + 1, after the one on which it was sampled.
        if len(self._history) == 2 * proposal.trial:
            if self._keeps_notes:
                self._sample(number, proposal.trial)
            else:
                self._study.add_trial(create_trial(state=TrialState.FAIL))
        if not _complete(self._question.space, proposal.config):
            self._study.add_trial(create_trial(state=TrialState.FAIL))
            return None
        params = dict(proposal.config.coordinates)
        self._study.add_trial(
            create_trial(
                state=TrialState.RUNNING,
                params=params,
                distributions={name: self._distributions[name] for name in params},
                system_attrs=dict(self._notes) if self._keeps_notes else None,
            )
        )
        return 2 * proposal.trial + 1

    def _add_bare(self, proposal: Proposal) -> int | None:
        if not _complete(self._question.space, proposal.config):
            return None
        params = dict(proposal.config.coordinates)
        distributions = {name: self._distributions[name] for name in params}
        self._study.add_trial(create_trial(state=TrialState.RUNNING, params=params, distributions=distributions))
        self._added += 1
        return self._added - 1

    @property
    def _history(self) -> list[FrozenTrial]:
        return self._study.get_trials(deepcopy=False)

    def _report(self, progress: _Progress, stage: Stage) -> None:
        if progress.number is not None and self._course.pruner is not None:
            trial_id = self._history[progress.number]._trial_id
            optuna.Trial(self._study, trial_id).report(progress.values[-1], stage.step)

    def _stops(self, progress: _Progress, stage: Stage, result: TrialResult) -> bool:
        if not self._course.over_seeds and not result.curves.keys() >= set(stage.seeds):
            return True
        if progress.number is None:
            return False
        assert self._course.pruner is not None
        return self._course.pruner.prune(self._study, self._history[progress.number])

    def _finish(self, trial: int, state: TrialState) -> None:
        self._open.discard(trial)
        progress = self._trials[trial]
        if progress.number is None:
            return
        if state == TrialState.COMPLETE:
            if progress.violations:
                trial_of_optuna = optuna.Trial(self._study, self._history[progress.number]._trial_id)
                for index, violation in enumerate(progress.violations):
                    trial_of_optuna.set_constraint(str(index), violation)
            alone = fmean(progress.values) if self._course.over_seeds else progress.values[-1]
            self._study.tell(progress.number, progress.objectives if self._question.others else alone)
        else:
            self._study.tell(progress.number, state=state)


def _complete(space: SearchSpace, config: Configuration) -> bool:
    """Say whether a configuration has a coordinate for each parameter that is active."""
    return config.inside and config.values.keys() == {p.name for p in space if p.active(config.values)}


def _suggest(trial: optuna.Trial, parameter: Parameter) -> object:
    domain = parameter.domain
    if isinstance(domain, Choice):
        return trial.suggest_categorical(parameter.name, domain.labels)
    if domain.integer:
        step = int(domain.step or 1)
        return trial.suggest_int(parameter.name, int(domain.low), int(domain.high), step=step, log=domain.log)
    return trial.suggest_float(parameter.name, domain.low, domain.high, step=domain.step, log=domain.log)
