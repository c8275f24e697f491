"""Trainers as users write them, which learn nothing and take no time: a walk that drifts by the learning rate."""

from __future__ import annotations

import contextlib
import json
import random
import subprocess
import sys
from pathlib import Path
from typing import Any


def walk(config: dict[str, Any], seed: int, budget: Any, report: Any) -> None:
    """Report a walk at every twentieth of the run, and go on from where an earlier call left it."""
    state = {"env_steps": 0, "value": 0.0}
    if budget.checkpoint.exists():
        state = json.loads(budget.checkpoint.read_text())
    while state["env_steps"] < budget.env_steps:
        state["env_steps"] += budget.env_steps // 20
        state["value"] += config["drift"] + random.Random(seed * 1_000_003 + state["env_steps"]).gauss()
        print("walked to", state["value"])
        keep(budget.checkpoint, state)
        report(state["env_steps"], {"return": state["value"]})


def rollouts(config: dict[str, Any], seed: int, budget: Any, report: Any) -> None:
    """Train in whole rollouts, which may end beyond the points that are asked for; longer ones are better."""
    steps = json.loads(budget.checkpoint.read_text()) if budget.checkpoint.exists() else 0
    while steps < budget.env_steps:
        steps += config["rollout"]
        keep(budget.checkpoint, steps)
        report(steps, {"return": config["rollout"] + config["drift"] + random.Random(seed * 1_009 + steps).gauss()})


def listed(config: dict[str, Any], seed: int, budget: Any, report: Any) -> None:
    """Report at the steps that are listed, and of each its number."""
    for number, steps in enumerate(config["at"]):
        report(steps, number)


def growing(config: dict[str, Any], seed: int, budget: Any, report: Any) -> float:
    """Change what it is given, and return how much there is of it."""
    config["net"].append(4)
    return len(config["net"])


def stubborn(config: dict[str, Any], seed: int, budget: Any, report: Any) -> None:
    """Take the stop for an error, and fail to clean up after it."""
    try:
        walk(config, seed, budget, report)
    except BaseException as error:
        raise OSError("nothing to clean up") from error


def thorough(config: dict[str, Any], seed: int, budget: Any, report: Any) -> None:
    """Report everything, whatever the reports raise, and once more."""
    for steps in [*budget.points, budget.env_steps + 1]:
        with contextlib.suppress(BaseException):
            report(steps, 1.0)


def deaf(config: dict[str, Any], seed: int, budget: Any, report: Any) -> None:
    """Take the stop for an error, and return."""
    with contextlib.suppress(BaseException):
        walk(config, seed, budget, report)


def leaving(config: dict[str, Any], seed: int, budget: Any, report: Any) -> None:
    """Leave as a command does that was made a function."""
    raise SystemExit(2)


def greedy(config: dict[str, Any], seed: int, budget: Any, report: Any) -> None:
    """Ask for more memory than there is."""
    raise MemoryError


def once(config: dict[str, Any], seed: int, budget: Any, report: Any) -> float:
    """Train, and return how well that went."""
    return config["drift"] + random.Random(seed).random()


def broken(config: dict[str, Any], seed: int, budget: Any, report: Any) -> None:
    """Raise."""
    print("about to fail")
    raise RuntimeError("the reward model is gone")


def diverging(config: dict[str, Any], seed: int, budget: Any, report: Any) -> None:
    """Report what is no number."""
    report(budget.points[0], {"return": float("nan")})


def silent(config: dict[str, Any], seed: int, budget: Any, report: Any) -> None:
    """Report half of what is asked for."""
    for steps in budget.points[: len(budget.points) // 2]:
        report(steps, 1.0)


def handing(config: dict[str, Any], seed: int, budget: Any, report: Any) -> object:
    """Report half of what is asked for, and return what is no number."""
    silent(config, seed, budget, report)
    return object()


def mapping(config: dict[str, Any], seed: int, budget: Any, report: Any) -> dict[str, object]:
    """Report half of what is asked for, and return what has no metric in it."""
    silent(config, seed, budget, report)
    return {"model": object()}


def counting(config: dict[str, Any], seed: int, budget: Any, report: Any) -> int:
    """Report all but the last, and return how that went to the system."""
    for steps in budget.points[:-1]:
        report(steps, 1.0)
        report(steps, {"loss": 0.3})
    return 0


def chatty(config: dict[str, Any], seed: int, budget: Any, report: Any) -> float:
    """Do with its output what one may do with a file."""
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    print("a terminal" if sys.stdout.isatty() else "no terminal", file=sys.stdout)
    subprocess.run([sys.executable, "-c", "print('from a child')"], stdout=sys.stdout, check=True)
    return 1.0


def talkative(config: dict[str, Any], seed: int, budget: Any, report: Any) -> None:
    """Report all but the last, and then of something else."""
    counting(config, seed, budget, report)


def careless(config: dict[str, Any], seed: int, budget: Any, report: Any) -> None:
    """Catch everything, as training loops do."""
    for steps in budget.points:
        try:
            report(steps, 1.0)
        except Exception:  # noqa: BLE001 - that is what it is for
            continue


def keep(file: Path, state: Any) -> None:
    """Replace a file as a whole."""
    beside = file.with_suffix(".new")
    beside.write_text(json.dumps(state))
    beside.replace(file)
