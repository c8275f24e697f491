"""What of a language task varies: the categories of its problems, and the curriculum that chooses among them."""

from __future__ import annotations

import itertools
import json
import random
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from autorl.errors import did_you_mean
from autorl.spec.curriculum import VaryingSpec
from autorl.spec.yaml12 import Key
from autorl.training.curriculum.kinds import make_lessons
from autorl.training.curriculum.teacher import Outcome
from autorl.training.curriculum.teacher import Task as Chosen
from autorl.training.llm.problems import Problem, Task, draw_to_train

PARAMETERS = ("category", "family", "level")
"""What may vary: the category itself, or the parts of its name, FAMILY/LEVEL."""
_MOST = 1_000


class Course:
    """The curriculum of a run: a teacher chooses the categories, problems are drawn from them.

    Args:
        task_space: of the recipe.
        curriculum: of the recipe.
        total: completions of a full run.
        task: the task.
        seed: the run's seed.
    """

    def __init__(
        self, task_space: Mapping[str, Any], curriculum: Mapping[str, Any], total: int, task: Task, seed: int
    ) -> None:
        self._about = json.dumps([task_space, curriculum], sort_keys=True, default=repr)
        self._task, self._lessons = task, make_lessons(task_space, curriculum, total, seed)
        self.teacher = self._lessons.teacher

    def at(self, completions: int) -> float:
        """Return the share of the run that is done with so many completions, and go on from there."""
        self._lessons.steps = completions
        return self._lessons.progress

    def draw(self, rng: random.Random) -> tuple[Chosen, Problem]:
        """Return what the teacher chooses next, and a problem of it that may be trained on."""
        chosen = self._lessons.ask()
        category = category_of(self._lessons.space.task(chosen.vector), self._task.categories)
        return chosen, draw_to_train(self._task, category, rng)

    def tell(self, told: Sequence[tuple[Chosen, Outcome]]) -> None:
        """Tell the teacher what came of the groups of a step."""
        self._lessons.tell(told)

    def record(self) -> dict[str, Any]:
        """Return what was trained since this was last called; see `Lessons.record`."""
        return self._lessons.record()

    def state(self) -> dict[str, str]:
        """Return what changes as plain data."""
        return {"about": self._about, "lessons": json.dumps(self._lessons.state())}

    def restore(self, state: Mapping[str, str]) -> bool:
        """Go on from what `state` returned, of the same curriculum or another's; say whether it was the same."""
        same, lessons = state["about"] == self._about, json.loads(state["lessons"])
        if same:
            self._lessons.restore(lessons)
        else:
            self._lessons.go_on(lessons, taught=False)
        return same


def target_categories(task_space: Mapping[str, Any] | None, task: Task) -> Sequence[str]:
    """Return the categories that evaluations are of: those of the target, or all if nothing varies."""
    if task_space is None:
        return task.categories
    return list(dict.fromkeys(_categories(task_space["target"], task.categories)))


def category_of(values: Mapping[str, Any], categories: Sequence[str]) -> str:
    """Return the category that the values of a task space's parameters name.

    Args:
        values: `category`; or `family` and `level`, of which one may be left out where there is only one.
        categories: of the task.

    Raises:
        ValueError: it has no such category, or several.
    """
    if "category" in values:
        fitting = [each for each in categories if each == values["category"]]
    else:
        parts = {each: each.partition("/") for each in categories}
        fitting = [
            each
            for each, (family, _, level) in parts.items()
            if str(values.get("family", family)) == family and str(values.get("level", level)) == level
        ]
    if len(fitting) == 1:
        return fitting[0]
    said = ", ".join(f"{name} {value}" for name, value in values.items())
    if fitting:
        raise ValueError(f"{said} is {' and '.join(fitting)}: name family and level")
    asked = str(values.get("category", f"{values.get('family', '')}/{values.get('level', '')}"))
    raise ValueError(f"the task has no problems of {said}{did_you_mean(asked, categories)}")


def wrong_space(spec: Any, task: Task | None) -> Iterator[tuple[Key, str]]:
    """Find what of a study's task space a language task cannot have.

    Args:
        spec: the section `task`.
        task: the task, if it could be made.
    """
    if spec.success_return is not None:
        yield ("task", "success_return"), "a completion succeeds if its reward is 1; leave this out"
    sound = bool(spec.parameters)
    for name, parameter in spec.parameters.items():
        for message in _wrong_parameter(name, parameter, spec.parameters):
            sound = False
            yield ("task", "parameters", name), message
    if not sound or task is None:
        return
    given = spec.space()
    for where, varying in (("parameters", given["parameters"]), ("target", given["target"])):
        try:
            list(_categories(varying, task.categories))
        except ValueError as error:
            yield ("task", where), str(error)


def _wrong_parameter(name: str, parameter: VaryingSpec, beside: Mapping[str, Any]) -> Iterator[str]:
    if name not in PARAMETERS:
        yield (
            f"of a language task {', '.join(PARAMETERS[:-1])} and {PARAMETERS[-1]} may vary, "
            f"not '{name}'{did_you_mean(name, PARAMETERS)}"
        )
    elif name == "category" and len(beside) > 1:
        yield "category says family and level; leave it out, or these"
    if parameter.through != type(parameter).model_fields["through"].default:
        yield "a language task has no environment to tell; leave 'through' out"
    if parameter.values is None and not parameter.whole:
        yield "must be whole numbers from 'min' to 'max', or 'values'"


def _categories(varying: Mapping[str, Any], categories: Sequence[str]) -> Iterator[str]:
    """Return the categories of all combinations of what each parameter may be."""
    for values in itertools.product(*map(_choices, varying.values())):
        yield category_of(dict(zip(varying, values, strict=True)), categories)


def _choices(given: Any) -> Sequence[Any]:
    """Return what a range, some values or a value allow."""
    if not isinstance(given, Mapping):
        return [given]
    if "values" in given:
        values: Sequence[Any] = given["values"]
        return values
    count = given["max"] - given["min"] + 1
    if count > _MOST:
        raise ValueError(f"{count:,} values from {given['min']} to {given['max']}; at most {_MOST:,} are possible")
    return range(given["min"], given["max"] + 1)
