"""Runs as TensorBoard's event files, one folder a run, with its hyperparameters for the tab HPARAMS."""

from __future__ import annotations

import shutil
from pathlib import Path

from torch.utils.tensorboard import SummaryWriter

from autorl.report.tracking import Mirrored

_STAMP = "autorl.txt"


class Tracker:
    """Writes to `FOLDER/STUDY/RUN`.

    Args:
        study: name of the study.
        where: the folder.
    """

    def __init__(self, study: str, where: str) -> None:
        self._folder = Path(where) / study

    def known(self) -> set[str]:
        """Return the runs that have a folder, as it says they stood."""
        return {path.read_text(encoding="utf-8") for path in self._folder.glob(f"trial*/{_STAMP}")}

    def write(self, mirrored: Mirrored) -> None:
        """Write a run's events beside, and give the folder its name when it is whole."""
        beside = self._folder / f".{mirrored.name}"
        shutil.rmtree(beside, ignore_errors=True)
        with SummaryWriter(str(beside)) as writer:
            began = mirrored.run.started_at or 0.0
            for point in mirrored.curve:
                for name, value in point.metrics.items():
                    writer.add_scalar(f"evaluation/{name}", value, point.env_steps, began + point.wall_seconds)
            values = {
                key: value if isinstance(value, bool | int | float | str) else str(value)
                for key, value in mirrored.config.items()
            }
            score = float("nan") if mirrored.run.score is None else mirrored.run.score
            writer.add_hparams(values, {"score": score}, run_name=".")
        (beside / _STAMP).write_text(mirrored.stamp, encoding="utf-8")
        shutil.rmtree(self._folder / mirrored.name, ignore_errors=True)
        beside.rename(self._folder / mirrored.name)
