"""What curricula trained when, added up over runs, and where along a parameter's axis something was learned."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class Trained:
    """What runs trained of one parameter of their task, added up over the runs.

    Attributes:
        until: when each of the records was made, such as the environment steps of evaluations (length: times).
        env_steps: steps since the time before, on each part of the parameter's axis (shape: times, parts; that of the
            others too).
        episodes: episodes that ended.
        returns: their mean return; nan where there are none.
        success: share of them that succeeded; nan where there are none, or nobody says what a success is.
    """

    until: tuple[int, ...]
    env_steps: npt.NDArray[np.int64]
    episodes: npt.NDArray[np.int64]
    returns: npt.NDArray[np.float64]
    success: npt.NDArray[np.float64]


def added_up(records: Iterable[tuple[int, Mapping[str, Any]]]) -> Trained | None:
    """Add up the records of one parameter that were made at the same time; None if there are none.

    Args:
        records: when each was made, and lists over the parts of the axis, the same parts in each: `env_steps`,
            `episodes`, and their mean `return` and `success` or None.
    """
    told: dict[int, list[Mapping[str, Any]]] = {}
    for at, record in records:
        told.setdefault(at, []).append(record)
    if not told:
        return None
    until = tuple(sorted(told))
    steps, episodes = (
        np.array([np.sum([record[key] for record in told[at]], axis=0) for at in until], dtype=np.int64)
        for key in ("env_steps", "episodes")
    )
    returns, success = (np.array([_mean(told[at], key) for at in until]) for key in ("return", "success"))
    return Trained(until, steps, episodes, returns, success)


def _mean(records: Sequence[Mapping[str, Any]], key: str) -> npt.NDArray[np.float64]:
    """Return the mean over the episodes of all records for each part; nan where nothing is known."""
    values = np.array([record[key] for record in records], dtype=np.float64)
    weights = np.where(np.isnan(values), 0, np.array([record["episodes"] for record in records]))
    total, count = (np.nan_to_num(values) * weights).sum(axis=0), weights.sum(axis=0)
    mean: npt.NDArray[np.float64] = np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0)
    return mean


def niches(found: Trained, phases: int) -> npt.NDArray[np.float64]:
    """Return in which parts of an axis returns changed, phase by phase.

    The progress of a part in a phase is absolute learning progress (Portelas et al. 2019, arXiv 1910.07224), of means
    rather than of episodes: |r − r_old|, with r the part's mean return in the phase and r_old that in the last phase
    before in which it was trained. The weights of phase k are what share each part has of the progress of phase k + 1:
    training in k led there. Where nothing changed, which includes the last phase, those of the phase before hold, and
    at the beginning those of the first phase that has any: a run that follows need not wait where nothing happened.
    Portelas et al. 2020 (arXiv 2011.08463) leave such phases out for the same reason.

    Args:
        found: what was trained; `until` is the number of the phase, from 0.
        phases: how many there are.

    Returns:
        Shape (phases, parts); each row adds up to 1, to three digits, or to 0 where nothing ever changed.
    """
    parts = found.returns.shape[1]
    weights: npt.NDArray[np.float64] = np.zeros((phases, parts))
    before = np.full(parts, np.nan)
    for phase, returns in zip(found.until, found.returns, strict=True):
        progress = np.nan_to_num(np.abs(returns - before))
        before = np.where(np.isnan(returns), before, returns)
        if progress.any():
            weights[phase - 1] = np.round(progress / progress.sum(), 3)
    some = np.flatnonzero(weights.any(axis=1))
    if not len(some):
        return weights
    held = some[np.maximum(np.searchsorted(some, np.arange(phases), side="right") - 1, 0)]
    return weights[held]
