"""Do the numbers on seeds keep their promises? On simulated scores with a known truth, and on tables of real results.

    python benchmarks/calibration.py [FOLDER] [--draws 2000]

FOLDER holds tables as the backend `landscape` reads them, with ten seeds each; without it only the simulation runs.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from autorl.analysis import (
    Estimate,
    difference,
    estimate,
    probability_better,
    rank_correlation,
    split_variance,
    winners_curse,
)
from autorl.training.landscape import load_table

Scores = NDArray[np.float64]
SEEDS = (3, 5, 10, 20)
TRIALS = (8, 32, 128)
# Spearman's correlation of normal scores whose own correlation is 1 / (1 + 0.5^2): 6 / pi asin(r / 2).
RANKS = 6 / np.pi * np.arcsin(0.8 / 2)


def coverage(draws: int) -> None:
    """Print how often nominal 95 % intervals of normal scores hold the truth."""
    rng = np.random.default_rng(0)
    cases: dict[str, tuple[Callable[[int], Estimate], float]] = {
        "mean": (lambda n: estimate(rng.normal(2, 3, n)), 2.0),
        "interquartile mean": (lambda n: estimate(rng.normal(2, 3, n), "iqm"), 2.0),
        "difference of means": (lambda n: difference(rng.normal(1, 1, n), rng.normal(0, 3, n)), 1.0),
        "probability that A is better": (lambda n: probability_better(rng.normal(0, 1, n), rng.normal(0, 3, n)), 0.5),
        "consistency of a seed, 12 trials": (lambda n: _consistency(rng, n), 0.8),
        "rank correlation, n trials": (lambda n: _ranks(rng, n), RANKS),
    }
    print(f"How often a nominal 95 % interval holds the truth, {draws:,} draws of normal scores")
    print(f"{'seeds':36s}" + "".join(f"{n:>8}" for n in SEEDS))
    for name, (draw, truth) in cases.items():
        shares = []
        for n in SEEDS:
            found = [draw(n) for _ in range(draws)]
            shares.append(np.nan if np.isnan(found[0].low) else np.mean([e.low <= truth <= e.high for e in found]))
        print(f"{name:36s}" + "".join(f"{'–' if np.isnan(share) else f'{share:.3f}':>8}" for share in shares))


def _consistency(rng: np.random.Generator, seeds: int) -> Estimate:
    scores = rng.normal(0, 2, (12, 1)) + rng.normal(0, 1, (1, seeds)) + rng.normal(0, 1, (12, seeds))
    return split_variance(scores).consistency


def _ranks(rng: np.random.Generator, trials: int) -> Estimate:
    true = rng.normal(0, 1, trials)
    return rank_correlation(true + rng.normal(0, 0.5, trials), true + rng.normal(0, 0.5, trials))


def tables(folder: Path) -> list[Scores]:
    """Return the final scores of each table, shape (configurations, seeds), clipped and scaled to [0, 1]."""
    found = []
    for path in sorted(folder.glob("*.npz")):
        returns = load_table(path).returns
        low, high = np.nanpercentile(returns, [0.5, 99.9])
        final = (np.clip(returns[:, :, -1], low, high) - low) / (high - low)
        found.append(final[np.isfinite(final).all(axis=1)])
    return found


def curse(every: list[Scores], draws: int) -> None:
    """Print the winner's curse: what tuning data says it is, and what the seeds left over say."""
    rng = np.random.default_rng(0)
    print(f"\nWinner's curse in units of the range, mean over {len(every)} tables, {draws:,} draws each")
    print(f"{'seeds':>5} {'trials':>6} {'predicted':>10} {'true':>8} {'ratio':>6} {'error of the ratio':>19}")
    for seeds in (3, 5):
        for trials in TRIALS:
            said, lost = [], []
            for scores in every:
                for _ in range(draws):
                    chosen = scores[rng.choice(len(scores), trials, replace=False)]
                    chosen = chosen[:, rng.permutation(chosen.shape[1])]
                    tuning = chosen[:, :seeds].mean(axis=1)
                    best = tuning >= tuning.max() - 1e-12
                    said.append(winners_curse(chosen[:, :seeds]))
                    lost.append(np.mean(tuning[best] - chosen[best, seeds:].mean(axis=1)))
            apart = np.std(np.array(said) - np.array(lost)) / np.sqrt(len(said))
            ratio, error = np.mean(said) / np.mean(lost), apart / np.mean(lost)
            print(f"{seeds:>5} {trials:>6} {np.mean(said):>10.4f} {np.mean(lost):>8.4f} {ratio:>6.2f} {error:>19.2f}")


def reliability(every: list[Scores], draws: int) -> None:
    """Print the reliability curve: how often A is better on the seeds left over, by the probability that was said."""
    rng = np.random.default_rng(0)
    edges = np.array([0.0, 0.05, 0.15, 0.25, 0.35, 0.45, 0.55, 0.65, 0.75, 0.85, 0.95, 1.0])
    print("\nReliability of the probability that A is better, random pairs: said, and what came out on other seeds")
    for seeds in (3, 5):
        said, true = [], []
        for scores in every:
            for _ in range(draws):
                a, b = scores[rng.choice(len(scores), 2, replace=False)][:, rng.permutation(scores.shape[1])]
                said.append(probability_better(a[:seeds], b[:seeds]).value)
                true.append(probability_better(a[seeds:], b[seeds:]).value)
        bins = np.clip(np.digitize(said, edges) - 1, 0, len(edges) - 2)
        cells = [(np.mean(np.array(said)[bins == k]), np.mean(np.array(true)[bins == k])) for k in np.unique(bins)]
        weights = [np.mean(bins == k) for k in np.unique(bins)]
        gap = sum(weight * abs(a - b) for weight, (a, b) in zip(weights, cells, strict=True))
        print(f"{seeds} seeds: " + "  ".join(f"{a:.2f}→{b:.2f}" for a, b in cells) + f"; mean gap {gap:.3f}")


def main() -> None:
    """Run the parts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?", help="tables of results, one .npz a task")
    parser.add_argument("--draws", type=int, default=2_000, help="of each simulation; a quarter of them on each table")
    arguments = parser.parse_args()
    coverage(arguments.draws)
    if arguments.folder is not None:
        every = tables(arguments.folder)
        curse(every, arguments.draws // 4)
        reliability(every, arguments.draws // 4)


if __name__ == "__main__":
    main()
