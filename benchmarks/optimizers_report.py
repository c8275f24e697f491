"""The tables and the plot of `optimizers.py`, from its raw results."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
from numpy.typing import NDArray

MOST_REGRET = 0.7
"""Where the plot's axis ends: one pick that diverged must not flatten all others."""
PEERS = ("tab:orange", "tab:green", "tab:red", "tab:purple")


class Results:
    """The results of one contender: task × repeat × budget, over the repeats that all tasks have."""

    def __init__(self, records: Sequence[Mapping[str, Any]], tasks: Sequence[str], budgets: Sequence[int]) -> None:
        found = {(r["task"], r["repeat"]): {o["budget"]: o for o in r["outcomes"]} for r in records}
        self.repeats = sorted({r for _, r in found if all((task, r) in found for task in tasks)})
        self._cells = [[[found[task, r][b] for b in budgets] for r in self.repeats] for task in tasks]

    def values(self, name: str) -> NDArray[np.float64]:
        """Return a measure; NaN where there is none."""
        return np.array([[[cell[name] for cell in row] for row in task] for task in self._cells], dtype=float)

    def regret(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return mean regret over tasks and repeats, and its standard error over repeats, for each budget."""
        means = self.values("regret").mean(axis=0)
        return means.mean(axis=0), means.std(axis=0, ddof=min(1, len(means) - 1)) / np.sqrt(len(means))

    def overstatement(self) -> NDArray[np.float64]:
        """Return the mean over tasks and repeats, for each budget."""
        found: NDArray[np.float64] = self.values("overstatement").mean(axis=(0, 1))
        return found


def read(file: Path) -> Iterator[dict[str, Any]]:
    """Yield the records of a results file; none if there is none yet."""
    for line in file.read_text(encoding="utf-8").splitlines() if file.exists() else ():
        with contextlib.suppress(json.JSONDecodeError):  # an empty line, or one cut short by an interruption
            yield json.loads(line)


def report(file: Path, labels: Mapping[str, str], tasks: Sequence[str], budgets: Sequence[int]) -> None:
    """Print the tables and write `regret.png` beside the results."""
    records: dict[str, list[dict[str, Any]]] = {}
    for record in read(file):
        records.setdefault(record["contender"], []).append(record)
    results = {label: Results(records.get(key, ()), tasks, budgets) for key, label in labels.items()}
    for label in [label for label, result in results.items() if not result.repeats]:
        print(f"{label}: no repeat is complete on all tasks")
        del results[label]
    _print_tables(results, tasks, budgets)
    if results:
        _plot(results, budgets, file.with_name("regret.png"))
        print(f"\n{file}\n{file.with_name('regret.png')}")


def _print_tables(results: Mapping[str, Results], tasks: Sequence[str], budgets: Sequence[int]) -> None:
    print(f"\nTest regret ± standard error, mean over {len(tasks)} tasks; budget in full runs; n repeats")
    print(f"{'':32s}{'n':>4}" + "".join(f"{budget:>15}" for budget in budgets))
    for label, result in results.items():
        cells = "".join(f"{mean:>8.3f} ± {error:.3f}" for mean, error in zip(*result.regret(), strict=True))
        print(f"{label:32s}{len(result.repeats):>4}{cells}")
    print(
        "\nOverstatement: reported score minus test score in the task's range, mean over tasks and repeats."
        f"\nms: the optimizer's own milliseconds per proposal, at {budgets[-1]} runs."
    )
    print(f"{'':36s}" + "".join(f"{name:>9}" for name in [*map(str, budgets), "ms"]))
    for label, result in results.items():
        over = "".join(f"{value:>9.3f}" for value in result.overstatement())
        pace = 1000 * result.values("seconds")[..., -1].sum() / result.values("asks")[..., -1].sum()
        print(f"{label:36s}{over}{pace:>9.2f}")
    print("\nShare of test scores within the 90 % interval: of the chosen trial, by budget, and of all ranked")
    print(f"{'':36s}" + "".join(f"{name:>9}" for name in [*map(str, budgets), "all"]))
    for label, result in results.items():
        chosen = result.values("covered")
        if np.isfinite(chosen).any():
            cells = "".join(_percent(chosen[..., index]) for index in range(len(budgets)))
            print(f"{label:36s}{cells}{_percent(result.values('covered_all'))}")
    print(f"\nTest regret at {budgets[-1]} runs, by task")
    width = max(map(len, tasks)) + 2
    for index, label in enumerate(results):
        print(f"{'':{width}s}{'':{9 * index}s}{label}")
    for row, task in enumerate(tasks):
        cells = "".join(f"{result.values('regret')[row, :, -1].mean():>9.3f}" for result in results.values())
        print(f"{task:{width}s}{cells}")


def _percent(values: NDArray[np.float64]) -> str:
    known = values[np.isfinite(values)]
    return f"{known.mean():>9.0%}" if known.size else f"{'':>9}"


def _plot(results: Mapping[str, Results], budgets: Sequence[int], file: Path) -> None:
    """Draw regret over the budget, in colour `race` and who of the others is best at a budget; and overstatement."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(12, 5), layout="constrained")
    regrets = {label: result.regret() for label, result in results.items()}
    peers = [label for label in results if label != "race"] or ["race"]
    best = dict.fromkeys(min(peers, key=lambda label: regrets[label][0][i]) for i in range(len(budgets)))
    colors = dict(zip(best, PEERS, strict=False)) | {"race": "tab:blue"}
    for label, (mean, error) in regrets.items():
        shown = {"marker": "o", "markersize": 4, "color": colors.get(label, "lightgrey")}
        shown |= {"linewidth": 3 if label == "race" else 1.5, "zorder": 3 if label in colors else 2}
        within = np.where(mean > MOST_REGRET, np.nan, mean)
        left.errorbar(budgets, within, error, label=label if label in colors else None, capsize=2, **shown)
    for index, budget in enumerate(budgets):
        if beyond := sum(mean[index] > MOST_REGRET for mean, _ in regrets.values()):
            note = {"xytext": (4, -12), "textcoords": "offset points", "color": "dimgrey"}
            left.annotate(f"↑ {beyond} more", (budget, MOST_REGRET), **note)
    left.set(ylim=(0, MOST_REGRET), xlabel="budget in full runs")
    left.set_ylabel("test regret (0: best configuration, 1: a median one)")
    left.set_xscale("log", base=2)
    left.set_xticks(budgets, [str(budget) for budget in budgets])
    left.grid(alpha=0.3)
    left.legend(frameon=False)
    middle = len(budgets) // 2
    over = {label: result.overstatement()[middle] for label, result in results.items()}
    order = sorted(over, key=lambda label: -over[label])
    right.barh(order, [over[label] for label in order], color=[colors.get(label, "lightgrey") for label in order])
    right.axvline(0, color="grey", linewidth=0.8)
    right.set_xlabel(f"reported minus test score at {budgets[middle]} runs, in the task's range")
    figure.savefig(file, dpi=150)
    plt.close(figure)
