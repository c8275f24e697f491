"""Tasks of reasoning-gym, by name and level: `task: {env: reasoning_gym, env_kwargs: {tasks: {chain_sum: [0, 2]}}}`.

Stojanovski et al. 2025, "Reasoning Gym", arXiv 2505.24760. Its data sets draw item i from the generator of seed + i, so
that those of neighbouring seeds share nearly all their items; here each problem is the first item of a seed of its own,
and whether it may be trained on is decided by its text, as for all tasks.
"""

from __future__ import annotations

import importlib
import importlib.util
import random
import re
import string
import sys
import types
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from autorl.errors import AutorlError, did_you_mean
from autorl.training.llm.problems import Problem

_PACKAGE = "reasoning_gym"
_UNSTEADY = ("acre", "gsm_symbolic", "list_functions")
"""Data sets that draw other problems from the same seed in another process."""
_LOOK = 20
"""Problems of each category that are looked at when a task is made."""


@dataclass(frozen=True)
class Item(Problem):
    """A problem with what its data set needs to score answers."""

    entry: Mapping[str, Any] = field(default_factory=dict)


class Reasoning:
    """Problems of reasoning-gym.

    Args:
        tasks: name of a data set → levels, as its curriculum counts them from 0; one without a curriculum has level 0.
    """

    def __init__(self, tasks: Mapping[str, Sequence[int]]) -> None:
        if importlib.util.find_spec(_PACKAGE) is None:
            raise AutorlError("reasoning_gym is not installed; run: pip install 'autorl[reasoning]'")
        known = _modules()
        self._configs: dict[str, Any] = {}
        self._sets: dict[str, Any] = {}
        for name, levels in tasks.items():
            if name not in known:
                raise ValueError(f"reasoning_gym has no '{name}'{did_you_mean(name, known)}")
            if name in _UNSTEADY:
                raise ValueError(f"{name} of reasoning_gym draws other problems each time; leave it out")
            if not levels or not all(isinstance(n, int) and not isinstance(n, bool) and n >= 0 for n in levels):
                raise ValueError(f"levels of '{name}' are whole numbers from 0 on, such as [0, 2]")
            for level in levels:
                self._configs[f"{name}/{level}"] = _configured(name, level)
                self._sets[f"{name}/{level}"] = _loaded("factory").DATASETS[name][0]
        self.categories = list(self._configs)
        if not self.categories:
            raise ValueError("no task is asked for")
        seen = [problem for category in self.categories for problem in self._look(category)]
        of_all = set(string.printable) - set("\r\t\x0b\x0c")
        self.characters = "".join(sorted(of_all.union(*(problem.prompt + problem.answer for problem in seen))))

    def _look(self, category: str) -> Sequence[Problem]:
        rng = random.Random(0)  # noqa: S311 - nobody has an interest in guessing it
        found = [self.draw(category, rng) for _ in range(_LOOK)]
        if not all(self.reward(problem, problem.answer) for problem in found):
            name = category.partition("/")[0]
            raise ValueError(f"{name} of reasoning_gym does not accept all of its own answers; leave it out")
        return found

    def draw(self, category: str, rng: random.Random) -> Problem:
        """Draw a problem; see `Task.draw`."""
        config = self._configs[category]
        config.seed, config.size = rng.randrange(2**31), 1
        entry = self._sets[category](config)[0]
        return Item(category, f"{entry['question']}\n", (), str(entry["answer"]), entry)

    def demonstration(self, problem: Problem, rng: random.Random, noise: float) -> str:
        """Return the answer; each character slips with the noise's probability, to a digit or another of its own."""
        slips = sorted({*problem.answer} - {"\n"}) + list(string.digits)
        return "".join(rng.choice(slips) if noise and rng.random() < noise else each for each in problem.answer)

    def reward(self, problem: Problem, completion: str) -> float:
        """Return 1 if the data set gives the answer full marks, else 0; what it cannot read is wrong."""
        assert isinstance(problem, Item)
        scorer = self._sets[problem.category](self._configs[problem.category])
        try:
            return float(scorer.score_answer(completion, problem.entry) >= 1.0)
        except Exception:  # noqa: BLE001 - scorers parse answers as if they were well formed
            return 0.0


def _configured(name: str, level: int) -> Any:
    """Return the configuration of a level: each attribute at that level, or at its last."""
    _load(_modules()[name])
    factory, words = _loaded("factory"), _loaded("coaching.base_curriculum")
    if name not in factory.CURRICULA:
        if level:
            raise ValueError(f"{name} of reasoning_gym has level 0 alone")
        return factory.DATASETS[name][1]()
    curriculum = factory.CURRICULA[name]()
    most = max(len(attribute.levels) for attribute in curriculum.attributes.values()) - 1
    if level > most:
        raise ValueError(f"the levels of {name} end with {most}, not {level}")
    curriculum.set_global_level(level)
    mode = words.RangeAttributeMode.UPPER_BOUND
    return curriculum.generate_configuration(context=words.DefaultCurriculumContext(mode))


def _loaded(name: str) -> Any:
    """Return a module that has been imported; to import it again would import the package."""
    return sys.modules[f"{_PACKAGE}.{name}"]


@cache
def _modules() -> dict[str, str]:
    """Return the module of each data set, without importing any."""
    spec = importlib.util.find_spec(_PACKAGE)
    assert spec is not None
    root, found = Path((spec.submodule_search_locations or [""])[0]), {}
    for file in sorted(root.rglob("*.py")):
        named = re.search(r'(?:DATASET_NAME = |register_dataset\(\s*)"(\w+)"', file.read_text(encoding="utf-8"))
        if named:
            found[named[1]] = ".".join((_PACKAGE, *file.relative_to(root).with_suffix("").parts))
    return found


def _load(module: str) -> None:
    """Import one module without those beside it: the package imports all of them, and sympy and matplotlib for some."""
    spec = importlib.util.find_spec(_PACKAGE)
    assert spec is not None
    stubs, parts = {}, module.split(".")
    for name in (".".join(parts[:n]) for n in range(1, len(parts))):
        if name not in sys.modules:
            stubs[name] = stub = types.ModuleType(name)
            below = name.removeprefix(_PACKAGE).replace(".", "/")
            stub.__path__ = [f"{place}{below}" for place in spec.submodule_search_locations or []]
    sys.modules.update(stubs)
    try:
        importlib.import_module(module)
    finally:
        for name in stubs:
            del sys.modules[name]
