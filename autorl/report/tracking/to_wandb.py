"""Runs as runs of Weights & Biases, in a group that has the study's name; `WANDB_MODE=offline` keeps them here."""

from __future__ import annotations

import hashlib
from pathlib import Path

import wandb

from autorl.errors import AutorlError
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
        """Return the runs that were written from this folder to their end, as they stood."""
        return set(self._done.read_text(encoding="utf-8").split()) if self._done.exists() else set()

    def write(self, mirrored: Mirrored) -> None:
        """Write a run; of an id that the project has already it takes the place."""
        run = wandb.init(
            project=self._project,
            entity=self._entity,
            group=self._study,
            job_type=mirrored.run.phase,
            name=mirrored.name,
            id=self._id(mirrored.name),
            config=mirrored.config,
            settings=wandb.Settings(silent=True, console="off", x_disable_stats=True, save_code=False),
        )
        if run.disabled:
            raise AutorlError("W&B is disabled here, and keeps nothing; with WANDB_MODE=offline it needs no account")
        run.define_metric("env_steps")
        run.define_metric("evaluation/*", step_metric="env_steps")
        for point in mirrored.curve:
            told = {"env_steps": point.env_steps, "wall_seconds": point.wall_seconds}
            run.log({**told, **{f"evaluation/{name}": value for name, value in point.metrics.items()}})
        run.summary["score"] = mirrored.run.score
        run.finish(exit_code=1 if mirrored.run.state == "failed" else 0)
        self._done.parent.mkdir(exist_ok=True)
        with self._done.open("a", encoding="utf-8") as file:
            file.write(f"{mirrored.stamp}\n")

    def _id(self, name: str) -> str:
        return hashlib.sha256(f"{self._entity}/{self._project}/{self._study}/{name}".encode()).hexdigest()[:16]
