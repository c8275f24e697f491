"""How long a run takes to start: from the order to the first training step, in processes that are forked warm.

    python benchmarks/run_start.py [--runs 20] [--backend jax]

The first order also waits for the fork server, which imports torch and trains for a moment once in an engine's life.
Each run is a process: with backend jax all but the first find their program compiled, in a cache that begins empty.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from pathlib import Path

from autorl.engine.plan import default_recipe
from autorl.execution.processes import ProcessExecutor
from autorl.execution.protocol import Alive, Ended, Order
from autorl.execution.worker import result_file
from autorl.plugins import find
from autorl.spec.load import draft_study
from autorl.spec.study import StudySpec
from autorl.trial import Recipe, Run

STUDY = """\
study: start
task: {{env: CartPole-v1}}
algorithm: {{backend: {backend}, name: ppo, fixed: {{n_steps: 64}}}}
search_space: {{parameters: {{gamma: {{min: 0.9, max: 0.99}}}}}}
seeds: {{tuning: 0:1, test: 1:2}}
budget: {{trials: 1, steps_per_run: 64}}
evaluation: {{points: 1, episodes: 1}}
execution: {{workers: 1}}
"""


def seconds_to_first_step(executor: ProcessExecutor, recipe: Recipe, seed: int, folder: Path) -> float:
    """Train one short run and return how long it took from the order to its first step."""
    run = Run(0, "tuning", seed)
    results = folder / "results"
    order = Order(run, 1, recipe, 64, folder / str(seed), None, 60.0, result_file(results, run, 1))
    began, first = time.monotonic(), 0.0
    executor.submit(order)
    while True:
        for event in executor.poll(1.0):
            if isinstance(event, Alive) and not first:
                first = time.monotonic() - began
            if isinstance(event, Ended):
                return first


def main() -> None:
    """Print the first start and the distribution of the others."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--backend", choices=("sb3", "jax"), default="sb3")
    options = parser.parse_args()
    runs = options.runs
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ["XDG_CACHE_HOME"] = name
        (folder / "start.yaml").write_text(STUDY.format(backend=options.backend))
        spec: StudySpec = draft_study(folder / "start.yaml", []).spec()
        recipe = default_recipe(spec, find("autorl.backends", options.backend)())
        executor = ProcessExecutor(spec)
        taken = [seconds_to_first_step(executor, recipe, seed, folder) for seed in range(runs + 1)]
        executor.close()
    print(f"first, with the fork server: {taken[0]:.2f} s")
    print(f"then: median {statistics.median(taken[1:]):.3f} s, at most {max(taken[1:]):.3f} s, of {runs} runs")


if __name__ == "__main__":
    main()
