"""Runs mirrored into the trackers that people look at: TensorBoard, MLflow, Weights & Biases.

A mirror reads the ledger and writes with the tracker's own library, a run for each run that is not in training, and
writes it anew if it has gone on since: runs pause where an optimizer looks at them. It is a process of its own, so a
tracker that is slow, or away, costs a study nothing.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Protocol

from autorl.errors import AutorlError, TrackerError, did_you_mean
from autorl.ledger.reader import Reader
from autorl.ledger.records import RunRecord, TrialRecord
from autorl.trial import Point, Recipe

TRACKERS = {
    "tensorboard": ("tensorboard", "a folder"),
    "mlflow": ("mlflow", "a tracking URI, such as http://127.0.0.1:5000 or sqlite:///mlflow.db"),
    "wandb": ("wandb", "a project"),
}
"""Tracker → the library that it needs, and what it is told where to write to."""
_STANDING = ("completed", "failed", "paused")


@dataclass(frozen=True)
class Mirrored:
    """A run, as trackers show it.

    Attributes:
        study: its study.
        run: its record.
        stamp: what it is called as it stands, which is another name once it has gone on or was retried, or if an
            earlier study had a run of its name.
        settings: what it trained: parameter of the search space → value.
        facts: what else tells it apart, such as its phase and seed.
        curve: its evaluations.
    """

    study: str
    run: RunRecord
    stamp: str
    settings: Mapping[str, Any]
    facts: Mapping[str, Any]
    curve: tuple[Point, ...]

    @property
    def name(self) -> str:
        """What it is called in its study: `trial3-test-seed101`."""
        return _name(self.run)

    @property
    def config(self) -> dict[str, Any]:
        """Settings and facts; a fact that a parameter has the name of is called `autorl.` and its name."""
        facts = {f"autorl.{name}" if name in self.settings else name: value for name, value in self.facts.items()}
        return {**facts, **self.settings}


class Tracker(Protocol):
    """A tracker. Made with the study's name and where to write to."""

    def known(self) -> set[str]:
        """Return the stamps of the runs of the study that it holds already."""
        ...

    def write(self, mirrored: Mirrored) -> None:
        """Write a run, whole, in the place of an earlier one of its name."""
        ...


def make_tracker(kind: str, study: str, where: str) -> Tracker:
    """Make a tracker.

    Args:
        kind: one of `TRACKERS`.
        study: name of the study whose runs it will hold.
        where: folder, URI or project.

    Raises:
        AutorlError: there is none of the kind, its library is not installed, or it says what is to be done first.
        TrackerError: it cannot be reached.
    """
    if kind not in TRACKERS:
        raise AutorlError(f"there is no tracker '{kind}'{did_you_mean(kind, TRACKERS)}")
    library, _ = TRACKERS[kind]
    try:
        import_module(library)
    except ImportError:
        raise AutorlError(f"--{kind} needs '{library}'; run: pip install 'autorl[tracking]'") from None
    made: Callable[[str, str], Tracker] = import_module(f"{__name__}.to_{kind}").Tracker
    with _blaming(where):
        return made(study, where)


@contextmanager
def _blaming(where: str) -> Iterator[None]:
    """Turn what a tracker's library raises, which can be anything, into an error of ours."""
    try:
        yield
    except AutorlError:
        raise
    except Exception as error:  # the libraries have no class of errors in common
        why = f"{type(error).__name__}: {error}"
        raise TrackerError(f"{where} takes no runs ({why}); the same command writes what is missing") from error


def mirror(reader: Reader, study: str, tracker: Tracker, where: str) -> int:
    """Write the runs that a tracker does not hold as they stand, and return how many they were.

    Raises:
        AutorlError: it says what is to be done first.
        TrackerError: it does not take them.
    """
    with _blaming(where):
        known = tracker.known()
    standing = [run for run in reader.runs(study) if run.state in _STANDING]
    trials = {trial.number: trial for trial in reader.trials(study)}
    stamps = {run.run: _stamp(run, trials[run.trial].recipe) for run in standing}
    new = [run for run in standing if stamps[run.run] not in known]
    curves = {curve.run: curve.points for curve in reader.curves(study, {run.trial for run in new})}
    versions = reader.study(study).versions
    for run in new:
        settings = dict(trials[run.trial].config.values)
        facts = _facts(versions, trials, run)
        with _blaming(where):
            tracker.write(Mirrored(study, run, stamps[run.run], settings, facts, curves.get(run.run, ())))
    return len(new)


def _name(run: RunRecord) -> str:
    return f"trial{run.trial}-{run.phase}-seed{run.seed}"


def _stamp(run: RunRecord, recipe: Recipe) -> str:
    # What it trained and scored, and no key or time of the ledger: a study that is loaded elsewhere has the same runs.
    found = json.dumps([recipe.fingerprint(run.seed), run.scores])
    own = hashlib.sha256(found.encode()).hexdigest()[:12]
    return f"{_name(run)}-{run.state}-{run.env_steps}-{run.attempts}-{own}"


def _facts(versions: Mapping[str, str], trials: Mapping[int, TrialRecord], run: RunRecord) -> dict[str, Any]:
    recipe = trials[run.trial].recipe
    told = {"trial": run.trial, "phase": run.phase, "seed": run.seed, "origin": trials[run.trial].origin}
    task = {"backend": recipe.backend, "algorithm": recipe.algorithm, "env": recipe.env}
    return {**told, **task, "autorl": versions.get("autorl", "")}
