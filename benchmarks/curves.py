"""Do backends `sb3` and `jax` learn alike? PPO on an environment, one configuration, as many seeds as it takes.

    python benchmarks/curves.py [--env LunarLander-v3] [--steps 20480] [--points 2] [--seeds 40] [--engine host]

Each backend is given a study of one trial, whose tuning seeds are those asked for. README.md says what it is for.
"""

from __future__ import annotations

import argparse
import tempfile
from typing import Any

from scipy import stats

import autorl
from autorl.analysis import difference

RATE = 0.0025
FIXED = {"n_envs": 16, "n_steps": 256, "n_epochs": 4, "gamma": 0.982, "gae_lambda": 0.977, "clip_range": 0.25}
METRICS = ("return", "length")


def learn(backend: dict[str, str], asked: argparse.Namespace, folder: str) -> Any:
    """Train, and return a table of the evaluations."""
    study = {
        "study": backend["backend"],
        "task": {"env": asked.env},
        "algorithm": {**backend, "name": "ppo", "fixed": FIXED},
        "search_space": {"parameters": {"learning_rate": {"min": 1e-4, "max": 1e-2, "default": RATE}}},
        "seeds": {"tuning": range(1000, 1000 + asked.seeds), "test": range(2)},
        "budget": {"trials": 1, "steps_per_run": asked.steps},
        "evaluation": {"points": asked.points, "episodes": 20},
        "optimizer": {"name": "random"},
        "storage": f"sqlite:///{folder}/curves.db",
    }
    curves = autorl.tune(study).curves()
    return curves[curves["phase"] == "tuning"]


def main() -> None:
    """Train with both, and compare at each evaluation."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--env", default="LunarLander-v3")
    parser.add_argument("--steps", type=int, default=20_480, help="environment steps of a run")
    parser.add_argument("--points", type=int, default=2, help="evaluations of a run")
    parser.add_argument("--seeds", type=int, default=40)
    parser.add_argument("--engine", default="host", choices=["host", "envpool", "compiled"], help="of backend jax")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        plain = learn({"backend": "sb3"}, asked, folder)
        ours = learn({"backend": "jax", "engine": asked.engine}, asked, folder)
    print("| after | metric | sb3 | jax | difference, 95 % | p |\n|---|---|---|---|---|---|")
    for steps in sorted(set(plain["env_steps"]) & set(ours["env_steps"])):
        for metric in METRICS:
            a, b = (table.loc[table["env_steps"] == steps, metric].to_numpy() for table in (plain, ours))
            apart = difference(b, a)
            p = stats.mannwhitneyu(a, b).pvalue
            means = f"{a.mean():.1f} | {b.mean():.1f}"
            print(
                f"| {steps:,} | {metric} | {means} | {apart.value:.1f} [{apart.low:.1f}, {apart.high:.1f}] | {p:.2f} |"
            )


if __name__ == "__main__":
    main()
