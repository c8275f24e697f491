"""Numbers and findings in words, the same on the terminal, in HTML and in exported files."""

from __future__ import annotations

import math
from typing import Any

from autorl.analysis import Estimate
from autorl.report.findings import Findings


def number(value: float | None, digits: int = 4) -> str:
    """Format a number with so many significant digits, and a missing one as a dash."""
    if value is None or math.isnan(value):
        return "–"
    if value and (abs(value) >= 1e6 or abs(value) < 1e-3):
        return f"{value:.{digits - 1}e}".replace("e-0", "e-").replace("e+0", "e")
    text = f"{value:.{digits}g}"
    return f"{float(text):,.0f}" if "e" in text else text


def interval(estimate: Estimate) -> str:
    """Format an estimate's interval."""
    if math.isnan(estimate.low) or math.isnan(estimate.high):
        return "no interval: too few seeds"
    return f"{estimate.level:.0%} interval {number(estimate.low)} to {number(estimate.high)}"


def setting(value: Any) -> str:
    """Format a hyperparameter's value."""
    if isinstance(value, float):
        return number(value)
    return str(value).lower() if isinstance(value, bool) else str(value)


def duration(seconds: float) -> str:
    """Format a duration."""
    seconds = round(seconds)
    if seconds < 60:
        return f"{seconds} s"
    if seconds < 3600:
        return f"{seconds // 60} min {seconds % 60:02d} s"
    return f"{seconds // 3600} h {seconds % 3600 // 60:02d} min"


def headline_lines(findings: Findings) -> list[tuple[str, str, str]]:
    """Return the headline as (what, value, interval); empty while there is none."""
    found = findings.headline
    if found is None:
        return []
    return [
        ("tuned", number(found.tuned.value), interval(found.tuned)),
        ("default", number(found.default.value), interval(found.default)),
        ("probability that tuned is better", number(found.probability.value, 3), interval(found.probability)),
    ]


def sentences(findings: Findings) -> list[str]:
    """Say what was found, and what it is worth, one finding a sentence."""
    spec, winner, found = findings.spec, findings.winner, findings.headline
    said: list[str] = []
    if winner is None:
        if findings.incumbent is None:
            return ["No trial has finished yet." if findings.study.state != "finished" else "Every trial failed: there is nothing to report."]
        return [
            f"Trial {findings.incumbent.number} leads with a {findings.objective} of {number(findings.incumbent.value)} on the tuning seeds. "
            "That number is optimistic, since it was chosen for being the best; the test seeds will tell."
        ]
    chosen = "validation seeds" if spec.seeds.validation else "tuning seeds"
    if winner.number == 0:
        said.append(f"No trial beat the default configuration: the {chosen} chose trial 0, the default itself.")
    elif found is not None:
        said.append(
            f"On {len(spec.seeds.test)} test seeds that tuning never used, the tuned configuration (trial {winner.number}, chosen on the {chosen}) "
            f"has a {findings.objective} of {number(found.tuned.value)}, the default {number(found.default.value)}; on a fresh seed "
            f"tuned is better with probability {number(found.probability.value, 3)} ({interval(found.probability)})."
        )
    if found is None and findings.study.state == "finished":
        said.append("A test run of the winner or of the default failed, so there is no headline: see `autorl trials --failed`.")
    if found is not None and winner.value is not None:
        gap = winner.value - found.tuned.value
        better = gap > 0 if spec.objective.direction == "maximize" else gap < 0
        said.append(
            f"The winner's tuning score was {number(winner.value)} on {len(spec.seeds.tuning)} seeds: "
            + (f"it overstated the test score by {number(abs(gap))}." if better else f"the test score is {number(abs(gap))} better than it promised.")
        )
    extra = [n for n, runs in findings.runs.items() if n not in (0, winner.number) and any(run.phase == "test" for run in runs)]
    if extra:
        said.append(
            f"{len(extra)} more trial{'s were' if len(extra) > 1 else ' was'} trained on the test seeds, for analysis: picking the best of them "
            "by test score would be selection on the test set."
        )
    if findings.failed:
        said.append(f"{len(findings.failed)} runs failed; a trial with a failed run has no score and cannot win.")
    return said
