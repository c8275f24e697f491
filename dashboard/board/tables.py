"""What the pages show as tables: one row a study, a trial, a run, a phase or a hyperparameter."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

import pandas as pd

from autorl.ledger.records import RunRecord, TrialRecord
from autorl.report.findings import PHASES, Findings
from autorl.report.words import duration, energy, number, setting, state, trained, tries

NONE = "–"


def role(found: Findings, trial: int) -> str:
    """Say what a trial is to its study: the default, the incumbent, the winner, or nothing (an empty string)."""
    roles = ["default"] if trial == 0 else []
    if found.winner is not None and found.winner.number == trial:
        roles.insert(0, "winner")
    elif found.winner is None and found.incumbent is not None and found.incumbent.number == trial:
        roles.insert(0, "incumbent")
    return " and ".join(roles)


def named(found: Findings, trial: int) -> str:
    """Name a trial with its role: `trial 17 (winner)`."""
    what = role(found, trial)
    return f"trial {trial} ({what})" if what else f"trial {trial}"


def listed(found: Findings) -> list[TrialRecord]:
    """Return all trials, the best by tuning data first; those without a value come last, by number."""
    return [*found.ranked, *(trial for trial in found.trials if trial.value is None)]


def steps(found: Findings) -> tuple[int, int]:
    """Return the environment steps spent and those planned (an upper bound), over all phases and seeds."""
    spent = found.spent.values()
    return int(sum(p["env_steps"] for p in spent)), int(sum(p["planned_env_steps"] for p in spent))


def studies(every: Iterable[Findings]) -> pd.DataFrame:
    """Return one row a study."""
    rows = []
    for found in every:
        spent, planned = steps(found)
        best = found.winner or found.incumbent
        of = f" of {planned:,}" if found.study.state != "finished" else ""
        rows.append(
            {
                "study": found.study.name,
                "state": state(found.study),
                "trials": f"{len(found.trials)}",
                "environment steps": f"{spent:,}{of}",
                "best trial": NONE if best is None else str(best.number),
                "its tuning score": number(best.value if best else None),
                "its test score": number(found.value(best.number, "test") if best else None),
                "objective": f"{found.spec.objective.direction} {found.objective}",
            }
        )
    return pd.DataFrame(rows)


def trials(found: Findings, which: Sequence[TrialRecord]) -> pd.DataFrame:
    """Return one row a trial: roles, scores and hyperparameters. A parameter that is not active is missing."""
    rows = []
    names = parameters(found, which)
    believed = any(known.posterior is not None for known in found.trials)
    for trial in which:
        row: dict[str, Any] = {"trial": trial.number, "role": role(found, trial.number), "state": trial.state}
        row |= {"origin": trial.origin, "trained": trained(found.spec, trial)}
        if believed:
            row["expected"] = trial.posterior.mean if trial.posterior is not None else None
        row["tuning"] = trial.value
        runs = {run.seed: run.score for run in found.runs.get(trial.number, ()) if run.phase == "tuning"}
        row["by seed"] = "  ".join(number(runs.get(seed), 3) for seed in found.spec.seeds.tuning)
        if found.spec.seeds.validation:
            row["validation"] = found.value(trial.number, "validation")
        row["test"] = found.value(trial.number, "test")
        rows.append(row | {name: _cell(trial.config.values.get(name)) for name in names})
    frame = pd.DataFrame(rows)
    return frame.astype({name: float for name in ("tuning", "validation", "test") if name in frame})


def parameters(found: Findings, which: Sequence[TrialRecord]) -> list[str]:
    """Return the names of the hyperparameters that any of the trials has, in the order of the search space."""
    present = {name for trial in which for name in trial.config.values}
    return [parameter.name for parameter in found.spec.space if parameter.name in present]


def _cell(value: Any) -> Any:
    """Return a number as it is, so that a column of them sorts, and anything else in words."""
    return value if isinstance(value, int | float) and not isinstance(value, bool) else _words(value)


def _words(value: Any) -> str | None:
    return None if value is None else setting(value)


def configurations(found: Findings, which: Sequence[TrialRecord]) -> pd.DataFrame:
    """Return one row a hyperparameter and one column a trial, the default last for comparison."""
    shown = list(which)
    if found.trials and all(trial.number != 0 for trial in shown):
        shown.append(found.trials[0])
    rows = []
    for name in parameters(found, shown):
        values = {
            named(found, t.number): setting(t.config.values[name]) if name in t.config.values else NONE for t in shown
        }
        rows.append({"hyperparameter": name, **values})
    return pd.DataFrame(rows)


def runs(found: Findings, trial: int) -> pd.DataFrame:
    """Return one row a run of a trial, in the order of the phases."""
    ordered = sorted(found.runs.get(trial, ()), key=lambda run: (PHASES.index(run.phase), run.seed))
    return pd.DataFrame([_run(run) for run in ordered])


def _run(run: RunRecord) -> dict[str, Any]:
    return {
        "phase": run.phase,
        "seed": run.seed,
        "state": run.state,
        "score": number(run.score),
        "environment steps": f"{run.env_steps:,}",
        "training time": duration(run.wall_seconds) if run.finished_at else NONE,
        "starts": run.attempts,
        "failed attempts": tries(run) or NONE,
        "notes": "; ".join(run.notes) or NONE,
    }


def budget(found: Findings) -> pd.DataFrame:
    """Return one row a phase: runs, environment steps and training time, planned and spent."""
    rows = []
    finished = found.study.state == "finished"
    told = any("energy_joules" in spent for spent in found.spent.values())
    for phase, spent in found.spent.items():
        if spent["planned_env_steps"] or spent["runs"]:
            of = "" if finished else f" of {spent['planned_env_steps']:,.0f}"
            rows.append(
                {
                    "phase": phase,
                    "seeds": f"{len(getattr(found.spec.seeds, phase))}",
                    "runs": f"{spent['runs']:.0f}",
                    "environment steps": f"{spent['env_steps']:,.0f}{of}",
                    "training time": duration(spent["wall_seconds"]),
                    **({"energy": energy(spent.get("energy_joules"))} if told else {}),
                }
            )
    return pd.DataFrame(rows)


def as_csv(frame: pd.DataFrame) -> str:
    """Return a table as CSV, numbers in full."""
    return frame.to_csv(index=False, quotechar='"')


def plain(value: Any) -> str:
    """Return plain data as indented JSON."""
    return json.dumps(value, indent=2, default=str)
