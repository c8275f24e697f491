"""Numbers and states in words, the same on the terminal, in HTML, on the dashboard and in exported files."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from itertools import groupby
from typing import Any

from autorl.analysis import Estimate
from autorl.ledger.records import RunRecord, StudyRecord, TrialRecord
from autorl.spec.objectives import ObjectiveSpec
from autorl.spec.study import StudySpec
from autorl.trial import FailureClass

FAILURES: Mapping[FailureClass, str] = {
    "diverged": "diverged",
    "exception": "raised an exception",
    "out_of_memory": "out of memory",
    "crash": "crashed",
    "hang": "hung",
}


def state(study: StudyRecord) -> str:
    """Say what a study is doing: `finished`, or its phase and whether it is `running`, `paused` or `stopped`."""
    if study.state == "finished":
        return study.state
    return f"{study.state}, {'running' if study.live else 'paused' if study.paused else 'stopped'}"


def tries(run: RunRecord) -> str:
    """Say how the attempts at a run failed: `crashed 2 times, then hung`; empty if none did."""
    kinds = [(FAILURES[kind], len(list(same))) for kind, same in groupby(attempt.error_class for attempt in run.tries)]
    return ", then ".join(kind if count == 1 else f"{kind} {count} times" for kind, count in kinds)


def wins(objective: ObjectiveSpec) -> str:
    """Return what the better of two configurations is on a seed; see `analysis.probability_on_a_fresh_seed`."""
    if objective.statistic != "std":
        return "better"
    return "nearer to its median" if objective.direction == "minimize" else "further from its median"


def number(value: float | None, digits: int = 4) -> str:
    """Format a number with so many significant digits, and a missing one as a dash."""
    if value is None or math.isnan(value):
        return "–"
    if math.isinf(value):
        return "∞" if value > 0 else "-∞"
    if value and (abs(value) >= 1e6 or abs(value) < 1e-3):
        mantissa, exponent = f"{value:.{digits - 1}e}".split("e")
        return f"{mantissa.rstrip('0').rstrip('.')}e{int(exponent)}"
    text = f"{value:.{digits}g}"
    return f"{float(text):,.0f}" if "e" in text else text


def probability(value: float) -> str:
    """Format a probability."""
    return f"{value:.2f}"


def interval(estimate: Estimate, show: Callable[[float], str] = number) -> str:
    """Format an estimate's interval; `show` formats its ends."""
    if math.isnan(estimate.low) or math.isnan(estimate.high):
        return "no interval: too few seeds"
    return f"{estimate.level:.0%} interval {show(estimate.low)} to {show(estimate.high)}"


def trained(spec: StudySpec, trial: TrialRecord) -> str:
    """Say how far a trial was trained in tuning: `5 seeds`, or `1 seed to 50%`."""
    if not trial.seeds:
        return "–"
    share = trial.env_steps / spec.budget.steps_per_run
    return f"{trial.seeds} seed{'s' * (trial.seeds > 1)}" + (f" to {share:.0%}" if share < 1 else "")


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


def energy(joules: float | None) -> str:
    """Format an energy, and one that is not known as a dash."""
    if joules is None:
        return "–"
    return f"{number(joules)} J" if joules < 1e4 else f"{number(joules / 3.6e6)} kWh"


def hardware(known: Mapping[str, Any]) -> str:
    """Say what machine a study ran on."""
    memory = known.get("memory_bytes")
    parts = [known.get("system"), known.get("processor")]
    parts.append(f"{known['cores']} cores" if known.get("cores") else None)
    parts.append(f"{memory / 2**30:.0f} GiB of memory" if isinstance(memory, int | float) else None)
    return ", ".join(str(part) for part in parts if part)


def beside(columns: Mapping[str, Any], configuration: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row of a table with a configuration, whose parameters may be named as the other columns are."""
    return {**columns, **{f"config.{key}" if key in columns else key: value for key, value in configuration.items()}}
