"""Ledgers in every state that a study can be in, written through the real writer."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
from rows import add_trial, stands
from small_study import load

from autorl.engine.front import verdicts
from autorl.ledger.book import Book
from autorl.ledger.reader import Reader
from autorl.ledger.records import TrialProgress
from autorl.optimizers.priors import draw
from autorl.spec.space import Configuration
from autorl.spec.study import StudySpec
from autorl.trial import Phase, Point, Run, RunResult, bind

SWITCHES = frozenset({"vf_clip"})
HOSTILE = "<script>alert('hostile')</script>"


def config(number: int) -> Configuration:
    """Return a configuration; odd ones have a conditional parameter."""
    values = {"learning_rate": 10.0**-number, "gamma": 0.99, "batch_size": 16, "vf_clip": number % 2 == 1}
    return Configuration(values | ({"clip_range_vf": 0.5} if number % 2 else {}), {})


def result(score: float) -> RunResult:
    """Return a run that ended with a score, and had half of it at half time."""
    points = [Point(64, 0.5, {"return": score / 2, "return_std": 0.1, "length": 1.0})]
    points.append(Point(128, 1.0, {"return": score, "return_std": 0.1, "length": 1.0}))
    return RunResult("completed", tuple(points), 128, 1.0, 0.9, scores=(score,))


FAILED = RunResult(
    "failed", env_steps=40, wall_seconds=0.5, error_class="exception", error=f"Traceback\nValueError: {HOSTILE}"
)


class Writer:
    """Writes a study's ledger, trial by trial."""

    def __init__(self, book: Book) -> None:
        self.book, self.spec = book, book.spec

    def propose(self, number: int, drawn: Configuration | None = None) -> None:
        """Write a proposal."""
        chosen = drawn or config(number)
        recipe = bind(self.spec, self.spec.space, chosen.values, SWITCHES)
        add_trial(self.book, number, chosen, recipe, self.spec.seeds.tuning)

    def trial(self, number: int, scores: list[float] | None, drawn: Configuration | None = None) -> None:
        """Write a trial with a score for each tuning seed, or one that failed."""
        self.propose(number, drawn)
        for index, seed in enumerate(self.spec.seeds.tuning):
            self.book.finish_run(Run(number, "tuning", seed), result(scores[index]) if scores else FAILED, False, None)
        self.book.set_trial(number, stands(sum(scores) / len(scores) if scores else None))

    def retest(self, number: int, phase: Phase, scores: list[float | None]) -> None:
        """Write runs of a later phase; None is a failed run."""
        seeds = getattr(self.spec.seeds, phase)
        self.book.add_runs(number, phase, seeds, 128)
        for seed, score in zip(seeds, scores, strict=True):
            self.book.finish_run(Run(number, phase, seed), FAILED if score is None else result(score), False, None)


def no_trial(write: Writer) -> None:
    """Nothing has been proposed."""


def proposed(write: Writer) -> None:
    """One trial is training."""
    write.propose(0)
    write.book.start_run(Run(0, "tuning", 0), 1)
    write.book.beat({Run(0, "tuning", 0): 64}, 1.0)


def one_trial(write: Writer) -> None:
    """The default has finished, nothing else."""
    write.trial(0, [0.25, 0.5])


def tuning(write: Writer) -> None:
    """Half of the trials have finished, one failed, one trains."""
    one_trial(write)
    write.trial(1, [0.75, 0.5])
    write.trial(2, None)
    write.propose(3)


def paused(write: Writer) -> None:
    """Three trials failed in the same place; a run of the default crashed once before it completed."""
    write.propose(0)
    for index, seed in enumerate(write.spec.seeds.tuning):
        run = Run(0, "tuning", seed)
        write.book.start_run(run, 1)
        if index == 0:
            write.book.fail_attempt(run, 1, "crash", f"the worker was killed by {HOSTILE}")
            write.book.start_run(run, 2)
        last = seed == write.spec.seeds.tuning[-1]
        write.book.finish_run(run, result(0.5), False, stands(0.5) if last else None)
    for number in (1, 2, 3):
        write.trial(number, None)
    write.book.pause(f"trials 1, 2, 3 failed with the same traceback:\nValueError: {HOSTILE}", fingerprint="0")


