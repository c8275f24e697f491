"""Finished runs mirrored into the trackers that people look at: TensorBoard, MLflow, Weights & Biases.

A mirror reads the ledger and writes with the tracker's own library, a run for each run, once. It is a process of its
own, so a tracker that is slow, or away, costs a study nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Protocol

from autorl.errors import AutorlError
from autorl.ledger.reader import Reader
from autorl.ledger.records import RunRecord, TrialRecord
from autorl.trial import Point

TRACKERS = {
    "tensorboard": ("tensorboard", "a folder"),
    "mlflow": ("mlflow", "a tracking URI, such as http://127.0.0.1:5000 or sqlite:///mlflow.db"),
    "wandb": ("wandb", "a project"),
}
"""Tracker → the library that it needs, and what it is told where to write to."""


@dataclass(frozen=True)
class Mirrored:
    """A finished run, as trackers show it.

    Attributes:
        study: its study.
        run: its record.
        settings: what it trained: parameter of the search space → value.
        facts: what else tells it apart, such as its phase and seed.
        curve: its evaluations.
    """

    study: str
    run: RunRecord
    settings: Mapping[str, Any]
    facts: Mapping[str, Any]
    curve: tuple[Point, ...]

    @property
    def name(self) -> str:
        """What it is called in its study: `trial3-test-seed101`."""
        return _name(self.run)


class Tracker(Protocol):
    """A tracker. Made with the study's name and where to write to."""

    def known(self) -> set[str]:
        """Return the names of the runs of the study that it holds already."""
        ...

    def write(self, mirrored: Mirrored) -> None:
        """Write a run, whole."""
        ...


def make_tracker(kind: str, study: str, where: str) -> Tracker:
    """Make a tracker.

    Args:
        kind: one of `TRACKERS`.
        study: name of the study whose runs it will hold.
        where: folder, URI or project.

    Raises:
        AutorlError: its library is not installed.
    """
    library, _ = TRACKERS[kind]
    try:
        import_module(library)
    except ImportError:
        raise AutorlError(f"--{kind} needs '{library}'; run: pip install 'autorl[tracking]'") from None
    made: Callable[[str, str], Tracker] = import_module(f"{__name__}.to_{kind}").Tracker
    return made(study, where)


def mirror(reader: Reader, study: str, tracker: Tracker) -> int:
    """Write the finished runs that a tracker does not hold yet, and return how many they were."""
    known, versions = tracker.known(), reader.study(study).versions
    new = [run for run in reader.runs(study) if run.state in ("completed", "failed") and _name(run) not in known]
    trials = {trial.number: trial for trial in reader.trials(study, {run.trial for run in new})}
    curves = {curve.run: curve.points for curve in reader.curves(study, trials)}
    for run in new:
        settings = dict(trials[run.trial].config.values)
        tracker.write(Mirrored(study, run, settings, _facts(versions, trials, run), curves.get(run.run, ())))
    return len(new)


def _name(run: RunRecord) -> str:
    return f"trial{run.trial}-{run.phase}-seed{run.seed}"


def _facts(versions: Mapping[str, str], trials: Mapping[int, TrialRecord], run: RunRecord) -> dict[str, Any]:
    recipe = trials[run.trial].recipe
    told = {"trial": run.trial, "phase": run.phase, "seed": run.seed, "origin": trials[run.trial].origin}
    task = {"backend": recipe.backend, "algorithm": recipe.algorithm, "env": recipe.env}
    return {**told, **task, "autorl": versions.get("autorl", "")}
