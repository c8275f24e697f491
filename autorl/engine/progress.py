"""How far a study has got, for whoever watches the engine."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from autorl.engine.plan import planned_steps
from autorl.engine.selection import rank
from autorl.ledger.reader import Reader
from autorl.ledger.records import StudyRecord


@dataclass(frozen=True)
class Progress:
    """A snapshot.

    Attributes:
        phase: what the study is doing.
        env_steps: environment steps trained so far, over all runs and seeds, of all phases.
        env_steps_planned: what the whole study will have trained; an upper bound, since the winner may be the default,
            of what is planned: where only time limits tuning, its retests.
        runs: runs finished or paused so far.
        incumbent: the trial that tuning data says is best, and its value; None until one has finished.
        news: what has just happened, in a sentence, or empty.
        warning: whether somebody should read it.
    """

    phase: str
    env_steps: int = 0
    env_steps_planned: int = 0
    runs: int = 0
    incumbent: tuple[int, float] | None = None
    news: str = ""
    warning: bool = False


def observe(reader: Reader, study: StudyRecord) -> Progress:
    """Return the progress of a study that another process conducts, as the ledger shows it."""
    counts = reader.counts(study.name)
    done = {key: runs for key, (runs, _) in counts.items() if key[1] in ("paused", "completed", "failed")}
    return Progress(
        phase=study.state,
        env_steps=int(sum(steps for _, steps in counts.values())),
        env_steps_planned=sum(steps or 0 for steps in planned_steps(study.spec).values()),
        runs=sum(done.values()),
        incumbent=_incumbent(reader, study),
    )


def _incumbent(reader: Reader, study: StudyRecord) -> tuple[int, float] | None:
    if study.spec.plain:
        return reader.incumbent(study.name, study.spec.objective.direction)
    first = next(iter(rank(reader.trials(study.name), study.spec.objective.direction)), None)
    return None if first is None or first.worth is None else (first.number, first.worth)


Watch = Callable[[Progress], None]
