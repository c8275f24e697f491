"""What a study cost, and what not training everything in full saved."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class Cost:
    """What some runs cost together.

    Attributes:
        runs: How many they are.
        env_steps: Environment steps that they trained.
        wall_seconds: Their wall time, added up: runs that ran side by side count twice.
        cpu_seconds: Processor time, added up.
        energy_joules: Energy, added up; NaN where one of the runs that trained does not tell.
    """

    runs: int
    env_steps: int
    wall_seconds: float
    cpu_seconds: float
    energy_joules: float


def cost_by_phase(
    phases: Sequence[str],
    env_steps: npt.ArrayLike,
    wall_seconds: npt.ArrayLike,
    cpu_seconds: npt.ArrayLike,
    energy_joules: npt.ArrayLike,
) -> dict[str, Cost]:
    """Add up what runs cost, for each phase.

    Args:
        phases: Phase of each run, n of them.
        env_steps: Shape ``(n,)``, environment steps that each run trained itself: a fork takes those of its donor over
            and is not charged for them.
        wall_seconds: Shape ``(n,)``, wall time of each run.
        cpu_seconds: Shape ``(n,)``, processor time of each run.
        energy_joules: Shape ``(n,)``, energy of each run, NaN where the machine did not tell.

    Returns:
        Phase → cost, in the order in which the phases first occur.

    Raises:
        ValueError: If the arguments differ in length, or hold what is negative or not finite.
    """
    columns = [
        _amounts(name, values, len(phases))
        for name, values in (("env_steps", env_steps), ("wall_seconds", wall_seconds), ("cpu_seconds", cpu_seconds))
    ]
    known = np.isfinite(np.asarray(energy_joules, dtype=np.float64))
    energy = np.where(known, _amounts("energy_joules", np.where(known, energy_joules, 0.0), len(phases)), np.nan)
    costs = {}
    for phase in dict.fromkeys(phases):
        chosen = np.array([each == phase for each in phases])
        steps, wall, cpu = (float(np.sum(column[chosen])) for column in columns)
        trained = chosen & (columns[0] > 0.0)
        joules = float(np.sum(energy[trained])) if np.any(trained) else float("nan")
        costs[phase] = Cost(int(np.count_nonzero(chosen)), int(steps), wall, cpu, joules)
    return costs


def speed_up(env_steps: npt.ArrayLike, *, trials: int, tuning_seeds: int, env_steps_per_run: int) -> float:
    """Say how many times cheaper tuning was than training every trial in full on every tuning seed.

    It is a ratio of environment steps, trials x tuning seeds x steps per run / steps spent, and says what racing and
    pruning did not spend, not what was found with it: trials that were dropped early count like the others, although
    less is known of them, and an optimizer that starts many of them has a greater speed-up. Attempts that failed and
    were trained again were spent too, so it can be below 1.

    Args:
        env_steps: Shape ``(n_runs,)``, environment steps that each run of the tuning phase trained itself.
        trials: How many trials were started.
        tuning_seeds: On how many seeds each would have been trained.
        env_steps_per_run: Length of a full run.

    Returns:
        The ratio; NaN before a step was spent.

    Raises:
        ValueError: If a run's steps are negative or not finite, or one of the others is below 1.
    """
    for name, value in (("trials", trials), ("tuning_seeds", tuning_seeds), ("env_steps_per_run", env_steps_per_run)):
        if value < 1:
            raise ValueError(f"{name}: {value}; expected at least 1")
    spent = float(np.sum(_amounts("env_steps", env_steps, np.size(env_steps))))
    return trials * tuning_seeds * env_steps_per_run / spent if spent else float("nan")


def _amounts(name: str, values: npt.ArrayLike, n: int) -> npt.NDArray[np.float64]:
    """Return ``values`` as a vector of n amounts, or raise ValueError."""
    vector = np.asarray(values, dtype=np.float64)
    if vector.shape != (n,):
        raise ValueError(f"{name}: shape {vector.shape}; expected ({n},), one for each run")
    strange = np.flatnonzero(~(np.isfinite(vector) & (vector >= 0.0)))
    if strange.size:
        raise ValueError(f"{name}[{strange[0]}] is {vector[strange[0]]}; expected 0 or more")
    return vector
