"""How far a study has got, for whoever watches the engine."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Progress:
    """A snapshot.

    Attributes:
        phase: what the study is doing.
        env_steps: environment steps trained so far, over all runs and seeds, of all phases.
        env_steps_planned: what the whole study will have trained; an upper bound, since the winner may be the default.
        runs: runs finished so far.
        runs_planned: the same bound for runs.
        incumbent: the trial that tuning data says is best, and its value; None until one has finished.
        news: what has just happened, in a sentence, or empty.
    """

    phase: str
    env_steps: int = 0
    env_steps_planned: int = 0
    runs: int = 0
    runs_planned: int = 0
    incumbent: tuple[int, float] | None = None
    news: str = ""


Watch = Callable[[Progress], None]
