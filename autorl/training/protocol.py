"""What a backend is: the part that trains a recipe on seeds and says how well it went."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

from autorl.spec.space import Configuration, SearchSpace
from autorl.spec.yaml12 import Key
from autorl.trial import Point, Recipe, RunResult

KEEP: Final = "leave it out of the search space, or of 'optimizer.mutable', or use an optimizer that forks none"
"""What to do where a fork cannot change a key; see `Backend.unforkable`."""


class Interrupted(Exception):
    """Raised by `Backend.train` when it stopped because it was asked to, its state saved."""


class Host(Protocol):
    """What a run has around it while it trains: whom it tells, where its state goes, and who may stop it."""

    def evaluated(self, point: Point) -> None:
        """Take note of an evaluation."""
        ...

    def alive(self, env_steps: int) -> None:
        """Take note that training moves on; called as often as the backend likes, since silence is taken for a hang."""
        ...

    def save(self, env_steps: int, content: memoryview) -> None:
        """Keep the run's state; returns when it is safely on disk, however long the disk is full."""
        ...

    def stopping(self) -> bool:
        """Say whether training should save its state and raise `Interrupted` as soon as it can."""
        ...


@dataclass(frozen=True)
class Job:
    """An order to train a run.

    Attributes:
        recipe: what to train.
        seed: its seed.
        until: environment steps to reach, at most `recipe.env_steps`; below it the run pauses and leaves a checkpoint.
        resume: file that `Host.save` was given, from which training goes on; without one it starts anew.
        checkpoint_seconds: wall time between two checkpoints.
    """

    recipe: Recipe
    seed: int
    until: int
    resume: Path | None
    checkpoint_seconds: float


class Backend(Protocol):
    """Trains recipes. Implementations are found by entry point (`autorl.backends`) and made without arguments.

    Those that inherit from it need only say what they do otherwise: `match`, `warm`, `group` and `together` have a
    common answer.

    Every implementation passes `tests/conformance/backends.py`: the same job gives the same curve, a run that was
    interrupted gives the curve of one that was not (or says that it cannot), evaluations fall on the points asked for,
    and a failure is a result, never an exception.

    Attributes:
        resumable: whether it can go on from a checkpoint.
        lanes: how many runs it trains in one call, at most; 1 unless it is vectorized.
        metrics: metric → what it is; those that it measures whatever the task.
    """

    resumable: bool
    lanes: int
    metrics: Mapping[str, str]

    def check(self, sections: Mapping[str, Any], repaired: Collection[str]) -> Iterator[tuple[Key, str]]:
        """Find the mistakes in a study that only the backend can see, before anything trains.

        Args:
            sections: top-level key of the study file → validated section, without the parts that had a mistake.
            repaired: the sections that had one: what follows from such a section as a whole cannot be told.

        Yields:
            Path of the key and what is wrong with it.
        """
        ...

    def default(self, recipe: Recipe, key: str) -> Any:
        """Return the algorithm's own default of a key, or None if it has none that can be written down.

        Args:
            recipe: the study's recipe with the values chosen so far.
            key: a hyperparameter, or a dotted address.
        """
        ...

    def match(
        self, recipe: Recipe, space: SearchSpace, config: Configuration, taken: Collection[Configuration]
    ) -> Configuration:
        """Return the configuration that can be trained in another's place: itself, except where there are only some.

        Args:
            recipe: the study's recipe, without a configuration's values.
            space: the study's search space.
            config: what was proposed.
            taken: the configurations of earlier trials, which are avoided as long as there are others.
        """
        del recipe, space, taken
        return config

    def switches(self, space: SearchSpace, algorithms: Sequence[str]) -> frozenset[str]:
        """Return the parameters that only the conditions of others use: they are not passed to the algorithm."""
        ...

    def warm(self) -> None:
        """Import and initialize what training needs, so that a process forked from this one starts at once."""

    def group(self, recipe: Recipe) -> Hashable:
        """Return a value that only recipes share which can be trained in one call; not asked where `lanes` is 1."""
        return recipe.backend

    def together(self, recipe: Recipe) -> int:
        """Return how many runs of a recipe it trains in one call: `lanes`, or fewer."""
        del recipe
        return self.lanes

    def unforkable(self, recipe: Recipe, keys: Collection[str]) -> str | None:
        """Say why a run cannot start from another's checkpoint with other values of some keys, or None if it can.

        Args:
            recipe: the study's recipe, without a configuration's values.
            keys: hyperparameters, and dotted addresses.

        Returns:
            The reason and what to do, to be read after "and".
        """
        ...

    def train(self, jobs: Sequence[Job], hosts: Sequence[Host]) -> list[RunResult]:
        """Train runs together, and return their results in order.

        What comes of a run depends on its job alone, not on the others.

        Args:
            jobs: the runs, at most `lanes`, their recipes of one `group`.
            hosts: what each has around it.

        Raises:
            Interrupted: a host asked to stop; all runs that were still training have saved their state.
        """
        ...


def out_of_memory(error: Exception) -> bool:
    """Say whether an error is of memory that ran out.

    torch says so in a RuntimeError on a CPU, and in a class of its own on a GPU, which is told by its name: programs
    run without torch. JAX says so in a RuntimeError that begins with XLA's status.
    """
    named = type(error).__name__ == "OutOfMemoryError"
    told = "can't allocate memory" in str(error) or str(error).startswith("RESOURCE_EXHAUSTED")
    return named or told or isinstance(error, MemoryError)
