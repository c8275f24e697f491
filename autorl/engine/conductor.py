"""Conduct a study from wherever it stands to its end: tuning, then validation, then test."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager

from autorl.analysis import aggregate
from autorl.engine.dispatch import Dispatcher
from autorl.engine.plan import default_configuration, max_pending, planned_runs, switches, workers
from autorl.engine.progress import Progress, Watch
from autorl.engine.selection import choose, rank
from autorl.errors import StorageError
from autorl.execution.protocol import Executor
from autorl.ledger.book import Book
from autorl.ledger.mirror import Mirror
from autorl.ledger.reader import Reader
from autorl.ledger.records import RunRecord, TrialRecord
from autorl.optimizers.protocol import Optimizer, Question
from autorl.plugins import find
from autorl.spec.study import StudySpec
from autorl.training.protocol import Backend
from autorl.trial import Phase, Proposal, Run, RunResult, TrialResult, bind

POLL_SECONDS = 0.5


def conduct(spec: StudySpec, watch: Watch) -> None:
    """Create a study or go on with it, until it is finished.

    Args:
        spec: the study, checked.
        watch: is called whenever something has happened.

    Raises:
        LeaseHeld: another engine conducts it.
        StorageError: the database holds another study under this name.
    """
    with _conducting(spec, watch) as conductor:
        if conductor.finished:
            return
        conductor.tune()
        conductor.validate()
        conductor.test()


def retest(spec: StudySpec, trials: Sequence[int], watch: Watch) -> None:
    """Train trials of a finished study on its test seeds, for analysis; those that were are not trained again.

    Raises:
        LeaseHeld: another engine conducts it.
        StorageError: the study is not finished, or has no such trial.
    """
    with _conducting(spec, watch) as conductor:
        conductor.retest(trials)


@contextmanager
def _conducting(spec: StudySpec, watch: Watch) -> Iterator[Conductor]:
    """Open everything that conducting needs, and close it again in the right order: no run outlives the lease."""
    with Book(spec, max_pending(spec)) as book, Reader(book.spec.storage) as reader:
        make: Callable[[int, str], Executor] = find("autorl.executors", book.spec.execution.executor)
        with closing(make(workers(book.spec), book.spec.algorithm.backend)) as executor:
            yield Conductor(book, reader, executor, watch)


class Conductor:
    """The loop of one study. Its state is the ledger's; what it holds in memory is read from there when it starts."""

    def __init__(self, book: Book, reader: Reader, executor: Executor, watch: Watch) -> None:
        self._book, self._reader, self._watch = book, reader, watch
        self.spec = book.spec
        self._space = self.spec.space
        self._backend: Backend = find("autorl.backends", self.spec.algorithm.backend)()
        self._switches = switches(self.spec, self._backend)
        self._dispatcher = Dispatcher(book, executor, self._run_finished)
        self._mirror = Mirror(book)
        self._phase = "tuning"
        self._trials = {trial.number: trial for trial in reader.trials(self.spec.study)}
        self._runs: dict[int, dict[Run, RunRecord]] = {}
        self._steps_done = self._runs_done = 0
        self._runs_planned = sum(planned_runs(self.spec).values())
        for record in reader.runs(self.spec.study):
            self._note(record)
        self._open: dict[int, set[int]] = {}
        self._known = 0
        self._exhausted = False
        self._winner: int | None = None
        question = Question(
            self._space,
            self.spec.seeds.tuning,
            self.spec.budget.steps_per_run,
            self.spec.objective.direction,
            self.spec.optimizer.seed,
        )
        self._optimizer: Optimizer = find("autorl.optimizers", self.spec.optimizer.name)(question)

    @property
    def finished(self) -> bool:
        """Whether the study was finished before, with no trials added to its budget since."""
        return self._reader.study(self.spec.study).state == "finished" and len(self._trials) >= self.spec.budget.trials

    def tune(self) -> None:
        """Propose and train trials until the budget is spent."""
        self._enter("tuning")
        for number, trial in sorted(self._trials.items()):
            self._tell_until(number)
            proposal = Proposal(trial.config, self.spec.seeds.tuning, trial.recipe.env_steps)
            self._optimizer.restore(number, proposal)
            self._begin(trial)
        self._settle()
        while self._dispatcher.busy or self._may_propose():
            while self._may_propose() and self._dispatcher.room:
                self._propose()
            self._step()

    def validate(self) -> None:
        """Train the best trials on the validation seeds and choose the winner; without such seeds tuning data does."""
        candidates = self._ranked()
        if self.spec.seeds.validation:
            candidates = candidates[: self.spec.retest.top]
            self._enter("validation")
            self._train(candidates, "validation", self.spec.seeds.validation)
        scores = {trial.number: self._scores(trial.number, "validation") for trial in candidates}
        self._winner = choose(candidates, scores, self.spec.seeds.validation, self.spec.objective)

    def test(self) -> None:
        """Train the winner and the default configuration on the test seeds, and finish the study."""
        if self._winner is not None:
            self._enter("test")
            chosen = sorted({self._winner, 0})
            self._train([self._trials[number] for number in chosen], "test", self.spec.seeds.test)
        self._enter("finished")

    def retest(self, trials: Sequence[int]) -> None:
        """Train trials on the test seeds; see the function of this name."""
        study = self._reader.study(self.spec.study)
        if study.state != "finished":
            raise StorageError(f"study '{study.name}' is not finished; run `autorl run` first")
        unknown = [number for number in trials if number not in self._trials]
        if unknown:
            raise StorageError(
                f"study '{study.name}' has no trial {unknown[0]}; its trials are 0 to {max(self._trials)}"
            )
        self._phase = "test"
        self._train([self._trials[number] for number in trials], "test", self.spec.seeds.test)

    def _enter(self, phase: str) -> None:
        self._phase = phase
        self._book.enter(phase, self._winner)
        self._tell_watch("")

    # Proposals

    def _may_propose(self) -> bool:
        number = len(self._trials)
        if self._exhausted or number >= self.spec.budget.trials:
            return False
        return self._optimizer.independent or number <= self._known_through() + (self.spec.optimizer.max_pending or 0)

    def _known_through(self) -> int:
        """Return how many trials, counted from 0 without a gap, have finished."""
        known = self._known
        while known in self._trials and self._trials[known].state != "running":
            known += 1
        return known

    def _tell_until(self, number: int) -> None:
        """Tell the optimizer exactly what the proposal of this number may know, so that timing cannot change it."""
        pending = 0 if self._optimizer.independent else (self.spec.optimizer.max_pending or 0)
        through = min(self._known_through(), max(0, number - pending))
        for finished in range(self._known, through):
            self._optimizer.tell(finished, TrialResult(self._trials[finished].value))
        self._known = max(self._known, through)

    def _propose(self) -> None:
        number = len(self._trials)
        self._tell_until(number)
        origin = "optimizer"
        if number == 0:
            origin = "default"
            config = default_configuration(self.spec, self._backend)
            first = Proposal(config, self.spec.seeds.tuning, self.spec.budget.steps_per_run)
            self._optimizer.restore(0, first)
            proposal: Proposal | None = first
        else:
            proposal = self._optimizer.ask(number)
        if proposal is None:
            self._exhausted = True
            return
        recipe = bind(self.spec, self._space, proposal.config.values, self._switches)
        seen = f"0:{self._known}" if not self._optimizer.independent else "0:0"
        self._book.add_trial(number, origin, proposal.config, recipe, seen, proposal.seeds)
        (self._trials[number],) = self._reader.trials(self.spec.study, [number])
        self._begin(self._trials[number])

    # Runs

    def _begin(self, trial: TrialRecord) -> None:
        """Take up a trial's tuning runs: those not finished are enqueued."""
        if trial.state != "running":
            return
        missing = [seed for seed in self.spec.seeds.tuning if not self._is_finished(Run(trial.number, "tuning", seed))]
        self._open[trial.number] = set(missing)
        self._dispatcher.enqueue([(Run(trial.number, "tuning", seed), trial.recipe) for seed in missing])

    def _train(self, trials: Sequence[TrialRecord], phase: Phase, seeds: Sequence[int]) -> None:
        for trial in trials:
            self._book.add_runs(trial.number, phase, seeds)
        runs = [(Run(trial.number, phase, seed), trial.recipe) for trial in trials for seed in seeds]
        self._dispatcher.enqueue([(run, recipe) for run, recipe in runs if not self._is_finished(run)])
        while self._dispatcher.busy:
            self._step()

    def _step(self) -> None:
        self._dispatcher.step(POLL_SECONDS)
        self._settle()
        self._tell_watch("")

    def _is_finished(self, run: Run) -> bool:
        return run in self._runs.get(run.trial, {})

    def _note(self, record: RunRecord) -> None:
        """Keep a finished run in memory, and count it."""
        if record.state in ("completed", "failed"):
            self._runs.setdefault(record.trial, {})[record.run] = record
            self._steps_done += record.env_steps
            self._runs_done += 1

    def _run_finished(self, run: Run, result: RunResult) -> None:
        (record,) = [r for r in self._reader.runs(self.spec.study, run.phase, [run.trial]) if r.seed == run.seed]
        self._note(record)
        self._open.get(run.trial, set()).discard(run.seed)
        what = f"trial {run.trial}, {run.phase} seed {run.seed}"
        if result.status == "failed":
            last = (result.error or "").strip().splitlines()[-1:] or [""]
            self._tell_watch(f"{what} failed ({result.error_class}): {last[0]}")

    def _settle(self) -> None:
        """Complete the trials whose tuning runs have all finished."""
        for number in [n for n, missing in self._open.items() if not missing]:
            del self._open[number]
            scores = self._scores(number, "tuning")
            value = (
                aggregate(scores, self.spec.objective.over_seeds)
                if len(scores) == len(self.spec.seeds.tuning)
                else None
            )
            self._book.finish_trial(number, value)
            (self._trials[number],) = self._reader.trials(self.spec.study, [number])
            shown = f"{value:.6g}" if value is not None else "failed"
            self._tell_watch(f"trial {number}: {self.spec.objective.over_seeds} {self.spec.objective.metric} {shown}")
        while (trial := self._trials.get(self._mirror.next)) is not None and trial.state != "running":
            default = self._trials[0].config
            self._mirror.write(
                trial, default, {record.seed: record.score for record in self._of(trial.number, "tuning")}
            )

    def _of(self, number: int, phase: Phase) -> list[RunRecord]:
        return [record for run, record in self._runs.get(number, {}).items() if run.phase == phase]

    def _scores(self, number: int, phase: Phase) -> list[float]:
        return [r.score for r in sorted(self._of(number, phase), key=lambda r: r.seed) if r.score is not None]

    def _ranked(self) -> list[TrialRecord]:
        return rank(list(self._trials.values()), self.spec.objective.direction)

    def _tell_watch(self, news: str) -> None:
        best = self._ranked()[:1]
        self._watch(
            Progress(
                phase=self._phase,
                env_steps=self._steps_done + sum(self._dispatcher.live_steps.values()),
                env_steps_planned=self._runs_planned * self.spec.budget.steps_per_run,
                runs=self._runs_done,
                runs_planned=self._runs_planned,
                incumbent=(best[0].number, best[0].value) if best and best[0].value is not None else None,
                news=news,
            )
        )
