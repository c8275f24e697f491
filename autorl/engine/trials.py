"""What is known of a study's trials, runs and proposals while it is conducted; read from the ledger when it starts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from autorl.engine.measures import over_seeds
from autorl.engine.proposals import Outcome
from autorl.engine.selection import better, rank
from autorl.ledger.records import ProposalRecord, TrialProgress, TrialRecord
from autorl.spec.study import StudySpec
from autorl.trial import FailureClass, Phase, Run, Standing, Verdict


@dataclass
class _Known:
    """How a run stands.

    Attributes:
        until: environment steps that it is to reach for now.
        done: whether it has, or has failed.
        scores: what it is worth for each of the study's measures; empty if it failed, or is not done.
    """

    until: int
    done: bool
    scores: tuple[float, ...] = ()
    error_class: FailureClass | None = None


class Trials:
    """Trials by number, how their runs stand, and which runs each proposal still waits for.

    Attributes:
        records: number → trial.
        incumbent: the best trial by tuning data, or None.
    """

    def __init__(self, spec: StudySpec) -> None:
        self._spec = spec
        self.records: dict[int, TrialRecord] = {}
        self.incumbent: TrialRecord | None = None
        self._runs: dict[Run, _Known] = {}
        self._missing: dict[int, set[Run]] = {}  # proposal → runs that it waits for
        self._waits: dict[Run, int] = {}  # run → the proposal that waits for it
        self._left: dict[int, int] = {}  # trial → proposals that wait for its runs
        self._proposals: dict[int, ProposalRecord] = {}

    def keep(self, trial: TrialRecord) -> None:
        """Take up a trial, or how it stands now."""
        self.records[trial.number] = trial
        if trial.value is not None and better(trial, self.incumbent, self._spec.objective.direction):
            self.incumbent = trial

    def note(
        self, run: Run, until: int, done: bool, scores: tuple[float, ...] = (), error_class: FailureClass | None = None
    ) -> None:
        """Take up how a run stands."""
        self._runs[run] = _Known(until, done, scores, error_class)

    def inherited(self, run: Run) -> int:
        """Return the environment steps of a tuning run that it took over from the trial that it forked."""
        start = self.records[run.trial].recipe.start
        return start.env_steps if start is not None and run.phase == "tuning" else 0

    def done(self, run: Run) -> bool:
        """Say whether a run has got where it was to get, or has failed."""
        return run in self._runs and self._runs[run].done

    def propose(self, proposal: ProposalRecord, new: bool = False) -> list[Run]:
        """Take up a proposal; return those of its runs that have still to be trained.

        Args:
            proposal: the proposal.
            new: whether it has just been made: none of its runs has got as far.
        """
        runs = [Run(proposal.trial, "tuning", seed) for seed in proposal.seeds]
        if new:
            for run in runs:
                self._runs[run] = _Known(proposal.until, False)
        # A run that was asked to get further since, by a later proposal, had got as far as this one asked.
        missing = [
            run
            for run in runs
            if not (run in self._runs and (self._runs[run].done or self._runs[run].until > proposal.until))
        ]
        if missing:
            self._proposals[proposal.number] = proposal
            self._missing[proposal.number] = set(missing)
            self._waits.update(dict.fromkeys(missing, proposal.number))
            self._left[proposal.trial] = self._left.get(proposal.trial, 0) + 1
        return missing

    def until(self, run: Run) -> int:
        """Return the environment steps that a run is to reach for now, or has reached."""
        return self._runs[run].until

    def finish(
        self, run: Run, scores: tuple[float, ...], error_class: FailureClass | None
    ) -> tuple[ProposalRecord | None, bool]:
        """Take note that a run got where it was to get, or failed.

        Returns:
            The proposal that has finished with it, if one has; and whether its trial waits for no run any more.
        """
        self._runs[run].done, self._runs[run].scores, self._runs[run].error_class = True, scores, error_class
        number = self._waits.pop(run, None)
        if number is None:
            return None, False
        self._missing[number].discard(run)
        if self._missing[number]:
            return None, False
        del self._missing[number]
        self._left[run.trial] -= 1
        return self._proposals.pop(number), not self._left[run.trial]

    def outcome(self, proposal: ProposalRecord) -> Outcome:
        """Return what came of a proposal whose runs are done."""
        known = {seed: self._runs[Run(proposal.trial, "tuning", seed)] for seed in proposal.seeds}
        failed = tuple(seed for seed, run in known.items() if not run.scores)
        diverged = any(run.error_class == "diverged" for run in known.values())
        if failed:
            return Outcome(None, failed, diverged)
        value, values = self._over_seeds([run.scores for run in known.values()])
        count = len(self._spec.objectives)
        bounded = zip(self._spec.constraints, values[count:], strict=False)
        violations = tuple(constraint.sign * (mean - constraint.bound) for constraint, mean in bounded)
        return Outcome(value, values=values[:count], violations=violations)

    def progress(self, number: int) -> TrialProgress:
        """Return how a trial stands whose tuning runs are all done: never over the seeds that happened to survive."""
        seeds = self._spec.seeds.tuning
        runs = [self._runs[run] for run in (Run(number, "tuning", seed) for seed in seeds) if run in self._runs]
        if any(not run.scores for run in runs):
            return TrialProgress("failed", None, 0, 0)
        furthest = max(run.until for run in runs)
        scores = [run.scores for run in runs if run.until == furthest]
        full = all(run.until == self._spec.budget.steps_per_run for run in runs)
        value, values = self._over_seeds(scores)
        return TrialProgress("completed" if full else "paused", value, furthest, len(scores), values)

    def _over_seeds(self, scores: Sequence[tuple[float, ...]]) -> tuple[float, tuple[float, ...]]:
        """Return the first objective over some seeds; and all measures over them, if there are more."""
        values = over_seeds(self._spec, scores)
        return values[0], () if self._spec.plain else values

    def believe(self, standings: Sequence[Standing]) -> None:
        """Take up what the optimizer believes, in place of what it believed before."""
        believed = {standing.trial: standing for standing in standings}
        for number, trial in self.records.items():
            if trial.posterior != believed.get(number):
                self.records[number] = replace(trial, posterior=believed.get(number))
        self.incumbent = next(iter(self.ranked), None)

    def take_verdicts(self, verdicts: Mapping[int, Verdict]) -> None:
        """Take up what the trials' seeds say of them, in place of what they said before."""
        for number, trial in self.records.items():
            if trial.verdict != verdicts.get(number):
                self.records[number] = replace(trial, verdict=verdicts.get(number))
        self.incumbent = next(iter(self.ranked), None)

    def end(self) -> None:
        """Take note that tuning is over: trials that are paused will not go on."""
        for number, trial in self.records.items():
            if trial.state == "paused":
                self.records[number] = replace(trial, state="pruned")

    @property
    def ranked(self) -> list[TrialRecord]:
        """Trials with a value, the best first."""
        return rank(list(self.records.values()), self._spec.objective.direction)

    def scores(self, number: int, phase: Phase) -> dict[int, tuple[float, ...]]:
        """Return seed → what a trial's runs of a phase score for each measure; empty where there is no score."""
        seeds: Iterable[int] = getattr(self._spec.seeds, phase)
        runs = {seed: self._runs.get(Run(number, phase, seed)) for seed in seeds}
        return {seed: run.scores if run is not None and run.done else () for seed, run in runs.items()}

    def in_full(self, number: int, *phases: Phase) -> list[tuple[float, ...]]:
        """Return what a trial's full runs of some phases score for each measure; nothing if one of its runs failed."""
        full = self._spec.budget.steps_per_run
        runs = [
            self._runs.get(Run(number, phase, seed)) for phase in phases for seed in getattr(self._spec.seeds, phase)
        ]
        done = [run for run in runs if run is not None and run.done]
        if any(not run.scores for run in done):
            return []
        return [run.scores for run in done if run.until == full]
