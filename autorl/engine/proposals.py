"""Ask the optimizer so that neither timing nor an interruption can change a proposal.

Trial n is proposed knowing exactly the trials below n - `max_pending`, whatever else has finished by then. What the
optimizer is told before each proposal is recorded with it, so that any study can be proposed again (`replay`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from autorl.ledger.records import TrialRecord
from autorl.optimizers.protocol import Optimizer, Question
from autorl.plugins import find
from autorl.spec.space import Configuration
from autorl.spec.study import StudySpec
from autorl.trial import Proposal, TrialResult


@dataclass(frozen=True)
class Proposed:
    """A proposal, and what it was based on.

    Attributes:
        number: the trial's.
        origin: `default` or `optimizer`.
        proposal: what to train.
        seen: the finished trials that it knew, as a range.
        told: of those, the ones that the proposal before it had not known: number → what the optimizer was told.
    """

    number: int
    origin: str
    proposal: Proposal
    seen: str
    told: Mapping[int, float | None]


class Proposer:
    """Proposes the trials of one study, in the order of their numbers.

    Args:
        spec: the study, its `max_pending` fixed.
        default: returns its default configuration, which is the first trial.
    """

    def __init__(self, spec: StudySpec, default: Callable[[], Configuration]) -> None:
        self._spec, self._default = spec, default
        self._optimizer = make_optimizer(spec)
        self._pending = spec.optimizer.max_pending or 0
        self._values: dict[int, float | None] = {}
        self._diverged: set[int] = set()
        self._worst: float | None = None
        self._finished = self._known = self._next = 0
        self._exhausted = False

    @property
    def ready(self) -> bool:
        """Whether the next trial can be proposed now."""
        if self._exhausted or self._next >= self._spec.budget.trials:
            return False
        return self._optimizer.independent or self._next <= self._finished + self._pending

    def restore(self, trial: TrialRecord) -> None:
        """Take up a trial that was proposed before; trials come in the order of their numbers."""
        for number, value in trial.told.items():
            self._tell(number, value)
        self._optimizer.restore(trial.number, _proposal(self._spec, trial.config))
        self._next = trial.number + 1

    def finish(self, number: int, value: float | None, diverged: bool) -> None:
        """Take note that a trial has finished.

        Args:
            number: the trial's.
            value: its objective, or None if it failed.
            diverged: whether it failed since training diverged, which speaks against its configuration.
        """
        self._values[number] = value
        if diverged:
            self._diverged.add(number)
        while self._finished in self._values:
            self._finished += 1

    def propose(self) -> Proposed | None:
        """Propose the next trial, or None when the optimizer has nothing left to try."""
        number, told = self._next, {}
        if not self._optimizer.independent:
            for finished in range(self._known, min(self._finished, max(0, number - self._pending))):
                told[finished] = self._worst if finished in self._diverged else self._values[finished]
                self._tell(finished, told[finished])
        if number == 0:
            proposal: Proposal | None = _proposal(self._spec, self._default())
            assert proposal is not None
            self._optimizer.restore(0, proposal)
        else:
            proposal = self._optimizer.ask(number)
        if proposal is None:
            self._exhausted = True
            return None
        self._next += 1
        return Proposed(number, "optimizer" if number else "default", proposal, f"0:{self._known}", told)

    def _tell(self, number: int, value: float | None) -> None:
        self._optimizer.tell(number, TrialResult(value))
        self._known = number + 1
        if value is not None:
            worse = min if self._spec.objective.direction == "maximize" else max
            self._worst = value if self._worst is None else worse(self._worst, value)


def make_optimizer(spec: StudySpec) -> Optimizer:
    """Make the optimizer that a study names."""
    question = Question(
        spec.space, spec.seeds.tuning, spec.budget.steps_per_run, spec.objective.direction, spec.optimizer.seed
    )
    optimizer: Optimizer = find("autorl.optimizers", spec.optimizer.name)(question)
    return optimizer


def replay(spec: StudySpec, trials: Sequence[TrialRecord]) -> Iterator[tuple[TrialRecord, Configuration | None]]:
    """Propose a study's trials again, each from what was recorded that its proposal knew.

    Args:
        spec: the study as the ledger holds it.
        trials: all of its trials.

    Yields:
        Each trial, and the configuration that is proposed for it now.
    """
    optimizer = make_optimizer(spec)
    for trial in sorted(trials, key=lambda t: t.number):
        for number, value in trial.told.items():
            optimizer.tell(number, TrialResult(value))
        if trial.origin == "default":
            optimizer.restore(trial.number, _proposal(spec, trial.config))
            yield trial, trial.config
        else:
            proposal = optimizer.ask(trial.number)
            yield trial, proposal.config if proposal is not None else None


def _proposal(spec: StudySpec, config: Configuration) -> Proposal:
    return Proposal(config, spec.seeds.tuning, spec.budget.steps_per_run)
