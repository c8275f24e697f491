"""The teachers by the names that studies use; their parameters are `autorl.spec.curriculum.KINDS`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from autorl.training.curriculum.adr import Adr
from autorl.training.curriculum.again import Again
from autorl.training.curriculum.alp_gmm import AlpGmm
from autorl.training.curriculum.bandit import Bandit
from autorl.training.curriculum.failures import Failures
from autorl.training.curriculum.fixed import Degrade, LengthStages, Linear, TargetOnly, Uniform
from autorl.training.curriculum.hints import Guidance, ItemResponse
from autorl.training.curriculum.learning_progress import LearningProgress
from autorl.training.curriculum.lessons import Lessons
from autorl.training.curriculum.middle_difficulty import MiddleDifficulty
from autorl.training.curriculum.plr import Plr
from autorl.training.curriculum.riac import Riac
from autorl.training.curriculum.self_paced import SelfPaced
from autorl.training.curriculum.snapshots import Snapshots
from autorl.training.curriculum.space import TaskSpace
from autorl.training.curriculum.stages import Stages
from autorl.training.curriculum.teacher import Teacher
from autorl.training.tasks import teacher_stream

TEACHERS: Mapping[str, type[Teacher]] = {
    "none": TargetOnly,
    "uniform": Uniform,
    "linear": Linear,
    "stages": Stages,
    "learning_progress": LearningProgress,
    "alp_gmm": AlpGmm,
    "again": Again,
    "riac": Riac,
    "adr": Adr,
    "plr": Plr,
    "self_paced": SelfPaced,
    "bandit": Bandit,
    "degrade": Degrade,
    "failures": Failures,
    "snapshots": Snapshots,
    "middle_difficulty": MiddleDifficulty,
    "item_response": ItemResponse,
    "guidance": Guidance,
    "length_stages": LengthStages,
}


def make_teacher(curriculum: Mapping[str, Any], space: TaskSpace, rng: np.random.Generator) -> Teacher:
    """Make the teacher of a recipe.

    Args:
        curriculum: `kind`, and every parameter of it.
        space: what it chooses from.
        rng: what it draws from.
    """
    options = {name: value for name, value in curriculum.items() if name != "kind"}
    return TEACHERS[curriculum["kind"]](space, rng, **options)


def make_lessons(task_space: Mapping[str, Any], curriculum: Mapping[str, Any], env_steps: int, seed: int) -> Lessons:
    """Make the lessons of a run.

    Args:
        task_space: of its recipe: `parameters`, `target` and `success_return`.
        curriculum: of its recipe.
        env_steps: environment steps of the whole run.
        seed: the run's.
    """
    space = TaskSpace(task_space["parameters"], task_space["target"])
    teacher = make_teacher(curriculum, space, teacher_stream(seed))
    return Lessons(space, teacher, env_steps, task_space["success_return"])
