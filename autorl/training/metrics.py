"""What objectives and constraints may measure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from autorl.errors import did_you_mean
from autorl.spec.study import RUN_METRICS
from autorl.spec.yaml12 import Key


def unknown_metrics(sections: Mapping[str, Any], known: Mapping[str, str], hint: str = "") -> Iterator[tuple[Key, str]]:
    """Find the metrics of a study's objectives and constraints that are not measured.

    Args:
        sections: as of `Backend.check`.
        known: what the backend measures.
        hint: what to say where no metric has a similar name.
    """
    measured = {**known, **RUN_METRICS}
    for section in ("objectives", "constraints"):
        for index, measure in enumerate(sections.get(section) or ()):
            if measure.metric not in measured:
                said = did_you_mean(measure.metric, measured) or hint
                yield (section, index, "metric"), f"unknown metric '{measure.metric}'{said}"
