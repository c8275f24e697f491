"""Ask the optimizer so that neither timing nor an interruption can change a proposal.

Proposal n is made knowing exactly the results of those below n - `max_pending`, whatever else has finished by then, or
as many more as the optimizer waits for. What it was told before each is recorded with it, so that any study can be
proposed again (`replay`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from autorl.engine.measures import Course, course
from autorl.engine.plan import Matcher, make_optimizer, matcher, most_given
from autorl.errors import AutorlError
from autorl.ledger.reader import Reader
from autorl.ledger.records import ProposalRecord, Told, TrialRecord
from autorl.optimizers.protocol import WAIT, Optimizer
from autorl.plugins import find
from autorl.spec.space import Configuration
from autorl.spec.study import BudgetSpec, StudySpec
from autorl.training.protocol import Backend
from autorl.trial import Proposal, TrialResult


@dataclass(frozen=True)
class Proposed:
    """A proposal, and what it was based on.

    Attributes:
        record: what the ledger keeps of it.
        origin: of the trial that it starts; None if it continues one.
        config: the trial's configuration.
    """

    record: ProposalRecord
    origin: str | None
    config: Configuration


@dataclass(frozen=True)
class Outcome:
    """What came of a proposal.

    Attributes:
        value: the objective over its seeds, or None if one of its runs failed.
        failed: the seeds whose run failed.
        diverged: whether one failed since training diverged, which speaks against its configuration.
        values: all objectives, if there are several or constraints.
        violations: by how much each constraint is violated; see `TrialResult`.
    """

    value: float | None
    failed: tuple[int, ...] = ()
    diverged: bool = False
    values: tuple[float, ...] = ()
    violations: tuple[float, ...] = ()


class Proposer:
    """Proposes what one study trains.

    Args:
        spec: the study, its `max_pending` fixed.
        first: returns the configurations that come first, with their origin: the default and those that are enqueued.
        match: returns the configuration that is trained in place of the one proposed, given those of all trials.
        course: returns what a trial's run on a seed scored at each evaluation, as far as it is known.
    """

    def __init__(
        self,
        spec: StudySpec,
        first: Callable[[], Sequence[tuple[str, Configuration]]],
        match: Matcher,
        course: Callable[[int, int], Course],
    ) -> None:
        self._spec, self._first, self._match, self._course = spec, first, match, course
        self._fixed: Sequence[tuple[str, Configuration]] | None = None
        self.optimizer: Optimizer = make_optimizer(spec)
        self._pending = spec.optimizer.max_pending or 0
        self._proposals: list[Proposal] = []
        self._trials: list[Configuration] = []
        self._reached: dict[tuple[int, int], int] = {}
        self._outcomes: dict[int, Outcome] = {}
        self._fresh: dict[int, Told] = {}
        self._worst: Told | None = None
        self._finished = self._known = 0
        self._starved = False
        self.spent = 0
        self.ended = ""

    @property
    def ready(self) -> bool:
        """Whether the next proposal can be made now."""
        if self.ended or (self._starved and self._finished == self._known):
            return False
        return self.optimizer.reads == "nothing" or len(self._proposals) <= self._finished + self._pending

    def restore(self, record: ProposalRecord, config: Configuration) -> None:
        """Take up a proposal that was made before; they come in the order of their numbers."""
        for number, told in record.told.items():
            self._tell(number, told)
        self._take(Proposal(record.trial, config, record.seeds, record.until, record.resume_from))

    def finish(self, number: int, outcome: Outcome) -> None:
        """Take note that all runs of a proposal have got where they were to get, or failed."""
        self._outcomes[number] = outcome
        while self._finished in self._outcomes:
            self._finished += 1

    def propose(self) -> Proposed | None:
        """Propose, or None when the optimizer waits for results or has ended; then `ended` says why."""
        number = len(self._proposals)
        if self.optimizer.reads != "nothing":
            while self._known < min(self._finished, number - self._pending):
                self._tell_next()
        proposal = self.optimizer.ask(number)
        while proposal is WAIT and self._known < self._finished:
            self._tell_next()
            proposal = self.optimizer.ask(number)
        self._starved = proposal is WAIT
        if proposal is WAIT:
            if self._finished == number:
                raise AutorlError(f"optimizer {self._spec.optimizer.name} waits for results of which there are none")
            return None
        if proposal is None:
            self.ended = "the budget is spent" if self._too_little_is_left else "nothing is left to try"
            return None
        self._refuse(proposal)
        if self._spec.tuning_steps is not None and self.spent + self._cost(proposal) > self._spec.tuning_steps:
            self.ended = "the budget is spent"
            return None
        proposal, origin = self._fit(proposal)
        told, self._fresh = self._fresh, {}
        self._take(proposal)
        record = ProposalRecord(
            number, proposal.trial, proposal.seeds, proposal.until, proposal.resume_from, self._known, told
        )
        return Proposed(record, origin, proposal.config)

    @property
    def _too_little_is_left(self) -> bool:
        budget = self._spec.tuning_steps
        return budget is not None and budget - self.spent < self._spec.budget.steps_per_run

    def _fit(self, proposal: Proposal) -> tuple[Proposal, str | None]:
        """Return what is trained in place of a proposal, and where the configuration of a new trial comes from."""
        if proposal.trial < len(self._trials):
            return proposal, None
        origin, config = "optimizer", proposal.config
        # Where all of them are tried already nothing is read: the earlier study that some came from may be gone.
        if self._fixed is None and proposal.trial < most_given(self._spec):
            self._fixed = self._first()
        if self._fixed is not None and proposal.trial < len(self._fixed):
            origin, config = self._fixed[proposal.trial]
        return replace(proposal, config=self._match(config, self._trials)), origin

    def _take(self, proposal: Proposal) -> None:
        self.optimizer.take(len(self._proposals), proposal)
        self.spent += self._cost(proposal)
        self._proposals.append(proposal)
        if proposal.trial == len(self._trials):
            self._trials.append(proposal.config)
        for seed in proposal.seeds:
            self._reached[proposal.trial, seed] = proposal.until

    def _cost(self, proposal: Proposal) -> int:
        """Return the environment steps that a proposal adds: what is resumed has been paid for."""
        return sum(proposal.until - self.start(proposal, seed) for seed in proposal.seeds)

    def start(self, proposal: Proposal, seed: int) -> int:
        """Return the environment steps from which a proposal's run goes on."""
        return 0 if proposal.resume_from is None else self._reached.get((proposal.resume_from, seed), 0)

    def _refuse(self, proposal: Proposal) -> None:
        """Refuse what cannot be trained: an optimizer may be anybody's."""
        new = proposal.trial == len(self._trials)
        wrong = ""
        if not new and (proposal.trial > len(self._trials) or proposal.resume_from != proposal.trial):
            wrong = f"trial {proposal.trial} is neither new nor continued"
        elif not new and proposal.config != self._trials[proposal.trial]:
            wrong = f"trial {proposal.trial} has another configuration"
        elif not proposal.seeds or not set(proposal.seeds) <= set(self._spec.seeds.tuning):
            wrong = f"seeds {list(proposal.seeds)} are not tuning seeds"
        elif proposal.until not in self._spec.points:
            wrong = f"there is no evaluation at {proposal.until} steps"
        elif any(self.start(proposal, seed) >= proposal.until for seed in proposal.seeds):
            wrong = f"trial {proposal.trial} is trained to {proposal.until} steps already"
        elif new and proposal.resume_from is not None and not self._forkable(proposal):
            wrong = f"trial {proposal.resume_from} has nothing to fork on these seeds"
        if wrong:
            raise AutorlError(f"optimizer {self._spec.optimizer.name} proposed what cannot be trained: {wrong}")

    def _forkable(self, proposal: Proposal) -> bool:
        steps = {self._reached.get((proposal.resume_from or 0, seed)) for seed in proposal.seeds}
        pending = {p.trial for p in self._proposals[self._known :]}
        return None not in steps and len(steps) == 1 and proposal.resume_from not in pending

    def _tell_next(self) -> None:
        outcome = self._outcomes[self._known]
        told = Told(outcome.value, outcome.failed, outcome.values, outcome.violations)
        if outcome.diverged and self._worst is not None:
            told = replace(self._worst, failed=outcome.failed)
        self._fresh[self._known] = told
        self._tell(self._known, told)

    def _tell(self, number: int, told: Told) -> None:
        self.optimizer.tell(number, self._result(self._proposals[number], told))
        self._known = number + 1
        if told.value is not None:
            self._worst = told if self._worst is None else self._worse(self._worst, told)

    def _worse(self, a: Told, b: Told) -> Told:
        """Return the worse of two results in every objective and every constraint."""
        worse = [min if objective.direction == "maximize" else max for objective in self._spec.objectives]
        assert a.value is not None
        assert b.value is not None
        return Told(
            worse[0](a.value, b.value),
            values=tuple(choose(x, y) for choose, x, y in zip(worse, a.values, b.values, strict=False)),
            violations=tuple(map(max, a.violations, b.violations)),
        )

    def _result(self, proposal: Proposal, told: Told) -> TrialResult:
        result = TrialResult(told.value, values=told.values, violations=told.violations, failed=told.failed)
        if self.optimizer.reads != "curves":
            return result
        measures = {
            seed: tuple(at for at in self._course(proposal.trial, seed) if at[0] <= proposal.until)
            for seed in proposal.seeds
            if seed not in told.failed
        }
        curves = {seed: tuple((steps, scores[0]) for steps, scores in own) for seed, own in measures.items()}
        return replace(result, curves=curves, measures={} if self._spec.plain else measures)

    def again(self, record: ProposalRecord, trial: TrialRecord) -> bool:
        """Make a recorded proposal again, take it up as it was, and say whether it is the same."""
        for number, told in record.told.items():
            self._tell(number, told)
        proposal = self.optimizer.ask(record.number)
        recorded = Proposal(record.trial, trial.config, record.seeds, record.until, record.resume_from)
        same = isinstance(proposal, Proposal)
        if isinstance(proposal, Proposal):
            config = proposal.config
            if record.trial == len(self._trials):
                config = self._match(config, self._trials) if trial.origin == "optimizer" else trial.config
            same = replace(proposal, config=config) == recorded
        self._take(recorded)
        return same

    @property
    def needed(self) -> frozenset[int]:
        """The trials whose checkpoints a later proposal may start from, as far as can be told by now."""
        needed = frozenset(self.optimizer.needed())
        if self.optimizer.reads == "nothing":
            return needed
        return needed.union(proposal.trial for proposal in self._proposals[self._known :])

    def conclude(self) -> None:
        """Tell what has not been told, since nothing more is proposed: the ranking is to know everything."""
        while self._known < self._finished:
            self._tell_next()


