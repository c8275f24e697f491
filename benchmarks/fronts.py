"""What fronts and constraints are worth when seeds are noisy: simulated, with the truth known.

    python benchmarks/fronts.py [--repeats 200]

Random configurations of ZDT1, ZDT2 and DTLZ2 are scored on a few seeds with noise. The front by the seeds' means, as
other tools report it, is put beside the one that autorl reports, from the same scores. Then a study of one objective
with a constraint is simulated: whoever chooses the best that seems to meet it, on the same seeds, is beside autorl's
choice, and each is tested on ten new seeds.
"""

from __future__ import annotations

import argparse

import numpy as np
from rich.console import Console
from rich.table import Table
from scipy import stats

from autorl.analysis import probability_below, probability_undominated, shrunk_means, undominated

CONFIGURATIONS, TEST_SEEDS = 60, 10
PROBABILITY = 0.9


def zdt1(x: np.ndarray) -> np.ndarray:
    """Zitzler, Deb and Thiele (2000), with a g that leaves random points within reach of the front."""
    g = 1 + 2 * x[:, 1:].mean(axis=1)
    return np.stack([x[:, 0], g * (1 - np.sqrt(x[:, 0] / g))], axis=1)


def zdt2(x: np.ndarray) -> np.ndarray:
    """The same with a concave front."""
    g = 1 + 2 * x[:, 1:].mean(axis=1)
    return np.stack([x[:, 0], g * (1 - (x[:, 0] / g) ** 2)], axis=1)


def dtlz2(x: np.ndarray) -> np.ndarray:
    """Deb et al. (2002), three objectives."""
    g = 1 + ((x[:, 2:] - 0.5) ** 2).sum(axis=1)
    a, b = x[:, 0] * np.pi / 2, x[:, 1] * np.pi / 2
    return np.stack([g * np.cos(a) * np.cos(b), g * np.cos(a) * np.sin(b), g * np.sin(a)], axis=1)


PROBLEMS = {"ZDT1": zdt1, "ZDT2": zdt2, "DTLZ2": dtlz2}


def fronts(repeats: int, console: Console) -> None:
    """Print how many members of a front are none, by means and by autorl."""
    table = Table(title="Members of the front, and how many of them are dominated in truth", box=None)
    for column in ("problem", "seeds", "true front", "by means", "false", "autorl", "false", "90 % intervals cover"):
        table.add_column(column, justify="left" if column == "problem" else "right")
    for name, problem in PROBLEMS.items():
        for seeds in (3, 5, 10):
            rng = np.random.default_rng(seeds)
            rows, covered = [], []
            for _ in range(repeats):
                true = problem(rng.random((CONFIGURATIONS, 5)))
                noise = 0.15 * rng.uniform(0.5, 1.5, (CONFIGURATIONS, 1, 1))
                scores = true[:, None] + noise * rng.standard_normal((CONFIGURATIONS, seeds, true.shape[1]))
                down = ["minimize"] * true.shape[1]
                means = [shrunk_means(list(scores[:, :, column])) for column in range(true.shape[1])]
                front = undominated(true, down)
                plain = undominated(scores.mean(axis=1), down)
                aware = probability_undominated(means, down) >= 0.5
                rows.append([front.sum(), plain.sum(), (plain & ~front).sum(), aware.sum(), (aware & ~front).sum()])
                for column, found in enumerate(means):
                    half = stats.t.ppf(0.95, found.freedom) * found.error
                    covered.append(np.mean(np.abs(found.mean - true[:, column]) <= half))
            average = np.mean(rows, axis=0)
            table.add_row(name, str(seeds), *(f"{value:.1f}" for value in average), f"{np.mean(covered):.1%}")
    console.print(table)


def constraints(repeats: int, console: Console) -> None:
    """Print how often the chosen configuration keeps to its constraint, and how often it was said to."""
    title = f"The best of {CONFIGURATIONS} that seems to meet a constraint; asked for: probability {PROBABILITY}"
    table = Table(title=title, box=None)
    for column in ("seeds", "noise", "by means: met", "autorl: said", "autorl: met", "none chosen"):
        table.add_column(column, justify="right")
    for seeds in (2, 3, 5):
        for noise in (0.3, 1.0):
            rng = np.random.default_rng(seeds)
            said, met, plain, none = [], [], [], 0
            for _ in range(repeats * 5):
                cost = rng.normal(0.0, 1.0, CONFIGURATIONS)
                spread = noise * rng.uniform(0.5, 1.5, CONFIGURATIONS)
                scores = cost[:, None] + spread[:, None] * rng.standard_normal((CONFIGURATIONS, seeds))
                later = cost + spread / TEST_SEEDS**0.5 * rng.standard_normal(CONFIGURATIONS)
                # The more it costs, the better it is: the bound is where everything happens.
                seeming = np.where(scores.mean(axis=1) <= 0.0, scores.mean(axis=1), -np.inf)
                plain.append(later[np.argmax(seeming)] <= 0.0)
                likely = probability_below(shrunk_means(list(scores)), 0.0, TEST_SEEDS)
                allowed = np.where(likely >= PROBABILITY, scores.mean(axis=1), -np.inf)
                chosen = int(np.argmax(allowed))
                if not np.isfinite(allowed[chosen]):
                    none += 1
                    continue
                said.append(likely[chosen])
                met.append(later[chosen] <= 0.0)
            cells = [np.mean(plain), np.mean(said), np.mean(met), none / (repeats * 5)]
            table.add_row(str(seeds), str(noise), *(f"{value:.2f}" for value in cells))
    console.print(table)


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=200)
    repeats = parser.parse_args().repeats
    console = Console(width=120)
    fronts(repeats, console)
    constraints(repeats, console)


if __name__ == "__main__":
    main()
