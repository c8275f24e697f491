"""Runs as runs of Weights & Biases, in a group that has the study's name; `WANDB_MODE=offline` keeps them here."""

from __future__ import annotations

import hashlib
from pathlib import Path

import wandb

from autorl.report.tracking import Mirrored


class Tracker:
    """Writes to a project.

    Args:
        study: name of the study.
        where: the project, or `entity/project`.
    """

    def __init__(self, study: str, where: str) -> None:
        entity, _, self._project = where.rpartition("/")
        self._entity, self._study = entity or None, study
        self._done = Path("wandb") / f"autorl-{self._id('')}.txt"

    def known(self) -> set[str]:
        """Return the runs that were written from this folder; one of another folder is found when it is begun."""
        return set(self._done.read_text(encoding="utf-8").split()) if self._done.exists() else set()

    def write(self, mirrored: Mirrored) -> None:
        """Write a run, unless the project holds it already."""
        run = wandb.init(
            project=self._project,
            entity=self._entity,
            group=self._study,
            job_type=mirrored.run.phase,
            name=mirrored.name,
            id=self._id(mirrored.name),
            resume="allow",
            config={**mirrored.facts, **mirrored.settings},
            settings=wandb.Settings(silent=True, console="off", x_disable_stats=True, save_code=False),
        )
        if not run.resumed:
            for point in mirrored.curve:
                told = {"env_steps": point.env_steps, "wall_seconds": point.wall_seconds}
                run.log({**told, **{f"evaluation/{name}": value for name, value in point.metrics.items()}})
            run.summary["score"] = mirrored.run.score
        run.finish(exit_code=0 if mirrored.run.state == "completed" else 1)
        self._done.parent.mkdir(exist_ok=True)
        with self._done.open("a", encoding="utf-8") as file:
            file.write(f"{mirrored.name}\n")

    def _id(self, name: str) -> str:
        return hashlib.sha256(f"{self._entity}/{self._project}/{self._study}/{name}".encode()).hexdigest()[:16]
