"""What every teacher promises. A test module makes a class of its own from `TeacherConformance`."""

from __future__ import annotations

import json
from collections.abc import Callable

import numpy as np

from autorl.training.curriculum.space import TaskSpace
from autorl.training.curriculum.teacher import Outcome, Task, Teacher

# A range, whole numbers and choices; the target is a distribution, so that every teacher has something to draw.
SPACE = TaskSpace(
    {"x": {"min": 0.0, "max": 2.0}, "size": {"min": 3, "max": 9}, "map": {"values": ["plain", "maze", "holes"]}},
    {"x": {"min": 1.5, "max": 2.0}, "size": 8, "map": {"values": ["maze", "holes"]}},
)
MakeTeacher = Callable[[int], Teacher]


def outcome(number: int, task: Task) -> Outcome:
    """Return what comes of the episode of this number: success becomes rarer away from the origin, and more likely."""
    success = float(sum(task.vector) < 0.5 + number / 100)
    return Outcome(10.0 * success - sum(task.vector), success, 5)


def lesson(teacher: Teacher, first: int, count: int) -> list[tuple[float, ...]]:
    """Train two environments whose episodes overlap, and return the tasks; every seventh outcome is never told."""
    tasks: list[tuple[float, ...]] = []
    for number in range(first, first + count):
        begun = [teacher.ask(number / 500), teacher.ask(number / 500)]
        tasks += [task.vector for task in begun]
        for task in reversed(begun):
            if number % 7:
                teacher.tell(task, outcome(number, task))
    return tasks


class TeacherConformance:
    """Give `make_teacher`, which makes one over `SPACE` from a seed, as a fixture."""

    def test_same_seed_same_tasks(self, make_teacher: MakeTeacher) -> None:
        assert lesson(make_teacher(3), 0, 150) == lesson(make_teacher(3), 0, 150)

    def test_another_seed_other_tasks(self, make_teacher: MakeTeacher) -> None:
        assert lesson(make_teacher(3), 440, 60) != lesson(make_teacher(4), 440, 60)

    def test_global_generators_change_nothing(self, make_teacher: MakeTeacher) -> None:
        np.random.seed(1)  # noqa: NPY002 - what a teacher must not draw from
        tasks, after = lesson(make_teacher(3), 0, 150), np.random.random()  # noqa: NPY002
        np.random.seed(1)  # noqa: NPY002
        assert np.random.random() == after  # noqa: NPY002
        assert lesson(make_teacher(3), 0, 150) == tasks

    def test_goes_on_from_its_state_through_json(self, make_teacher: MakeTeacher) -> None:
        whole = lesson(make_teacher(3), 0, 240)
        first = make_teacher(3)
        before = lesson(first, 0, 120)
        saved = json.dumps(first.state(), allow_nan=False)
        second = make_teacher(77)
        second.restore(json.loads(saved))
        assert [*before, *lesson(second, 120, 120)] == whole
        assert json.dumps(first.state()) == saved  # what was saved is not changed by whoever took it up

    def test_what_it_told_of_itself_does_not_change_with_it(self, make_teacher: MakeTeacher) -> None:
        teacher, other = make_teacher(3), make_teacher(77)
        before = lesson(teacher, 0, 120)
        state, stands = teacher.state(), teacher.stands()
        as_told = json.dumps([state, stands])
        other.restore(state)
        assert [*before, *lesson(teacher, 120, 120)] == [*before, *lesson(other, 120, 120)]
        assert json.dumps([state, stands]) == as_told

    def test_tasks_are_of_the_space(self, make_teacher: MakeTeacher) -> None:
        teacher = make_teacher(3)
        for vector in lesson(teacher, 350, 150):
            task = teacher.space.task(np.array(vector))
            assert 0.0 <= task["x"] <= 2.0
            assert task["size"] in range(3, 10)
            assert task["map"] in ("plain", "maze", "holes")

    def test_a_return_that_never_changes_is_no_trouble(self, make_teacher: MakeTeacher) -> None:
        teacher = make_teacher(3)
        for _ in range(150):
            teacher.tell(teacher.ask(0.5), Outcome(0.0, 0.0, 1))
        assert all(np.isfinite(teacher.ask(0.5).vector))
