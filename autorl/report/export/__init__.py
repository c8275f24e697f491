"""Write a trial as a file that runs in the user's own training code, with nothing left to be guessed."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module

from autorl.errors import ExportError, did_you_mean
from autorl.ledger.records import TrialRecord
from autorl.report.findings import Findings
from autorl.spec.yaml12 import printable

BACKENDS = {
    "sb3": ("sb3", "jax"),
    "rl-zoo3": ("sb3", "jax"),
    "cleanrl": ("sb3", "jax"),
    "trl": ("llm",),
    "trl-script": ("llm",),
    "command": ("command",),
}
"""Format → backends whose trials it holds; any trial's is data."""
FORMATS = (*BACKENDS, "yaml", "json", "schedule", "hydra", "configspace", "wandb-sweep")
_RENDERERS = {
    "sb3": ("sb3_script", "render"),
    "rl-zoo3": ("zoo", "render"),
    "cleanrl": ("cleanrl", "render"),
    "trl": ("trl", "render"),
    "trl-script": ("trl_script", "render"),
    "command": ("command", "render"),
    "schedule": ("schedule", "render"),
    "yaml": ("configuration", "as_yaml"),
    "json": ("configuration", "as_json"),
    "hydra": ("hydra", "render"),
    "configspace": ("space", "configspace"),
    "wandb-sweep": ("space", "sweep"),
}
_LONGEST = 10_000
_ENDINGS = {"sb3": "py", "trl-script": "py", "cleanrl": "sh", "command": "sh", "json": "json", "configspace": "json"}


def render(findings: Findings, trial: TrialRecord, format_name: str) -> str:
    """Return a trial in one of `FORMATS`.

    Raises:
        ExportError: there is no such format, or it cannot hold this trial.
    """
    if format_name not in FORMATS:
        raise ExportError(f"unknown format '{format_name}'{did_you_mean(format_name, FORMATS)}")
    backend = trial.recipe.backend
    if backend not in BACKENDS.get(format_name, (backend,)):
        known = " or ".join(BACKENDS[format_name])
        raise ExportError(
            f"{format_name} is for trials of backend {known}, not '{backend}'; use --format {fitting(backend)[0]}"
        )
    module, function = _RENDERERS[format_name]
    renderer: Callable[[Findings, TrialRecord], str] = getattr(import_module(f"{__name__}.{module}"), function)
    return renderer(findings, trial)


def fitting(backend: str) -> list[str]:
    """Return the formats that hold what a backend trains, the most useful first."""
    return [name for name in FORMATS if backend in BACKENDS.get(name, (backend,))]


def ending(format_name: str) -> str:
    """Return what a file of a format ends in."""
    return _ENDINGS.get(format_name, "yaml")


def unable(findings: Findings, trial: TrialRecord, format_name: str, why: str) -> ExportError:
    """Return the error of a format that cannot hold a schedule of hyperparameters, with what can."""
    assert trial.recipe.start is not None
    return ExportError(
        f"trial {trial.number} goes on from trial {trial.forked_from} at {trial.recipe.start.env_steps:,} steps, a "
        f"schedule of hyperparameters; {format_name} cannot hold it: {why}. As data: --format schedule. To train it "
        f"with the test seeds: autorl test {findings.study.name} --trial {trial.number}"
    )


def header(findings: Findings, trial: TrialRecord) -> list[str]:
    """Return what an exported file says of its origin, a line each."""
    return [comment(line) for line in _said(findings, trial)]


def comment(text: str) -> str:
    """Return what a comment says on one line: what follows a line break, as names may have, would be none."""
    return printable(text, _LONGEST)


def _said(findings: Findings, trial: TrialRecord) -> list[str]:
    from autorl.report.sentences import again, headline_lines
    from autorl.report.words import interval, number

    spec, versions = findings.spec, findings.study.versions
    lines = [f"Study {findings.study.name}, trial {trial.number}: {trial.recipe.algorithm} on {trial.recipe.env}."]
    if findings.winner is not None and trial.number == findings.winner.number:
        for what, value, between in headline_lines(findings):
            measured = "" if "probability" in what else f"{findings.objective} on test seeds, "
            lines.append(f"{measured}{what}: {value} ({between}).")
        lines += again(findings)
    elif (found := findings.tested(trial.number)) is not None:
        chosen = findings.front is not None and trial.number in {
            member.trial.number for member in findings.front.members
        }
        what = "of the front" if chosen else "the default" if trial.number == 0 else "not the study's choice"
        lines.append(f"{findings.objective} on test seeds, {what}: {number(found.value)} ({interval(found)}).")
    elif trial.value is not None:
        lines.append(
            f"{findings.objective} on the tuning seeds: {number(trial.value)} (the best of several is optimistic)."
        )
    seeds = spec.model_dump(mode="json")["seeds"]
    lines.append(
        "Seeds: "
        + ", ".join(f"{phase} {seeds[phase]}" for phase in ("tuning", "validation", "test") if seeds[phase])
        + "."
    )
    lines.append("Trained with " + ", ".join(f"{name} {version}" for name, version in versions.items()) + ".")
    return lines
