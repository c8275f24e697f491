"""Tune with the JAX backend, train the winner in plain Stable-Baselines3: does it score what the study reported?

    python benchmarks/transfer.py [--out transfer-results] [--trials 12] [--only CartPole-v1 ...]

For each task a study with `backend: jax` ends with ten test seeds of its winner. The winner is exported with `autorl
export --format sb3`, and the script that this writes trains it on the same ten seeds, though not on the same random
numbers: the two libraries draw their own. README.md says what is compared. What was interrupted goes on from there.
"""

from __future__ import annotations

import argparse
import csv
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import stats

from autorl.analysis import area_under_curve, difference, estimate, prediction
from autorl.analysis.estimate import Estimate
from autorl.ledger.reader import Reader
from autorl.report.findings import Findings, gather

WORKERS = 2
SEEDS = range(100, 110)
POINTS = 10

STUDY = """\
study: {name}
task: {{env: {env}}}
algorithm: {{backend: jax, name: ppo, fixed: {{{fixed}}}}}
search_space:
  parameters:
    learning_rate: {{min: 1e-4, max: 3e-3, log: true}}
    gamma: {{min: 1e-4, max: 0.1, log: true, transform: one_minus}}
    gae_lambda: {{min: 0.01, max: 0.2, log: true, transform: one_minus}}
    clip_range: {{min: 0.1, max: 0.4}}
    ent_coef: {{min: 1e-6, max: 0.03, log: true, default: 1e-6}}
seeds: {{tuning: 0:3, test: {first}:{last}}}
budget: {{trials: {trials}, steps_per_run: {steps}}}
evaluation: {{points: {points}, episodes: 20}}
optimizer: {{name: race, seed: 0}}
execution: {{workers: {workers}}}
storage: sqlite:///{database}
"""


@dataclass(frozen=True)
class Task:
    """An environment, what is not searched there (near to rl-zoo3's setting), and the environment steps of a run."""

    env: str
    fixed: str
    steps: int


TASKS = (
    Task("CartPole-v1", "n_envs: 8, n_steps: 32, batch_size: 256, n_epochs: 20, lr_schedule: linear", 50_000),
    Task("Acrobot-v1", "n_envs: 16, n_steps: 256, batch_size: 256, n_epochs: 4, normalize: true", 100_000),
    Task("Pendulum-v1", "n_envs: 4, n_steps: 256, batch_size: 64, n_epochs: 10", 100_000),
    Task("MountainCarContinuous-v0", "n_envs: 4, n_steps: 128, batch_size: 64, n_epochs: 10, normalize: true", 100_000),
    Task("LunarLander-v3", "n_envs: 16, n_steps: 256, batch_size: 64, n_epochs: 4", 100_000),
)


@dataclass(frozen=True)
class Curves:
    """Learning curves of ten seeds: steps, shape (points,), and returns, shape (seeds, points)."""

    steps: npt.NDArray[np.float64]
    returns: npt.NDArray[np.float64]

    @property
    def final(self) -> npt.NDArray[np.float64]:
        """The last return of each seed."""
        return self.returns[:, -1]

    @property
    def area(self) -> npt.NDArray[np.float64]:
        """The mean return of each seed over training."""
        return area_under_curve(self.steps, self.returns)


def tune(task: Task, trials: int, out: Path) -> Findings:
    """Run the study, or go on with it, as a user would."""
    name, database = task.env.split("-")[0].lower(), (out / "transfer.db").resolve()
    file = out / f"{name}.yaml"
    values: dict[str, Any] = {"name": name, "env": task.env, "fixed": task.fixed, "steps": task.steps}
    values |= {"trials": trials, "points": POINTS, "workers": WORKERS, "database": database}
    file.write_text(STUDY.format(first=SEEDS.start, last=SEEDS.stop, **values), encoding="utf-8")
    print(f"{name}: tuning …", flush=True)
    with (out / f"{name}.log").open("w", encoding="utf-8") as log:
        subprocess.run([sys.executable, "-m", "autorl", "run", file], stdout=log, stderr=log, check=True)
    with Reader(f"sqlite:///{database}") as reader:
        return gather(reader, name)


def in_the_study(found: Findings) -> Curves:
    """Return the winner's curves on the test seeds, as the ledger has them."""
    assert found.winner is not None
    with Reader(found.spec.storage) as reader:
        records = reader.curves(found.study.name, [found.winner.number], "test")
    steps = [point.env_steps for point in records[0].points]
    return Curves(np.array(steps, float), np.array([[p.metrics["return"] for p in r.points] for r in records]))


def exported(found: Findings, out: Path) -> Curves:
    """Train the winner with the script that `autorl export` writes; return its curves on the same seeds."""
    name = found.study.name
    script = out / f"{name}.py"
    command = [sys.executable, "-m", "autorl", "export", name, "--format", "sb3", "--storage", found.spec.storage]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    script.write_text(done.stdout, encoding="utf-8")
    print(f"{name}: training the winner in Stable-Baselines3 …", flush=True)

    def train(seed: int) -> list[dict[str, str]]:
        curve = out / f"{name}-{seed}.csv"
        if not curve.exists():
            part = curve.with_suffix(".part")
            subprocess.run(
                [sys.executable, script, "--seed", str(seed), "--curve", part], check=True, stdout=subprocess.DEVNULL
            )
            part.rename(curve)
        with curve.open(encoding="utf-8") as file:
            return list(csv.DictReader(file))

    with ThreadPoolExecutor(WORKERS) as pool:
        rows = list(pool.map(train, SEEDS))
    steps = np.array([float(row["env_steps"]) for row in rows[0]])
    return Curves(steps, np.array([[float(row["return"]) for row in own] for own in rows]))


def show(task: Task, ours: Curves, theirs: Curves) -> None:
    """Print a row of the table."""
    reported, again = estimate(ours.final), estimate(theirs.final)
    others = prediction(ours.final, len(theirs.final))
    inside = "yes" if others.low <= again.value <= others.high else "no"
    cells = [task.env, f"{task.steps:,}", _interval(reported), f"{others.low:.1f} to {others.high:.1f}"]
    cells += [_interval(again), inside]
    for own, other in ((ours.final, theirs.final), (ours.area, theirs.area)):
        chance = stats.mannwhitneyu(own, other).pvalue if np.ptp([*own, *other]) else 1.0
        cells += [_interval(difference(own, other)), f"{chance:.2f}"]
    print(f"| {' | '.join(cells)} |", flush=True)


def _interval(found: Estimate) -> str:
    return f"{found.value:.1f} [{found.low:.1f}, {found.high:.1f}]"


def main() -> None:
    """Tune, export, train again, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("transfer-results"), help="folder for studies and curves")
    parser.add_argument("--trials", type=int, default=12, help="configurations of a study")
    parser.add_argument("--only", nargs="+", choices=[task.env for task in TASKS], help="tasks; by default all")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    os.environ["OMP_NUM_THREADS"] = "1"
    rows = []
    for task in TASKS:
        if arguments.only is None or task.env in arguments.only:
            found = tune(task, arguments.trials, arguments.out)
            rows.append((task, in_the_study(found), exported(found, arguments.out)))
    print(
        "\n| environment | steps | JAX study reports | of ten other seeds | exported to SB3 | inside | "
        "difference, final | p | difference, mean over training | p |\n|---|---|---|---|---|---|---|---|---|---|"
    )
    for task, ours, theirs in rows:
        show(task, ours, theirs)


if __name__ == "__main__":
    main()
