"""What the backends of the user's own trainers share: they train anything, so there is little that they can check."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from autorl.spec.space import SearchSpace
from autorl.spec.yaml12 import Key
from autorl.training.curriculum.words import without_curricula
from autorl.training.metrics import without_signals
from autorl.training.program.run import Call, Training, keeps_state
from autorl.training.program.words import wrong_metrics
from autorl.training.protocol import Backend, Host, Job
from autorl.trial import Recipe, RunResult


class ProgramBackend(Backend):
    """Trains with what a study names in `program`.

    Attributes:
        key: the key of `program` that holds it.
    """

    key: str
    resumable = True
    lanes = 1
    metrics: Mapping[str, str] = {"return": "whatever the trainer reports under this name, like any other metric"}

    @abstractmethod
    def call(self, call: Call) -> None:
        """Train one recipe until its reports are over, or until the trainer ends of its own accord."""

    @abstractmethod
    def wrong_program(self, sections: Mapping[str, Any]) -> Iterator[tuple[Key, str]]:
        """Find what is wrong with the study's `program`; it names what this backend runs, and a folder that exists."""

    def check(self, sections: Mapping[str, Any], repaired: Collection[str]) -> Iterator[tuple[Key, str]]:
        """Find a trainer that cannot be had, and metrics that it never reports; see `Backend.check`."""
        yield from without_curricula(self.key, sections)
        yield from without_signals(self.key, sections)
        yield from wrong_metrics(sections)
        task, algorithm = sections.get("task"), sections.get("algorithm")
        if task is not None and task.wrappers:
            yield ("task", "wrappers"), "your own trainer makes the environment; leave this out"
        if algorithm is not None and algorithm.engine is not None:
            yield ("algorithm", "engine"), "this backend has one; leave it out"
        program = sections.get("program")
        if program is None:
            if "program" not in repaired:
                yield ("algorithm", "backend"), f"'{self.key}' needs to be told what trains: give 'program.{self.key}'"
        elif getattr(program, self.key) is None:
            yield ("program",), f"backend '{self.key}' needs '{self.key}'"
        elif not Path(program.folder).is_dir():
            yield ("program", "folder"), f"'{program.folder}' is no folder"
        elif "program" not in repaired:
            yield from self.wrong_program(sections)

    def default(self, recipe: Recipe, key: str) -> Any:
        """Return what the study sets, since only the trainer knows its own defaults; see `Backend.default`."""
        if key == "algorithm.name":
            return recipe.algorithm
        for prefix, section in (("policy.", recipe.policy), ("task.env_kwargs.", recipe.env_kwargs)):
            if key.startswith(prefix):
                return section.get(key.removeprefix(prefix))
        return recipe.hyperparameters.get(key)

    def switches(self, space: SearchSpace, algorithms: Sequence[str]) -> frozenset[str]:
        """Return none: the trainer may use any of them; see `Backend.switches`."""
        del space, algorithms
        return frozenset()

    def unforkable(self, recipe: Recipe, keys: Collection[str]) -> str | None:
        """Say that nothing can be forked that keeps no state; see `Backend.unforkable`."""
        del keys
        if keeps_state(recipe):
            return None
        return "the trainer keeps no state that another run could go on from (program.checkpoint)"

    def train(self, jobs: Sequence[Job], hosts: Sequence[Host]) -> list[RunResult]:
        """Train the runs one after the other; see `Backend.train`."""
        return [Training(job, host, self.call).result() for job, host in zip(jobs, hosts, strict=True)]
