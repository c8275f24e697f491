"""Draw the figures of statistics.md: simulations of a few seconds, the same each time.

Run it: `python docs/figures.py`.
"""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib import pyplot as plt
from scipy import stats

from autorl.analysis import estimate, probability_better

IMAGES = Path(__file__).parent / "images"
TUNED, DEFAULT, INK = "#0b6e4f", "#b5531f", "#333333"
REPEATS = 2_000


def winners_curse(axes: plt.Axes) -> None:
    """Show what the best of n equal configurations scores in tuning: 100 is true of each, seeds spread by 20."""
    rng = np.random.default_rng(0)
    trials = np.array([1, 2, 4, 8, 16, 32, 64, 128])
    for seeds, marker, colour in ((1, "o", DEFAULT), (3, "s", TUNED), (10, "D", INK)):
        noise = rng.normal(100, 20 / np.sqrt(seeds), (REPEATS, trials[-1]))
        best = [noise[:, :n].max(axis=1).mean() for n in trials]
        axes.plot(trials, best, marker=marker, color=colour, label=f"{seeds} tuning seed{'s' * (seeds > 1)}")
    axes.axhline(100, color=INK, linestyle="--", linewidth=1)
    axes.annotate("what fresh seeds give", (1, 100), xytext=(0, -14), textcoords="offset points", color=INK)
    axes.set(
        xscale="log", xlabel="configurations tried, all equally good", ylabel="tuning score of the best", ylim=(90, 160)
    )
    axes.set_xticks(trials, [str(n) for n in trials])
    axes.minorticks_off()
    axes.legend(frameon=False)


def coverage(axes: plt.Axes) -> None:
    """Show how often a 95 % interval for the mean holds the true mean, for skewed scores (exponential)."""
    rng = np.random.default_rng(1)
    sizes = np.array([3, 5, 8, 12, 20])
    ours, bootstrap = [], []
    for size in sizes:
        held = np.zeros(2)
        for sample in rng.exponential(1, (REPEATS // 2, size)):
            found = estimate(sample)
            again = sample[rng.integers(0, size, (400, size))].mean(axis=1)
            low, high = np.quantile(again, [0.025, 0.975])
            held += (found.low <= 1 <= found.high, low <= 1 <= high)
        ours.append(held[0] / (REPEATS // 2))
        bootstrap.append(held[1] / (REPEATS // 2))
    axes.plot(sizes, ours, marker="s", color=TUNED, label="Student's t, as in reports")
    axes.plot(sizes, bootstrap, marker="o", color=DEFAULT, label="percentile bootstrap")
    axes.axhline(0.95, color=INK, linestyle="--", linewidth=1)
    axes.set(xlabel="seeds", ylabel="intervals that hold the true mean", ylim=(0.5, 1.0))
    axes.set_xticks(sizes, [str(n) for n in sizes])
    axes.legend(frameon=False)


def told_apart(axes: plt.Axes) -> None:
    """Show the interval of the probability that tuned is better, by test seeds, where it is 0.76 in truth."""
    rng = np.random.default_rng(2)
    sizes = np.array([3, 5, 10, 20, 40])
    lows, highs = [], []
    for size in sizes:
        found = [probability_better(rng.normal(1, 1, size), rng.normal(0, 1, size)) for _ in range(200)]
        lows.append(np.median([one.low for one in found]))
        highs.append(np.median([one.high for one in found]))
    true = float(stats.norm.cdf(1 / np.sqrt(2)))
    axes.fill_between(sizes, lows, highs, color=TUNED, alpha=0.2, label="95 % interval, the median study")
    axes.axhline(true, color=TUNED, label="true probability")
    axes.axhline(0.5, color=INK, linestyle="--", linewidth=1)
    axes.annotate(
        "no difference", (sizes[-1], 0.5), xytext=(-4, -12), textcoords="offset points", ha="right", color=INK
    )
    axes.set(xlabel="test seeds of each", ylabel="probability that tuned is better", ylim=(0, 1))
    axes.set_xticks(sizes, [str(n) for n in sizes])
    axes.legend(frameon=False, loc="lower right")


def main() -> None:
    """Draw all of them."""
    mpl.rcParams.update(
        {"svg.hashsalt": "autorl", "axes.spines.top": False, "axes.spines.right": False, "font.size": 10}
    )
    for draw in (winners_curse, coverage, told_apart):
        figure, axes = plt.subplots(figsize=(6.4, 3.4), layout="constrained")
        draw(axes)
        figure.savefig(IMAGES / f"{draw.__name__}.svg", metadata={"Date": None})
        plt.close(figure)


if __name__ == "__main__":
    main()