def all_failed(write: Writer) -> None:
    """No trial has a score."""
    write.trial(0, None)
    write.trial(1, None)
    write.book.enter("finished", None)


def finished(write: Writer) -> None:
    """Trial 1 won."""
    tuning(write)
    write.trial(4, [0.5, 0.5])
    for number, score in ((1, 0.625), (4, 0.5)):
        write.retest(number, "validation", [score, score + 0.125])
    for number, scores in ((0, [0.25, 0.3, 0.35]), (1, [0.5, 0.55, 0.75])):
        write.retest(number, "test", [*scores])
    write.book.enter("finished", 1)


def default_won(write: Writer) -> None:
    """Tuning found nothing better than the default."""
    write.trial(0, [0.9, 0.9])
    write.trial(1, [0.5, 0.5])
    write.retest(0, "test", [0.9, 0.8, 0.85])
    write.book.enter("finished", 0)


def many_trials(write: Writer) -> None:
    """The learning rate decides, the batch size helps, the rest does nothing; the seeds add noise."""
    rng = np.random.default_rng(0)
    space = write.spec.space
    for number in range(30):
        drawn = draw(space, rng)
        worth = -abs(math.log10(drawn.values["learning_rate"]) + 2.5) + 0.02 * drawn.values["batch_size"]
        write.trial(number, [float(worth + 0.1 * noise) for noise in rng.normal(size=2)], drawn)
    best = max(range(30), key=lambda number: tuned(write, number))
    write.retest(best, "validation", [tuned(write, best)] * 2)
    for number in (0, best):
        write.retest(number, "test", [float(score) for score in tuned(write, number) + 0.1 * rng.normal(size=3)])
    write.book.enter("finished", best)


def tuned(write: Writer, number: int) -> float:
    """Return a trial's tuning score, as the ledger has it."""
    with Reader(write.spec.storage) as reader:
        value = reader.trials(write.spec.study, [number])[0].value
    assert value is not None
    return value


def test_failed(write: Writer) -> None:
    """A test run of the winner failed."""
    one_trial(write)
    write.trial(1, [0.75, 0.5])
    write.retest(0, "test", [0.1, 0.2, 0.3])
    write.retest(1, "test", [0.5, None, 0.5])
    write.book.enter("finished", 1)


STATES: dict[str, Callable[[Writer], None]] = {
    f.__name__: f
    for f in (
        no_trial,
        proposed,
        one_trial,
        tuning,
        paused,
        all_failed,
        finished,
        default_won,
        many_trials,
        test_failed,
    )
}


def make(state: str, folder: Path, *overrides: str) -> StudySpec:
    """Write the ledger of a study in a state, and return the study."""
    spec = load(folder, *overrides)
    with Book(spec, max_pending=1, waiting=print) as book:
        STATES[state](Writer(book))
    return book.spec


OBJECTIVES = (
    "objectives=[{metric: return}, {metric: length, direction: minimize}]",
    "constraints=[{metric: return_std, at_most: 0.5}]",
)


def make_front(folder: Path) -> StudySpec:
    """Write a finished study of two objectives and a constraint: trials 1 and 2 are the front, 2 its knee.

    The more it returns, the longer an episode of a trial takes; trial 3 is dominated, and trial 4 breaks the bound.
    """
    spec = load(folder, *OBJECTIVES)
    rng = np.random.default_rng(0)
    values = {0: (0.2, 5.0, 0.1), 1: (0.5, 2.0, 0.1), 2: (0.9, 3.0, 0.1), 3: (0.4, 4.0, 0.1), 4: (1.5, 1.0, 3.0)}
    with Book(spec, max_pending=1, waiting=print) as book:
        write = Writer(book)
        full: dict[int, list[tuple[float, ...]]] = {}
        for number, mean in values.items():
            write.propose(number)
            full[number] = _scored(write, number, "tuning", mean, rng)
            over = tuple(float(v) for v in np.mean(full[number], axis=0))
            book.set_trial(number, TrialProgress("completed", over[0], 128, 2, over))
        book.judge(verdicts(spec, full))
        for number in (1, 2):
            _scored(write, number, "validation", values[number], rng)
        for number in (0, 1, 2):
            _scored(write, number, "test", values[number], rng)
        book.enter("finished", 2, (1, 2))
    return book.spec