def replay(reader: Reader, spec: StudySpec) -> Iterator[tuple[ProposalRecord, bool]]:
    """Make a study's proposals again, each from what was recorded that it knew.

    Args:
        reader: of the ledger that holds the study.
        spec: the study as the ledger holds it, or another that is to be compared.

    Yields:
        Each proposal, and whether it is the same now.
    """
    backend: Backend = find("autorl.backends", spec.algorithm.backend)()
    trials = {trial.number: trial for trial in reader.trials(spec.study)}
    courses: dict[tuple[int, int], Course] = {}
    records, done = reader.proposals(spec.study), 0
    for until, budget in [*earlier_budgets(reader, spec.study), (len(records), spec.budget)]:
        known = spec.model_copy(update={"budget": budget})
        proposer = Proposer(known, tuple, matcher(known, backend), lambda *run: courses.get(run, ()))
        if proposer.optimizer.reads == "curves" and not courses:
            courses.update(courses_of(reader, spec, trials))
        for record in records[:done]:
            proposer.restore(record, trials[record.trial].config)
        for record in records[done:until]:
            yield record, proposer.again(record, trials[record.trial])
        done = until


def earlier_budgets(reader: Reader, study: str) -> list[tuple[int, BudgetSpec]]:
    """Return the budgets that a study had before it went on with another, each with how many proposals there were."""
    changes = [event.detail for event in reader.events(study, "resumed") if "budget" in event.detail]
    return [(change["proposals"], BudgetSpec.model_validate(change["budget"])) for change in changes]


def courses_of(reader: Reader, spec: StudySpec, trials: Iterable[int]) -> dict[tuple[int, int], Course]:
    """Return (trial, seed) → what the tuning runs of some trials scored at each evaluation."""
    cpu = {run.run: run.cpu_seconds for run in reader.runs(spec.study, "tuning")}
    return {
        (curve.run.trial, curve.run.seed): course(spec, curve.points, cpu[curve.run])
        for curve in reader.curves(spec.study, trials, "tuning")
    }
