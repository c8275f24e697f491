"""From which checkpoint a run goes on, and what of it was its own: a fork begins with its donor's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from autorl.errors import CheckpointError
from autorl.training.meter import Spent
from autorl.trial import Recipe


@dataclass(frozen=True)
class Origin:
    """What a checkpoint says of its state.

    Attributes:
        recipe: fingerprint of the recipe that the state is of.
        run: fingerprint of what the run that saved it was to train in the end.
        env_steps: how far it was.
        spent: what the run that saved it had spent.
        inherited_seconds: wall time that donors had spent before.
    """

    recipe: str
    run: str
    env_steps: int
    spent: Spent
    inherited_seconds: float

    def taken_up(self, path: Path, segments: Sequence[tuple[Recipe, int]], seed: int) -> tuple[int, Spent, float]:
        """Return which of a run's segments goes on from it, what the run itself had spent, and what donors had.

        Args:
            path: the checkpoint's file.
            segments: of the run; see `Recipe.lineage`.
            seed: of the run.

        Raises:
            CheckpointError: it was written for another configuration.
        """
        known = [recipe.fingerprint(seed) for recipe, _ in segments]
        if self.recipe not in known:
            raise CheckpointError(f"{path}: written for another configuration")
        before, inherited = self.spent, self.inherited_seconds
        if self.run != known[-1]:  # a donor's, which it was charged itself
            before, inherited = Spent(), inherited + self.spent.wall_seconds
        found = known.index(self.recipe)
        done = self.env_steps >= segments[found][1]
        return found + (done and found < len(segments) - 1), before, inherited
