"""What objectives and constraints measure."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from autorl.errors import did_you_mean
from autorl.spec.objectives import RUN_METRICS
from autorl.spec.yaml12 import Key


def asked_metrics(sections: Mapping[str, Any]) -> Iterator[tuple[Key, str]]:
    """Go through the metrics that a study asks of its backend: those of its objectives and its constraints.

    Args:
        sections: as of `Backend.check`.

    Yields:
        Path of the key, and the metric; not those that every run has.
    """
    for section in ("objectives", "constraints"):
        for index, measure in enumerate(sections.get(section) or ()):
            if measure.metric not in RUN_METRICS:
                yield (section, index, "metric"), measure.metric


def without_signals(backend: str, sections: Mapping[str, Any]) -> Iterator[tuple[Key, str]]:
    """Find a cost and a specification, for a backend that measures neither."""
    task = sections.get("task")
    for key in ("cost", "specification"):
        if task is not None and getattr(task, key) is not None:
            yield ("task", key), f"backends sb3 and jax measure it, not {backend}; leave this out"


def without_program(sections: Mapping[str, Any]) -> Iterator[tuple[Key, str]]:
    """Find a trainer of the user's own, for a backend that trains by itself."""
    if sections.get("program") is not None:
        yield ("program",), "only backends function and command run it; leave this out"


def unknown_metrics(sections: Mapping[str, Any], known: Collection[str], hint: str = "") -> Iterator[tuple[Key, str]]:
    """Find the metrics of a study that are not measured.

    Args:
        sections: as of `Backend.check`.
        known: what the backend measures.
        hint: what to say where no metric has a similar name.
    """
    for place, metric in asked_metrics(sections):
        if metric not in known:
            said = did_you_mean(metric, [*known, *RUN_METRICS]) or hint
            yield place, f"unknown metric '{metric}'{said}"
