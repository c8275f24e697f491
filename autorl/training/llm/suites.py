"""Tasks by name."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from autorl.errors import AutorlError, did_you_mean
from autorl.training.llm import tools
from autorl.training.llm.families import Written
from autorl.training.llm.problems import Task

SUITES: Mapping[str, Mapping[str, Sequence[int]]] = {
    "steps-easy": {"sort": (5, 6), "max": (3,)},
    "steps": {"sort": (6, 8, 10, 12), "max": (3, 4, 5)},
    "steps-hard": {"sort": (12, 16), "mod": (6, 8), "add": (4,), "knights": (5,)},
}
"""Names of tasks, by how hard they are for a model of 100,000 parameters; it hardly solves some of the last's."""


def _reasoning(**env_kwargs: Any) -> Task:
    from autorl.training.llm.reasoning import Reasoning

    return Reasoning(**env_kwargs)


_NAMED: Mapping[str, Callable[..., Task]] = {
    **{name: partial(Written, families=families) for name, families in SUITES.items()},
    "steps-tools": partial(tools.Tools, families=tools.SUITE),
    "reasoning_gym": _reasoning,
}

OURS = frozenset({*SUITES, "steps-tools"})
"""Tasks whose problems are drawn by our code alone."""


def make_task(env: str, env_kwargs: Mapping[str, Any]) -> Task:
    """Return a task by the name of a suite, or by `module:Class`.

    Args:
        env: the name.
        env_kwargs: arguments of the class; of a suite `families`, which replaces its own.

    Raises:
        AutorlError: there is no such suite, or the class cannot be found or made.
    """
    module, colon, name = env.partition(":")
    try:
        if colon:
            task: Task = getattr(importlib.import_module(module), name)(**env_kwargs)
            return task
        if env not in _NAMED:
            raise AutorlError(f"no task '{env}'{did_you_mean(env, _NAMED)}; module:Class is one of your own")
        return _NAMED[env](**env_kwargs)
    except AutorlError:
        raise
    except Exception as error:
        raise AutorlError(f"'{env}' cannot be made: {type(error).__name__}: {error}") from error