def make_objectives(folder: Path) -> StudySpec:
    """Write a study of 20 trials that tunes: the learning rate decides the return, the batch size the length."""
    spec = load(folder, *OBJECTIVES)
    rng = np.random.default_rng(0)
    with Book(spec, max_pending=1, waiting=print) as book:
        write, full = Writer(book), {}
        for number in range(20):
            drawn = draw(spec.space, rng)
            write.propose(number, drawn)
            worth = -abs(math.log10(drawn.values["learning_rate"]) + 2.5)
            full[number] = _scored(write, number, "tuning", (worth, float(drawn.values["batch_size"]), 0.1), rng)
            over = tuple(float(v) for v in np.mean(full[number], axis=0))
            book.set_trial(number, TrialProgress("completed", over[0], 128, 2, over))
        book.judge(verdicts(spec, full))
    return book.spec


def _scored(
    write: Writer, number: int, phase: Phase, mean: tuple[float, ...], rng: np.random.Generator
) -> list[tuple[float, ...]]:
    seeds = getattr(write.spec.seeds, phase)
    if phase != "tuning":
        write.book.add_runs(number, phase, seeds, 128)
    scores = []
    for seed in seeds:
        own = tuple(float(value + 0.01 * noise) for value, noise in zip(mean, rng.normal(size=3), strict=True))
        metrics = dict(zip(("return", "length", "return_std"), own, strict=True))
        ended = RunResult("completed", (Point(64, 0.5, metrics), Point(128, 1.0, metrics)), 128, 1.0, 0.9, scores=own)
        write.book.finish_run(Run(number, phase, seed), ended, False, None)
        scores.append(own)
    return scores


LAKE = (
    "task={env: 'autorl.training.curriculum.frozen_lake:autorl/FrozenLakeStart-v0', env_kwargs: {size: 5}, "
    "parameters: {distance: {min: 1, max: 8}}, target: {distance: 8}}",
    "curriculum.kind=none",
    "search_space.parameters={curriculum.kind: {values: [none, linear, uniform]}}",
)
# Kind → episodes on each distance before the two evaluations; an episode takes as many steps as its distance.
LESSONS = {
    "none": ([0, 0, 0, 0, 0, 0, 0, 5], [0, 0, 0, 0, 0, 0, 0, 8]),
    "linear": ([12, 7, 4, 2, 0, 0, 0, 0], [0, 0, 0, 0, 1, 2, 3, 4]),
    "uniform": ([2, 2, 2, 2, 2, 2, 2, 1], [2, 2, 2, 2, 2, 2, 2, 0]),
}


def lesson(episodes: list[int], successes: list[int]) -> dict[str, dict[str, list[float | None]]]:
    """Return the record of so many episodes on each distance, of which so many succeeded."""
    rates = [won / count if count else None for won, count in zip(successes, episodes, strict=True)]
    steps = [count * distance for distance, count in enumerate(episodes, start=1)]
    return {"distance": {"env_steps": [*steps], "episodes": [*episodes], "return": rates, "success": rates}}


def make_taught(folder: Path, *overrides: str) -> StudySpec:
    """Write a finished study of curricula over distances: trials 0, 1 and 2 are none, linear and uniform; 1 wins."""
    spec = load(folder, *LAKE, *overrides)
    rng = np.random.default_rng(0)
    with Book(spec, max_pending=1, waiting=print) as book:
        write = Writer(book)
        for number, (kind, told) in enumerate(LESSONS.items()):
            write.propose(number, Configuration({"curriculum.kind": kind}, {}))
            score = (0.0, 0.9, 0.4)[number]
            for seed in spec.seeds.tuning:
                points = [
                    Point(64 * at, 0.5 * at, {"return": score * at / 2, "length": 8.0}, lesson(own, _won(own, rng)))
                    for at, own in enumerate(told, start=1)
                ]
                ended = RunResult("completed", tuple(points), 128, 1.0, 0.9, scores=(score,))
                book.finish_run(Run(number, "tuning", seed), ended, False, None)
            book.set_trial(number, stands(score))
        for number, scores in ((0, [0.0, 0.0, 0.1]), (1, [0.8, 0.9, 1.0])):
            write.retest(number, "test", [*scores])
        book.enter("finished", 1)
    return book.spec


def _won(episodes: list[int], rng: np.random.Generator) -> list[int]:
    return [int(rng.integers(count + 1)) for count in episodes]
