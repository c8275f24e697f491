"""What a study found, gathered once from the ledger for every way of telling it."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from autorl.analysis import Cost, Estimate, Headline, aggregate, cost_by_phase, estimate, headline, speed_up
from autorl.engine.plan import planned_steps
from autorl.engine.selection import better, rank
from autorl.errors import AutorlError
from autorl.ledger.reader import Reader
from autorl.ledger.records import RunRecord, StudyRecord, TrialRecord
from autorl.report.front import Front, Kept, gather_front, gather_kept
from autorl.spec.study import StudySpec
from autorl.trial import Phase

PHASES: tuple[Phase, ...] = ("tuning", "validation", "test")


@dataclass(frozen=True)
class Findings:
    """A study with everything that reports need.

    Attributes:
        study: the study.
        trials: all its trials, by number.
        runs: trial → its runs.
        incumbent: the best trial by tuning data, if one has finished.
        winner: the trial that tuning and validation data chose, once the study is finished.
    """

    study: StudyRecord
    trials: tuple[TrialRecord, ...]
    runs: Mapping[int, tuple[RunRecord, ...]]
    incumbent: TrialRecord | None
    winner: TrialRecord | None

    @property
    def spec(self) -> StudySpec:
        """The study's spec."""
        return self.study.spec

    @cached_property
    def ranked(self) -> list[TrialRecord]:
        """Finished trials, the best by tuning data first."""
        return rank(self.trials, self.spec.objective.direction)

    @cached_property
    def lead(self) -> list[tuple[TrialRecord, TrialRecord]]:
        """Each trial with a value, by number, and the leader of those up to it, by what is known of them now."""
        found: list[tuple[TrialRecord, TrialRecord]] = []
        leader: TrialRecord | None = None
        for trial in self.trials:
            if trial.value is not None:
                leader = trial if leader is None or better(trial, leader, self.spec.objective.direction) else leader
                found.append((trial, leader))
        return found

    def chosen(self, number: int | None = None) -> TrialRecord:
        """Return a trial: by default the winner, or the incumbent while there is none.

        Raises:
            AutorlError: there is no such trial, or none has finished yet.
        """
        best = self.winner or self.incumbent
        trial = best if number is None else next((one for one in self.trials if one.number == number), None)
        if trial is None:
            name = self.study.name
            raise AutorlError(
                f"no trial of '{name}' has finished yet" if number is None else f"'{name}' has no trial {number}"
            )
        return trial

    def scores(self, trial: int, phase: Phase, objective: int = 0) -> list[float]:
        """Return the scores of a trial's runs of a phase, by seed, as far as they have one; of the first objective."""
        return [run.scores[objective] for run in self.runs.get(trial, ()) if run.phase == phase and run.scores]

    def value(self, trial: int, phase: Phase) -> float | None:
        """Return a trial's objective over the seeds of a phase; None unless every seed was trained in full."""
        own = [run for run in self.runs.get(trial, ()) if run.phase == phase]
        scores = [run.score for run in own if run.state == "completed" and run.score is not None]
        if not scores or len(scores) != len(getattr(self.spec.seeds, phase)):
            return None
        return aggregate(scores, self.spec.objective.statistic)

    def tested(self, trial: int) -> Estimate | None:
        """Return a trial's objective over the test seeds with its interval; None unless it has one on all of them."""
        if self.value(trial, "test") is None:
            return None
        return estimate(self.scores(trial, "test"), self.spec.objective.statistic)

    @cached_property
    def headline(self) -> Headline | None:
        """The headline, once winner and default have scores on every test seed; of the first objective."""
        return next(iter(self.headlines), None)

    @cached_property
    def headlines(self) -> tuple[Headline, ...]:
        """The headline of each objective."""
        if self.winner is None or self.value(self.winner.number, "test") is None or self.value(0, "test") is None:
            return ()
        return tuple(
            headline(
                self.scores(self.winner.number, "test", index),
                self.scores(0, "test", index),
                statistic=objective.statistic,
                direction=objective.direction,
            )
            for index, objective in enumerate(self.spec.objectives)
        )

    @cached_property
    def front(self) -> Front | None:
        """The front: the one that was chosen, or that of the tuning data so far; None with one objective."""
        return gather_front(self)

    @cached_property
    def kept(self) -> list[Kept]:
        """Whether the winner, or the incumbent while there is none, keeps to each constraint."""
        return gather_kept(self)

    @property
    def cautions(self) -> tuple[str, ...]:
        """What to know before believing the headline; where the default won, nothing of a comparison with itself."""
        if self.headline is None or self.winner is None:
            return ()
        about = ("tuned", "probability") if self.winner.number == 0 else ()
        return tuple(text for text in self.headline.cautions if not any(word in text for word in about))

    @cached_property
    def failed(self) -> list[RunRecord]:
        """Runs that failed."""
        return [run for runs in self.runs.values() for run in runs if run.state == "failed"]

    @cached_property
    def recovered(self) -> list[RunRecord]:
        """Runs that failed at first and completed when they were tried again."""
        return [run for runs in self.runs.values() for run in runs if run.state == "completed" and run.tries]

    @cached_property
    def spent(self) -> dict[Phase, dict[str, float]]:
        """Phase → runs finished or paused, environment steps spent and planned, wall and processor seconds.

        Energy too, in joules, where the machine told. What is planned is an upper bound; 0 where only time limits it.
        """
        planned = planned_steps(self.spec)
        runs = [run for own in self.runs.values() for run in own]
        done = Counter(run.phase for run in runs if run.state in ("paused", "completed", "failed"))
        costs = cost_by_phase(
            [run.phase for run in runs],
            [self.trained(run) for run in runs],
            [run.wall_seconds for run in runs],
            [run.cpu_seconds for run in runs],
            [math.nan if run.energy_joules is None else run.energy_joules for run in runs],
        )
        result: dict[Phase, dict[str, float]] = {}
        for phase in PHASES:
            cost = costs.get(phase, Cost(0, 0, 0.0, 0.0, math.nan))
            result[phase] = {
                "runs": done[phase],
                "env_steps": cost.env_steps,
                "planned_env_steps": planned[phase] or 0,
                "wall_seconds": cost.wall_seconds,
                "cpu_seconds": cost.cpu_seconds,
                **({} if math.isnan(cost.energy_joules) else {"energy_joules": cost.energy_joules}),
            }
        return result

    @property
    def saved(self) -> float | None:
        """How many times cheaper tuning was than training every trial in full on every seed; None before it began."""
        if not self.spent["tuning"]["env_steps"] or not self.trials:
            return None
        return speed_up(
            [self.spent["tuning"]["env_steps"]],
            trials=len(self.trials),
            tuning_seeds=len(self.spec.seeds.tuning),
            env_steps_per_run=self.spec.budget.steps_per_run,
        )

    def trained(self, run: RunRecord) -> int:
        """Return the environment steps that a run trained itself: a fork takes those of its donor over."""
        start = self.trials[run.trial].recipe.start
        return max(0, run.env_steps - start.env_steps) if start is not None and run.phase == "tuning" else run.env_steps

    @property
    def objective(self) -> str:
        """The objective in words: `mean return`; of several the first."""
        return self.spec.objective.words

    def to_dict(self) -> dict[str, Any]:
        """Return the findings as plain data, for `--format json`."""
        found = self.headline
        return {
            "study": self.study.name,
            "state": self.study.state,
            "objective": self.spec.objective.model_dump(),
            "incumbent": self.incumbent.number if self.incumbent else None,
            "winner": self.winner.number if self.winner else None,
            "params": dict(self.winner.config.values) if self.winner else None,
            "tuning_value": self.winner.value if self.winner else None,
            "headline": None if found is None else {**_headline(found), "cautions": list(self.cautions)},
            "spent": self.spent,
            "failed_runs": len(self.failed),
            "recovered_runs": len(self.recovered),
            "paused": self.study.paused,
        }


def _headline(found: Headline) -> dict[str, Any]:
    numbers = {"tuned": found.tuned, "default": found.default, "probability_better": found.probability}
    return {name: found.to_dict() for name, found in numbers.items()}


def gather(reader: Reader, name: str) -> Findings:
    """Read a study's findings.

    Raises:
        StorageError: there is no such study.
    """
    study = reader.study(name)
    trials = tuple(reader.trials(name))
    runs: dict[int, list[RunRecord]] = {}
    for run in reader.runs(name):
        runs.setdefault(run.trial, []).append(run)
    ranked = rank(trials, study.spec.objective.direction)
    winner = next((trial for trial in trials if trial.number == study.winner), None)
    return Findings(study, trials, {k: tuple(v) for k, v in runs.items()}, ranked[0] if ranked else None, winner)
