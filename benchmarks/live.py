"""Tune PPO live, by `race` and by TPE with the same environment steps: whose winner is better on ten test seeds?

    python benchmarks/live.py [--out live-results] [--workers 2] [--seeds 0 1 ...]

README.md says what is compared. Studies lie in one database in the folder; what was interrupted goes on from there.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from autorl.analysis import estimate, probability_better
from autorl.ledger.reader import Reader
from autorl.ledger.records import TrialRecord
from autorl.report.findings import Findings, gather

RUNS = 24  # full runs that a study's tuning may cost

STUDY = """\
study: {name}
task: {{env: {env}}}
algorithm: {{name: ppo, fixed: {{n_envs: 8}}}}
search_space:
  parameters:
    learning_rate: {{min: 1e-5, max: 1e-2, log: true}}
    n_steps: {{min: 4, max: 9, transform: power_of_two}}
    batch_size: {{min: 6, max: 9, transform: power_of_two}}
    n_epochs: {{min: 1, max: 20, log: true}}
    gamma: {{min: 1e-4, max: 0.1, log: true, transform: one_minus}}
    gae_lambda: {{min: 0.01, max: 0.2, log: true, transform: one_minus}}
    clip_range: {{min: 0.1, max: 0.4}}
    ent_coef: {{min: 1e-8, max: 0.1, log: true}}
    vf_coef: {{min: 0.2, max: 1.0}}
    policy.net_arch: {{values: [tiny, small], default: small}}
seeds: {{tuning: 0:5, test: 100:110}}
budget: {{env_steps: {budget}, steps_per_run: {steps}}}
evaluation: {{points: 5, episodes: 10}}
retest: {{top: 1}}
optimizer: {{seed: {seed}, {optimizer}}}
execution: {{workers: {workers}}}
storage: sqlite:///{database}
"""

OPTIMIZERS = {"race": "name: race", "tpe": "name: tpe, seeds: 1, pruner: {name: median}"}


@dataclass(frozen=True)
class Task:
    """An environment and how long a full run on it is.

    Attributes:
        steps: environment steps; whole rollouts at every `n_steps` of the space, so that all runs train equally long.
    """

    env: str
    steps: int


TASKS = (Task("CartPole-v1", 4 * 4096), Task("Acrobot-v1", 5 * 4096), Task("LunarLander-v3", 8 * 4096))


def conduct(task: Task, optimizer: str, seed: int, workers: int, out: Path) -> Findings:
    """Run a study, or go on with it, as a user would."""
    database = (out / "live.db").resolve()
    name = f"{task.env.split('-')[0].lower()}-{optimizer}-{seed}"
    file = out / f"{name}.yaml"
    file.write_text(
        STUDY.format(
            name=name,
            env=task.env,
            budget=RUNS * task.steps,
            steps=task.steps,
            seed=seed,
            optimizer=OPTIMIZERS[optimizer],
            workers=workers,
            database=database,
        ),
        encoding="utf-8",
    )
    print(f"{name} …", flush=True)
    with (out / f"{name}.log").open("w", encoding="utf-8") as log:
        subprocess.run([sys.executable, "-m", "autorl", "run", file], stdout=log, stderr=log, check=True)
    with Reader(f"sqlite:///{database}") as reader:
        return gather(reader, name)


def main() -> None:
    """Conduct what is missing, then print all side by side."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("live-results"), help="folder for the studies")
    parser.add_argument("--workers", type=int, default=2, help="runs that train at a time")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0], help="of the optimizers: a study each")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    os.environ["OMP_NUM_THREADS"] = "1"
    rows = []
    for seed in arguments.seeds:
        for task in TASKS:
            found = {o: conduct(task, o, seed, arguments.workers, arguments.out) for o in OPTIMIZERS}
            rows.append((task, seed, found))
    print(f"\nTest score of the winners, mean over 10 seeds [95 % interval]; {RUNS} full runs of tuning each")
    for task, seed, studies in rows:
        race, tpe = (studies[o].scores(_winner(studies[o]).number, "test") for o in OPTIMIZERS)
        better = probability_better(race, tpe)
        print(f"\n{task.env}, {task.steps:,} steps a run, optimizer seed {seed}")
        for name, study in studies.items():
            print(f"  {name:8s}{_line(study)}")
        print(f"  {'default':8s}{_score(studies['race'].scores(0, 'test'))}")
        print(f"  P(race's winner is better) {better.value:.2f} [{better.low:.2f}, {better.high:.2f}]")


def _winner(found: Findings) -> TrialRecord:
    if found.winner is None:
        raise RuntimeError(f"{found.study.name} has no winner: it is {found.study.state}")
    return found.winner


def _line(found: Findings) -> str:
    """Return a winner's test score beside what tuning reported of it, and what tuning cost."""
    winner, steps = _winner(found), found.spent["tuning"]["env_steps"]
    return (
        f"{_score(found.scores(winner.number, 'test'))}   tuning reported {winner.worth:.1f}; "
        f"{len(found.trials)} trials, {steps:,.0f} steps"
    )


def _score(scores: Sequence[float]) -> str:
    found = estimate(scores, "mean", 0.95)
    return f"{found.value:8.1f} [{found.low:.1f}, {found.high:.1f}]"


if __name__ == "__main__":
    main()
