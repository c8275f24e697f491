"""How far a study has got, for whoever watches the engine."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from autorl.spec.study import StudySpec


@dataclass(frozen=True)
class Progress:
    """A snapshot.

    Attributes:
        phase: what the study is doing.
        env_steps: environment steps trained so far, over all runs and seeds, of all phases.
        env_steps_planned: what the whole study will have trained; an upper bound, since the winner may be the default.
        runs: runs finished so far.
        runs_planned: the same bound for runs.
        trials: trials finished so far.
        incumbent: the trial that tuning data says is best, and its value; None until one has finished.
        news: what has just happened, in a sentence, or empty.
    """

    phase: str
    env_steps: int
    env_steps_planned: int
    runs: int
    runs_planned: int
    trials: int
    incumbent: tuple[int, float] | None
    news: str = ""


Watch = Callable[[Progress], None]


def planned_runs(spec: StudySpec) -> dict[str, int]:
    """Return phase → runs of a whole study: a bound, reached when winner, default and retested trials all differ."""
    top = min(spec.retest.top, spec.budget.trials) if spec.seeds.validation else 0
    return {
        "tuning": spec.budget.trials * len(spec.seeds.tuning),
        "validation": top * len(spec.seeds.validation),
        "test": min(2, spec.budget.trials) * len(spec.seeds.test),
    }
