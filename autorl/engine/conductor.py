"""Conduct a study from wherever it stands to its end: tuning, then validation, then test."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, replace
from functools import cached_property
from pathlib import Path

from autorl.engine import policy
from autorl.engine.dispatch import Dispatcher, last_line
from autorl.engine.front import front, surviving, verdicts
from autorl.engine.inheritance import inheriting
from autorl.engine.limits import limit_reached
from autorl.engine.measures import Course, course
from autorl.engine.plan import (
    Matcher,
    default_configuration,
    default_recipe,
    enqueued,
    matcher,
    max_pending,
    planned_steps,
    switches,
    transferred,
)
from autorl.engine.progress import Progress, Watch
from autorl.engine.proposals import Proposer, courses_of
from autorl.engine.selection import choose
from autorl.engine.trials import Trials
from autorl.errors import StorageError, StudyPaused
from autorl.execution.protocol import Executor
from autorl.ledger.book import Book
from autorl.ledger.mirror import Mirror, forget
from autorl.ledger.reader import Reader
from autorl.ledger.records import ProposalRecord, RunRecord, TrialProgress, TrialRecord
from autorl.plugins import find
from autorl.spec.space import Configuration
from autorl.spec.study import StudySpec
from autorl.training.protocol import Backend
from autorl.trial import Checkpoint, FailureClass, Phase, Run, RunResult, Start, bind

POLL_SECONDS = 0.5
BELIEVE_SECONDS = 10.0

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
        StorageError: the database holds another study under this name, or no earlier one to learn from as asked.
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

    spec = inheriting(spec)
    backend: Backend = find("autorl.backends", spec.algorithm.backend)()
    together = 1 if backend.lanes == 1 else backend.together(default_recipe(spec, backend))
    with Book(spec, max_pending(spec, together), waiting) as book, Reader(spec.storage) as reader:
        make: Callable[[StudySpec], Executor] = find("autorl.executors", book.spec.execution.executor)
        with closing(make(book.spec)) as executor:
            yield Conductor(book, reader, executor, backend, Mirror(book), watch, stopping)


class _Stop(Exception):
    """Raised to leave the loop: somebody asked for it."""


class Conductor:
    """The loop of one study. Its state is the ledger's; what it holds in memory is read from there when it starts."""

    def __init__(
        self,
        book: Book,
        reader: Reader,
        executor: Executor,
        backend: Backend,
        mirror: Mirror,
        watch: Watch,
        stopping: Stopping,
    ) -> None:
        self._book, self._reader, self._backend, self._mirror = book, reader, backend, mirror
        self._watch, self._stopping = watch, stopping
        self.spec = book.spec
        self._space = self.spec.space
        self._study = reader.study(self.spec.study)
        self._trials = Trials(self.spec)
        self._courses: dict[tuple[int, int], Course] = {}
        self._proposer = Proposer(
            self.spec, self._first, lambda *which: self._match(*which), lambda *run: self._courses.get(run, ())
        )
        self._phase = "tuning"
        self._winner: int | None = None
        self._front: tuple[int, ...] = ()
        self._steps_done = self._runs_done = 0
        self._steps: dict[Run, int] = {}
        self._planned = sum(steps or 0 for steps in planned_steps(self.spec).values())
        self._tracebacks: dict[str, set[int]] = {}
        self._started = self._believed = time.monotonic()
        self._tuned_before, self._tuning = self._study.tuning_seconds, False
        # A traceback for which the study has paused once, and which somebody has seen, does not stop it again.
        self._accepted = {event.detail.get("fingerprint") for event in reader.events(self.spec.study, "paused")}
        folder = "" if self.spec.program is None else self.spec.program.folder
        for trial in reader.trials(self.spec.study):
            self._trials.keep(replace(trial, recipe=trial.recipe.in_folder(folder)))
        unfinished: dict[Run, RunRecord] = {}
        for record in reader.runs(self.spec.study):
            done = record.state in ("paused", "completed", "failed")
            self._trials.note(record.run, record.until, done, record.scores, record.error_class)
            if done:
                self._count(record.run, record.error_class, record.error, record.env_steps)
            if record.state not in ("completed", "failed"):
                unfinished[record.run] = record
        self._dispatcher = Dispatcher(
            book, executor, backend, unfinished, self._run_finished, self._warn, lambda: self._tuning_seconds
        )
        book.waiting = self._warn

    @cached_property
    def _switches(self) -> frozenset[str]:
        return switches(self.spec, self._backend)

    @cached_property
    def _match(self) -> Matcher:
        return matcher(self.spec, self._backend)

    def _first(self) -> list[tuple[str, Configuration]]:
        """Return the configurations that are tried before the optimizer's own, each once."""
        wanted = [("default", default_configuration(self.spec, self._backend))]
        wanted += [("enqueued", config) for config in enqueued(self.spec, self._backend)]
        transfer = self.spec.optimizer.transfer
        if transfer is not None:
            with Reader(transfer.storage or self.spec.storage) as earlier:
                found = transferred(self.spec, self._backend, earlier)
            wanted += [("transferred", config) for config in found]
        return [(o, config) for i, (o, config) in enumerate(wanted) if all(config != c for _, c in wanted[:i])]

    @property
    def finished(self) -> bool:
        """Whether the study was finished before, with no change of its budget since."""
        return self._study.state == "finished"

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
        """Propose and train until the budget is spent, or another limit is reached."""
        self._enter("tuning")
        self._started, self._tuning = time.monotonic(), True
        self._restore()
        # What was tried again may have left the study at a limit: then nothing more is proposed.
        ended = self._study.ended or limit_reached(self.spec, self._trials, self._tuning_seconds)
        while self._dispatcher.busy or not ended:
            while not ended and self._proposer.ready and self._dispatcher.room:
                self._propose()
                ended = self._proposer.ended
            if self._dispatcher.busy:
                self._step()
            ended = ended or limit_reached(self.spec, self._trials, self._tuning_seconds)
        self._tuned_before, self._tuning = self._tuning_seconds, False
        self._book.beat({}, self._tuned_before)  # else the limit that ended it would not be seen to be reached
        self._proposer.conclude()
        self._believe()
        self._book.end_tuning(ended)
        self._trials.end()
        self._mirror_finished(())

    def validate(self) -> None:
        """Train the best trials on the validation seeds and choose the winner; without such seeds tuning data does."""
        several, seeds = len(self.spec.objectives) > 1, self.spec.seeds.validation
        candidates = front(self.spec, self._trials.ranked) if several else self._trials.ranked
        if seeds:
            candidates = candidates[: self.spec.retested]
            self._enter("validation")
            self._train(candidates, "validation", seeds)
        trained = {t.number: self._trials.in_full(t.number, "tuning", "validation") for t in candidates}
        if several:
            if not any(trained.values()):  # each failed on a validation seed
                trained = {t.number: self._trials.in_full(t.number, "tuning") for t in candidates}
            if any(trained.values()):
                stay, self._winner = surviving(self.spec, trained)
                self._front = tuple(stay)
            return
        scores = {t.number: [own[0] for own in self._trials.in_full(t.number, "validation")] for t in candidates}
        judged = verdicts(self.spec, self._all_in_full("tuning", "validation"))
        self._winner = choose(candidates, scores, seeds, self.spec.objective, judged)

    def test(self) -> None:
        """Train the winner and the default configuration on the test seeds, and finish the study."""
        if self._winner is not None:
            self._enter("test")
            chosen = sorted({self._winner, 0, *self._front})
            self._train([self._trials.records[number] for number in chosen], "test", self.spec.seeds.test)
        self._dispatcher.keep_only(())
        self._enter("finished")

    def retest(self, trials: Sequence[int]) -> None:
        """Train trials on the test seeds; see the function of this name."""
        study, known, program = self._study, self._trials.records, self.spec.program
        if study.state != "finished":
            raise StorageError(f"study '{study.name}' is not finished; run `autorl run` first")
        if program is not None and not Path(program.folder).is_dir():
            raise StorageError(
                f"study '{study.name}': its trainer's folder '{program.folder}' is not here; run the study's file from "
                "where it is now, which trains nothing again: autorl run FILE"
            )
        unknown = [number for number in trials if number not in known]
        if unknown:
            raise StorageError(f"study '{study.name}' has no trial {unknown[0]}; its trials are 0 to {max(known)}")
        self._phase = "test"
        self._train([known[number] for number in dict.fromkeys(trials)], "test", self.spec.seeds.test)

    def _enter(self, phase: str) -> None:
        self._phase = phase
        self._book.enter(phase, self._winner, self._front)
        self._tell_watch("")

    # Proposals

    def _restore(self) -> None:
        """Take up what was proposed before, and enqueue what of it has not been trained."""
        if self._proposer.optimizer.reads == "curves":
            self._courses |= courses_of(self._reader, self.spec, self._trials.records)
        waiting: list[tuple[Run, int]] = []
        for proposal in self._reader.proposals(self.spec.study):
            self._proposer.restore(proposal, self._trials.records[proposal.trial].config)
            missing = self._trials.propose(proposal)
            waiting += [(run, proposal.until) for run in missing]
            if not missing:
                self._proposer.finish(proposal.number, self._trials.outcome(proposal))
        for run, until in waiting:
            self._dispatcher.enqueue(run, self._trials.records[run.trial].recipe, until)
        self._mirror_finished(self._proposer.needed)

    def _propose(self) -> None:
        proposed = self._proposer.propose()
        if proposed is None:
            return
        proposal, trial = proposed.record, None
        checkpoints: dict[int, Checkpoint] = {}
        if proposed.origin is not None:
            start, checkpoints = self._fork(proposal)
            recipe = bind(self.spec, self._space, proposed.config.values, self._switches, start)
            trial = TrialRecord(
                proposal.trial, proposed.origin, proposed.config, recipe, time.time(), proposal.resume_from
            )
        elif proposal.trial < self._mirror.next:
            # What Optuna holds of it is final, and no longer true: the study's trials are written anew.
            forget(self._book)
            self._mirror = Mirror(self._book)
        self._book.add_proposal(proposal, trial, checkpoints)
        self._trials.keep(trial or replace(self._trials.records[proposal.trial], state="running"))
        for run in self._trials.propose(proposal, new=True):
            recipe = self._trials.records[run.trial].recipe
            self._dispatcher.enqueue(run, recipe, proposal.until, checkpoints.get(run.seed))

    def _fork(self, proposal: ProposalRecord) -> tuple[Start | None, dict[int, Checkpoint]]:
        """Copy the checkpoints from which a fork starts, and say what they have trained."""
        if proposal.resume_from is None:
            return None, {}
        donor = self._trials.records[proposal.resume_from]
        runs = {seed: Run(donor.number, "tuning", seed) for seed in proposal.seeds}
        copies = {seed: self._dispatcher.fork(run, Run(proposal.trial, "tuning", seed)) for seed, run in runs.items()}
        start = Start(donor.recipe, self._trials.until(next(iter(runs.values()))))
        return start, {seed: checkpoint for seed, checkpoint in copies.items() if checkpoint is not None}

    @property
    def _tuning_seconds(self) -> float:
        return self._tuned_before + (time.monotonic() - self._started if self._tuning else 0.0)

    def _believe(self) -> None:
        """Take over what the optimizer believes of the trials, if it has a belief."""
        self._believed = time.monotonic()
        standings = self._proposer.optimizer.ranking()
        if standings:
            self._book.believe(standings)
            self._trials.believe(standings)
        if not self.spec.plain:
            judged = verdicts(self.spec, self._all_in_full("tuning"))
            self._book.judge(judged)
            self._trials.take_verdicts(judged)

    def _all_in_full(self, *phases: Phase) -> dict[int, list[tuple[float, ...]]]:
        return {number: self._trials.in_full(number, *phases) for number in self._trials.records}

    # Runs

    def _train(self, trials: Sequence[TrialRecord], phase: Phase, seeds: Sequence[int]) -> None:
        until = self.spec.budget.steps_per_run
        for trial in trials:
            self._book.add_runs(trial.number, phase, seeds, until)
            for run in (Run(trial.number, phase, seed) for seed in seeds):
                if not self._trials.done(run):
                    self._trials.note(run, until, False)
                    self._dispatcher.enqueue(run, trial.recipe, until)
        while self._dispatcher.busy:
            self._step()

    def _step(self) -> None:
        if self._stopping() or self._book.stop_asked:
            raise _Stop
        self._dispatcher.step(POLL_SECONDS)
        self._check_tracebacks()
        self._tell_watch("")

    def _count(self, run: Run, error_class: FailureClass | None, error: str | None, env_steps: int) -> None:
        self._runs_done += run not in self._steps
        env_steps -= self._trials.inherited(run)
        self._steps_done += env_steps - self._steps.get(run, 0)
        self._steps[run] = env_steps
        if error_class == "exception":
            self._tracebacks.setdefault(policy.fingerprint(error or ""), set()).add(run.trial)

    def _run_finished(self, run: Run, result: RunResult) -> None:
        """Record a run that has got where it was to get, and with the last that a trial waits for the trial."""
        self._count(run, result.error_class, result.error, result.env_steps)
        scored = course(self.spec, result.curve, result.cpu_seconds)
        if result.status == "completed" and scored:
            result = replace(result, scores=scored[-1][1])
        if scored and run.phase == "tuning" and self._proposer.optimizer.reads == "curves":
            self._courses[run.trial, run.seed] = scored
        paused = result.status == "completed" and self._trials.until(run) < self.spec.budget.steps_per_run
        proposal, last = self._trials.finish(run, result.scores, result.error_class)
        progress = self._trials.progress(run.trial) if last else None
        now = self._book.finish_run(run, result, paused, progress)
        if result.status == "failed":
            what = f"trial {run.trial}, {run.phase} seed {run.seed} failed ({result.error_class})"
            self._warn(f"{what}: {last_line(result.error)}")
        if proposal is not None:
            self._proposer.finish(proposal.number, self._trials.outcome(proposal))
        if progress is not None:
            self._trial_stands(run.trial, progress, now)

    def _trial_stands(self, number: int, progress: TrialProgress, at: float) -> None:
        self._trials.keep(replace(self._trials.records[number], **asdict(progress), finished_at=at))
        if time.monotonic() - self._believed > BELIEVE_SECONDS:
            self._believe()
        needed = self._proposer.needed
        self._dispatcher.keep_only(needed)
        self._mirror_finished(needed)
        shown = f"{progress.value:.6g}" if progress.value is not None else "failed"
        what = f"trial {number}: {self.spec.objective.words} {shown}"
        for objective, value in zip(self.spec.objectives[1:], progress.values[1:], strict=False):
            what += f", {objective.words} {value:.6g}"
        full = progress.state == "completed" and progress.seeds == len(self.spec.seeds.tuning)
        if progress.value is not None and not full:
            seeds = f"{progress.seeds} seed" + ("s" if progress.seeds > 1 else "")
            what += f" at {progress.env_steps:,} steps on {seeds}"
        self._tell_watch(what)

    def _mirror_finished(self, open_trials: Collection[int]) -> None:
        """Write as Optuna trials those that will not change any more, in the order of their numbers."""
        while (trial := self._trials.records.get(self._mirror.next)) is not None:
            if trial.state in ("running", "paused") or trial.number in open_trials:
                break
            self._mirror.write(trial, self._trials.records[0].config, self._trials.scores(trial.number, "tuning"))

    def _check_tracebacks(self) -> None:
        """Pause when trials fail in the same place: more of them would."""
        for fingerprint, trials in self._tracebacks.items():
            if len(trials) >= policy.SAME_TRACEBACK and fingerprint not in self._accepted:
                runs = self._reader.runs(self.spec.study, trials=sorted(trials))
                error = next(r.error or "" for r in runs if policy.fingerprint(r.error or "") == fingerprint)
                shown = ", ".join(map(str, sorted(trials)))
                raise StudyPaused(f"trials {shown} failed with the same traceback:\n{error.rstrip()}", fingerprint)

    def _warn(self, news: str) -> None:
        self._tell_watch(news, warning=True)

    def _tell_watch(self, news: str, warning: bool = False) -> None:
        best = self._trials.incumbent
        live = sum(
            steps - self._trials.inherited(run) - self._steps.get(run, 0)
            for run, steps in self._dispatcher.live_steps.items()
        )
        self._watch(
            Progress(
                phase=self._phase,
                env_steps=self._steps_done + max(live, 0),
                env_steps_planned=self._planned,
                runs=self._runs_done,
                incumbent=(best.number, best.worth) if best is not None and best.worth is not None else None,
                news=news,
                warning=warning,
            )
        )
