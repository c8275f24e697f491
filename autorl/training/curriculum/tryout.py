"""What shows of a study's task space when its environment is made: whether it can become these tasks."""

from __future__ import annotations

from contextlib import closing
from typing import Any

import numpy as np

from autorl.training.curriculum.lessons import OnTarget, TaskEnv
from autorl.training.curriculum.space import TaskSpace

_MOST_VALUES = 20
"""Of a parameter, so many values are tried."""


def wrong_tasks(task: Any) -> str | None:
    """Say why an environment cannot become the tasks at the ends of its ranges or its target, or None.

    Args:
        task: the study's section.
    """
    varying = task.space()
    if varying is None:
        return None
    space = TaskSpace(varying["parameters"], varying["target"])
    try:
        made = TaskEnv(task.env, task.env_kwargs, task.wrappers, space)
    except ValueError as error:  # the environment itself could be made: it is its trajectories
        return str(error)
    with closing(made) as env:
        low, high, easy = map(space.task, (np.zeros(space.dimensions), np.ones(space.dimensions), space.easy))
        between = [
            {**easy, name: value}
            for name, entry in space.parameters.items()
            for value in list(entry.get("values", ()))[1 : _MOST_VALUES - 1]
        ]
        for tried in [low, high, easy, *between]:
            try:
                env.reset(seed=0, options={"task": tried})
            except Exception as error:  # noqa: BLE001 - environments are the user's code
                return f"'{task.env}' cannot become {tried}: {type(error).__name__}: {error}"
        try:
            OnTarget(env, space).reset(seed=0)
        except Exception as error:  # noqa: BLE001 - as above
            return f"'{task.env}' cannot become the target: {type(error).__name__}: {error}"
    return None
