"""Conduct a study from wherever it stands to its end: tuning, then validation, then test."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from functools import cached_property

from autorl.analysis import aggregate
from autorl.engine import policy
from autorl.engine.dispatch import Dispatcher, last_line
from autorl.engine.plan import default_configuration, max_pending, planned_runs, switches
from autorl.engine.progress import Progress, Watch
from autorl.engine.proposals import Proposer
from autorl.engine.selection import better, choose, rank
from autorl.errors import StorageError, StudyPaused
from autorl.execution.protocol import Executor
from autorl.ledger.book import Book
from autorl.ledger.mirror import Mirror
from autorl.ledger.reader import Reader
from autorl.ledger.records import RunRecord, TrialRecord
from autorl.plugins import find
from autorl.spec.study import StudySpec
from autorl.training.protocol import Backend
from autorl.trial import FailureClass, Phase, Run, RunResult, bind

POLL_SECONDS = 0.5

Stopping = Callable[[], bool]


def never() -> bool:
    """Never ask to stop."""
    return False


def conduct(spec: StudySpec, watch: Watch, stopping: Stopping = never) -> bool:
    """Create a study or go on with it, until it is finished or asked to stop.

    Args:
        spec: the study, checked.
        watch: is called whenever something has happened.
        stopping: whether to save what is in training and stop; asked twice a second.

    Returns:
        Whether the study is finished.

    Raises:
        LeaseHeld: another engine conducts it.
        StorageError: the database holds another study under this name.
        StudyPaused: it cannot go on without a person.
    """
    with _conducting(spec, watch, stopping) as conductor:
        return conductor.finished or conductor.run(conductor.whole)


def retest(spec: StudySpec, trials: Sequence[int], watch: Watch, stopping: Stopping = never) -> bool:
    """Train trials of a finished study on its test seeds, for analysis; those that were are not trained again.

    Returns:
        Whether all were trained; otherwise it was asked to stop.

    Raises:
        LeaseHeld: another engine conducts it.
        StorageError: the study is not finished, or has no such trial.
        StudyPaused: it cannot go on without a person.
    """
    with _conducting(spec, watch, stopping) as conductor:
        return conductor.run(lambda: conductor.retest(trials))


@contextmanager
def _conducting(spec: StudySpec, watch: Watch, stopping: Stopping) -> Iterator[Conductor]:
    """Open everything that conducting needs, and close it again in the right order: no run outlives the lease."""

    def waiting(reason: str) -> None:
        watch(Progress("opening", news=reason, warning=True))

    with Book(spec, max_pending(spec), waiting) as book, Reader(spec.storage) as reader:
        make: Callable[[StudySpec], Executor] = find("autorl.executors", book.spec.execution.executor)
        with closing(make(book.spec)) as executor:
            yield Conductor(book, reader, executor, Mirror(book), watch, stopping)


class _Stop(Exception):
    """Raised to leave the loop: somebody asked for it."""


class Conductor:
    """The loop of one study. Its state is the ledger's; what it holds in memory is read from there when it starts."""

    def __init__(
        self, book: Book, reader: Reader, executor: Executor, mirror: Mirror, watch: Watch, stopping: Stopping
    ) -> None:
        self._book, self._reader, self._mirror = book, reader, mirror
        self._watch, self._stopping = watch, stopping
        self.spec = book.spec
        self._space = self.spec.space
        self._proposer = Proposer(self.spec, lambda: default_configuration(self.spec, self._backend))
        self._phase = "tuning"
        self._winner: int | None = None
        self._incumbent: TrialRecord | None = None
        self._steps_done = self._runs_done = 0
        self._runs_planned = sum(planned_runs(self.spec).values())
        self._trials: dict[int, TrialRecord] = {}
        self._missing: dict[int, set[int]] = {}
        self._scores: dict[Run, float | None] = {}
        self._failures: dict[int, set[FailureClass]] = {}
        self._tracebacks: dict[str, set[int]] = {}
        # A traceback for which the study has paused once, and which somebody has seen, does not stop it again.
        self._accepted = {event.detail.get("fingerprint") for event in reader.events(self.spec.study, "paused")}
        unfinished: dict[Run, RunRecord] = {}
        for record in reader.runs(self.spec.study):
            if record.state in ("completed", "failed"):
                self._note(record.run, record.score, record.error_class, record.error, record.env_steps)
            else:
                unfinished[record.run] = record
        for trial in reader.trials(self.spec.study):
            self._keep(trial)
        self._dispatcher = Dispatcher(book, executor, unfinished, self._run_finished, self._warn)
        book.waiting = self._warn

    @cached_property
    def _backend(self) -> Backend:
        # Importing it may take seconds, which runs that only go on need not wait for.
        backend: Backend = find("autorl.backends", self.spec.algorithm.backend)()
        return backend

    @cached_property
    def _switches(self) -> frozenset[str]:
        return switches(self.spec, self._backend)

    @property
    def finished(self) -> bool:
        """Whether the study was finished before, with no trials added to its budget since."""
        return self._reader.study(self.spec.study).state == "finished" and len(self._trials) >= self.spec.budget.trials

    def run(self, work: Callable[[], None]) -> bool:
        """Do the work; when it is stopped or paused, save what is in training.

        Returns:
            Whether it was done to its end.

        Raises:
            StudyPaused: it cannot go on without a person.
        """
        try:
            work()
        except _Stop:
            self._warn("stopping: the runs in training save their state")
            self._dispatcher.drain()
            self._book.note("stopped")
            return False
        except StudyPaused as paused:
            self._warn("pausing: the runs in training save their state")
            self._dispatcher.drain()
            self._book.pause(str(paused), fingerprint=paused.fingerprint)
            raise
        return True

    def whole(self) -> None:
        """Tune, choose the winner, test it."""
        self.tune()
        self.validate()
        self.test()

    def tune(self) -> None:
        """Propose and train trials until the budget is spent."""
        self._enter("tuning")
        for _, trial in sorted(self._trials.items()):
            self._proposer.restore(trial)
            if trial.state == "running":
                self._begin(trial)
            else:
                self._proposer.finish(trial.number, trial.value, self._diverged(trial.number))
        self._mirror_finished()
        while self._dispatcher.busy or self._proposer.ready:
            while self._proposer.ready and self._dispatcher.room:
                self._propose()
            self._step()

    def validate(self) -> None:
        """Train the best trials on the validation seeds and choose the winner; without such seeds tuning data does."""
        candidates = rank(list(self._trials.values()), self.spec.objective.direction)
        if self.spec.seeds.validation:
            candidates = candidates[: self.spec.retest.top]
            self._enter("validation")
            self._train(candidates, "validation", self.spec.seeds.validation)
        scores = {trial.number: self._of(trial.number, "validation") for trial in candidates}
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

    def _propose(self) -> None:
        proposed = self._proposer.propose()
        if proposed is None:
            return
        config, seeds = proposed.proposal.config, proposed.proposal.seeds
        recipe = bind(self.spec, self._space, config.values, self._switches)
        now = self._book.add_trial(
            proposed.number, proposed.origin, config, recipe, proposed.seen, proposed.told, seeds
        )
        trial = TrialRecord(
            number=proposed.number,
            origin=proposed.origin,
            config=config,
            recipe=recipe,
            seen=proposed.seen,
            told=proposed.told,
            state="running",
            value=None,
            created_at=now,
            finished_at=None,
        )
        self._keep(trial)
        self._begin(trial)

    # Runs

    def _begin(self, trial: TrialRecord) -> None:
        """Take up a trial's tuning runs: those not finished are enqueued."""
        runs = [Run(trial.number, "tuning", seed) for seed in self.spec.seeds.tuning]
        missing = [run for run in runs if run not in self._scores]
        self._missing[trial.number] = {run.seed for run in missing}
        for run in missing:
            self._dispatcher.enqueue(run, trial.recipe)
        if not missing:
            value = self._value(trial.number)
            self._book.finish_trial(trial.number, value)
            self._trial_finished(trial.number, value, trial.created_at)

    def _train(self, trials: Sequence[TrialRecord], phase: Phase, seeds: Sequence[int]) -> None:
        for trial in trials:
            self._book.add_runs(trial.number, phase, seeds)
            for run in (Run(trial.number, phase, seed) for seed in seeds):
                if run not in self._scores:
                    self._dispatcher.enqueue(run, trial.recipe)
        while self._dispatcher.busy:
            self._step()

    def _step(self) -> None:
        if self._stopping() or self._book.stop_asked:
            raise _Stop
        self._dispatcher.step(POLL_SECONDS)
        self._check_tracebacks()
        self._tell_watch("")

    def _note(
        self, run: Run, score: float | None, error_class: FailureClass | None, error: str | None, env_steps: int
    ) -> None:
        """Keep a finished run in memory, and count it."""
        self._scores[run] = score
        self._steps_done += env_steps
        self._runs_done += 1
        if error_class is not None and run.phase == "tuning":
            self._failures.setdefault(run.trial, set()).add(error_class)
        if error_class == "exception":
            self._tracebacks.setdefault(policy.fingerprint(error or ""), set()).add(run.trial)

    def _run_finished(self, run: Run, result: RunResult) -> None:
        """Record a run that has finished, and with the last of a trial's tuning runs the trial."""
        self._note(run, result.score, result.error_class, result.error, result.env_steps)
        missing = self._missing.get(run.trial, set()) if run.phase == "tuning" else set()
        missing.discard(run.seed)
        last = run.phase == "tuning" and not missing
        value = self._value(run.trial) if last else None
        now = self._book.finish_run(run, result, value, last)
        if result.status == "failed":
            what = f"trial {run.trial}, {run.phase} seed {run.seed} failed ({result.error_class})"
            self._warn(f"{what}: {last_line(result.error)}")
        if last:
            self._trial_finished(run.trial, value, now)

    def _trial_finished(self, number: int, value: float | None, at: float) -> None:
        del self._missing[number]
        trial = self._trials[number]
        state = "completed" if value is not None else "failed"
        self._keep(replace(trial, state=state, value=value, finished_at=at))
        self._proposer.finish(number, value, self._diverged(number))
        self._mirror_finished()
        shown = f"{value:.6g}" if value is not None else "failed"
        self._tell_watch(f"trial {number}: {self.spec.objective.over_seeds} {self.spec.objective.metric} {shown}")

    def _keep(self, trial: TrialRecord) -> None:
        self._trials[trial.number] = trial
        if trial.value is not None and better(trial, self._incumbent, self.spec.objective.direction):
            self._incumbent = trial

    def _mirror_finished(self) -> None:
        """Write as Optuna trials those that have finished, in the order of their numbers."""
        while (trial := self._trials.get(self._mirror.next)) is not None and trial.state != "running":
            seeds = self.spec.seeds.tuning
            scores = {seed: self._scores.get(Run(trial.number, "tuning", seed)) for seed in seeds}
            self._mirror.write(trial, self._trials[0].config, scores)

    def _check_tracebacks(self) -> None:
        """Pause when trials fail in the same place: more of them would."""
        for fingerprint, trials in self._tracebacks.items():
            if len(trials) >= policy.SAME_TRACEBACK and fingerprint not in self._accepted:
                runs = self._reader.runs(self.spec.study, trials=sorted(trials))
                error = next(r.error or "" for r in runs if policy.fingerprint(r.error or "") == fingerprint)
                shown = ", ".join(map(str, sorted(trials)))
                raise StudyPaused(f"trials {shown} failed with the same traceback:\n{error.rstrip()}", fingerprint)

    def _of(self, number: int, phase: Phase) -> list[float]:
        """Return a trial's scores in a phase, without those of failed runs."""
        seeds = getattr(self.spec.seeds, phase)
        scores = [self._scores.get(Run(number, phase, seed)) for seed in seeds]
        return [score for score in scores if score is not None]

    def _value(self, number: int) -> float | None:
        """Return a trial's objective; never over the seeds that happened to survive."""
        scores = self._of(number, "tuning")
        whole = len(scores) == len(self.spec.seeds.tuning)
        return aggregate(scores, self.spec.objective.over_seeds) if whole else None

    def _diverged(self, number: int) -> bool:
        return "diverged" in self._failures.get(number, ())

    def _warn(self, news: str) -> None:
        self._tell_watch(news, warning=True)

    def _tell_watch(self, news: str, warning: bool = False) -> None:
        best = self._incumbent
        self._watch(
            Progress(
                phase=self._phase,
                env_steps=self._steps_done + sum(self._dispatcher.live_steps.values()),
                env_steps_planned=self._runs_planned * self.spec.budget.steps_per_run,
                runs=self._runs_done,
                runs_planned=self._runs_planned,
                incumbent=(best.number, best.value) if best is not None and best.value is not None else None,
                news=news,
                warning=warning,
            )
        )
