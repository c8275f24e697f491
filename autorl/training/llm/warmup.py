"""The model that RL starts from: supervised learning on demonstrations, done once for all runs that share it."""

from __future__ import annotations

import io
import random
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

import torch

from autorl.training.llm.cache import made_once
from autorl.training.llm.model import END, Architecture, Characters, Model, negative_log_likelihood
from autorl.training.llm.problems import Demonstrated, Task, draw_to_train, generator
from autorl.training.llm.recipe import Settings

_VERSION = 1
"""Of the warm-up: another one makes another model of the same settings."""
_RISE = 20
_SAMPLED = 256


def warmed(
    task: Task, about: Mapping[str, Any], shape: Architecture, own: Settings, alive: Callable[[], None]
) -> Model:
    """Return the model that RL starts from, from the user's cache if it has been made before.

    Args:
        task: what is to be learned.
        about: name and arguments of the task.
        shape: of the model.
        own: the recipe; only what it says of the warm-up matters here.
        alive: called every so often.
    """
    model = Model(shape, Characters(task.characters).size)
    recipe = {key: value for key, value in asdict(own).items() if key.startswith("sft_")} | {"longest": own.max_tokens}
    identity = [_VERSION, torch.__version__, dict(about), task.characters, asdict(shape), recipe, _sample(task, own)]

    def loaded(content: bytes) -> Model:
        model.load_state_dict(torch.load(io.BytesIO(content), weights_only=True))
        return model

    return made_once("warm-up", identity, lambda: _trained(task, shape, own, alive), _dumped, loaded, alive)


def _sample(task: Task, own: Settings) -> list[tuple[str, str]]:
    """Return demonstrations that tell a task from another of the same name, as it was before somebody changed it."""
    rng = generator(own.sft_seed)
    return [_shown(task, own, rng) for _ in range(_SAMPLED)]


def _shown(task: Task, own: Settings, rng: random.Random) -> tuple[str, str]:
    """Draw a problem, and return its prompt and a demonstration."""
    categories = task.demonstrated if isinstance(task, Demonstrated) else task.categories
    problem = draw_to_train(task, rng.choice(categories), rng)
    return problem.prompt, task.demonstration(problem, rng, own.sft_noise)


def _dumped(model: Model) -> bytes:
    content = io.BytesIO()
    torch.save(model.state_dict(), content)
    return content.getvalue()


def _trained(task: Task, shape: Architecture, own: Settings, alive: Callable[[], None]) -> Model:
    """Train on demonstrations; AdamW, a learning rate that rises and then falls to a tenth."""
    characters, rng = Characters(task.characters), generator(own.sft_seed)
    with torch.random.fork_rng():
        torch.manual_seed(own.sft_seed)
        model = Model(shape, characters.size)
    optimizer = torch.optim.AdamW(model.parameters(), weight_decay=0.01, betas=(0.9, 0.98), foreach=True)
    for step in range(own.sft_steps):
        rate = own.sft_learning_rate * min(1.0, (step + 1) / _RISE) * (1.0 - 0.9 * step / own.sft_steps)
        optimizer.param_groups[0]["lr"] = rate
        pairs = []
        for _ in range(own.sft_batch):
            prompt, demonstration = _shown(task, own, rng)
            shown = characters.encode(demonstration)
            pairs.append((characters.encode(prompt), [*shown[: own.max_tokens - 1], END]))
        loss = negative_log_likelihood(model, pairs)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        alive()
    return model
