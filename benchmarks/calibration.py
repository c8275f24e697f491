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
from scipy import stats

from autorl.analysis import (
    Estimate,
    difference,
    estimate,
    probability_better,
    probability_of_improvement,
    rank_correlation,
    split_variance,
    winners_curse,
)
from autorl.training.landscape import load_table

Scores = NDArray[np.float64]
Draw = Callable[[np.random.Generator, tuple[int, int]], Scores]
SEEDS = (3, 5, 10, 20)
SIZES = ((3, 3), (5, 5), (10, 10))
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


def pairs() -> dict[str, tuple[Draw, Draw, float]]:
    """Return what A and B draw their scores from, and how likely A is better on one seed each."""
    found: dict[str, tuple[Draw, Draw, float]] = {}
    for apart in (0.0, 0.5, 1.0, 1.5, 2.0, 3.0):
        found[f"normal, {apart} apart"] = _normal(apart, 1.0), _normal(0.0, 1.0), stats.norm.cdf(apart / np.sqrt(2))
    for apart in (0.0, 1.0, 3.0, 6.0):
        truth = stats.norm.cdf(apart / np.sqrt(26))
        found[f"normal, {apart} apart, deviations 1 and 5"] = _normal(apart, 1.0), _normal(0.0, 5.0), truth
    for p, q in ((0.5, 0.5), (0.8, 0.5), (0.8, 0.2), (0.95, 0.5), (0.9, 0.9), (0.5, 0.1)):
        truth = p * (1 - q) + (p * q + (1 - p) * (1 - q)) / 2
        for noise in (0.0, 10.0):
            found[f"0 or 500, solved {p} and {q}, noise {noise}"] = _solved(p, noise), _solved(q, noise), truth
    for p in (0.5, 0.8, 0.95):
        found[f"solved {p} and always half"] = _solved(p, 0.0), _normal(250.0, 1.0), p
    return found


def _normal(mean: float, deviation: float) -> Draw:
    return lambda rng, shape: rng.normal(mean, deviation, shape)


def _solved(share: float, noise: float) -> Draw:
    return lambda rng, shape: 500.0 * (rng.random(shape) < share) + noise * rng.normal(0, 1, shape)


def superiority(draws: int) -> None:
    """Print how often the interval of the probability that A is better holds the truth, and how wide it is."""
    rng = np.random.default_rng(0)
    every = pairs()
    print(f"\nA 95 % interval of the probability that A is better, {len(every)} kinds of scores, {draws:,} draws each")
    print(f"{'tasks':>5} {'seeds':>9} {'least':>7} {'mean':>6} {'width':>6}  covered least")
    for tasks, sizes in ((1, [*((n, n) for n in SEEDS), (10, 3), (10, 5)]), (2, SIZES), (10, SIZES)):
        for m, n in sizes:
            shares, widths = {}, []
            for name, (draw_a, draw_b, truth) in every.items():
                repeats = max(draws // tasks, 200)
                held = 0
                for _ in range(repeats):
                    found = probability_of_improvement(draw_a(rng, (m, tasks)), draw_b(rng, (n, tasks))).estimate
                    held += found.low - 1e-9 <= truth <= found.high + 1e-9
                    widths.append(found.high - found.low)
                shares[name] = held / repeats
            least = min(shares, key=lambda name: shares[name])
            print(
                f"{tasks:>5} {f'{m}, {n}':>9} {shares[least]:>7.3f} {np.mean(list(shares.values())):>6.3f} "
                f"{np.mean(widths):>6.2f}  {least}"
            )


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
    superiority(arguments.draws)
    if arguments.folder is not None:
        every = tables(arguments.folder)
        curse(every, arguments.draws // 4)
        reliability(every, arguments.draws // 4)


if __name__ == "__main__":
    main()
