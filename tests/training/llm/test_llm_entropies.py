"""What Self-Critique asks of a model in training: the entropies along two answers."""

from __future__ import annotations

import math

import pytest
import torch
from probe_tasks import Echo

from autorl.analysis import contamination, entropy_similarity
from autorl.training.llm.model import Architecture, Characters, Model
from autorl.training.llm.problems import draw_many_to_train, generator
from autorl.training.llm.recipe import Settings
from autorl.training.llm.small import SmallLearner


@pytest.fixture
def learner() -> SmallLearner:
    torch.manual_seed(0)
    model = Model(Architecture(width=16, layers=1, heads=2, context=48), Characters(Echo.characters).size)
    return SmallLearner(Echo(), model, None, Settings(max_tokens=5), 64, (0, 0))


def test_entropies_of_both_answers(learner: SmallLearner) -> None:
    problems = draw_many_to_train(learner.task, 8, generator(0))
    found = learner.entropies(problems)
    assert len(found) == 8
    highest = math.log(len(Echo.characters) + 1)  # of a character or the end; nobody writes padding
    for answers in found:
        assert all(1 <= len(entropies) <= 5 for entropies in answers)
        assert all(0.8 * highest < each <= highest + 1e-5 for entropies in answers for each in entropies)
    assert found == learner.entropies(problems)


def test_a_model_that_was_not_trained_knows_no_problem_from_another(learner: SmallLearner) -> None:
    problems = draw_many_to_train(learner.task, 40, generator(0))
    estimate = contamination(learner.entropies(problems[:20]), learner.entropies(problems[20:]))
    assert estimate.low < 0.5 < estimate.high
    assert entropy_similarity(*learner.entropies(problems[:1])[0]) > 0
