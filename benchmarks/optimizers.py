"""Which optimizer finds the best configuration for a given amount of training, on tables of real results?

    python benchmarks/optimizers.py FOLDER [--out optimizers-results] [--repeats 20] [--jobs 2] [--only NAME ...]

FOLDER holds tables as the backend `landscape` reads them, a task each. README.md says what is compared and measured.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import time
import traceback
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from optimizers_report import read, report
from pydantic import ValidationError

from autorl.errors import PluginNotFound
from autorl.optimizers.protocol import Method, Optimizer, Question, Wait
from autorl.plugins import find
from autorl.spec.parameters import SearchSpaceSpec
from autorl.spec.space import Configuration
from autorl.training.landscape import Rows, landscape_space, load_table
from autorl.trial import Proposal, TrialResult

TUNING, TEST = tuple(range(5)), slice(5, 10)
BUDGETS = (16, 32, 64, 128)
POINT_STEPS = 1_000
"""Environment steps between two evaluations: any number does, since a table knows only its points."""


@dataclass(frozen=True)
class Contender:
    """An optimizer with the options that its users would set.

    Attributes:
        label: its name in the table.
        method: its entry point.
        options: as in a study file, beside `optimizer.name`.
        anytime: whether it does the same whatever the budget is; then one run is cut at each budget.
    """

    label: str
    method: str
    options: Mapping[str, Any] = field(default_factory=dict)
    anytime: bool = True

    @property
    def identity(self) -> str:
        """What its results are filed under: changed options are another contender."""
        return json.dumps([self.label, self.method, dict(self.options)], sort_keys=True)


CONTENDERS = (
    Contender("race", "race", anytime=False),
    Contender("random, 1 seed", "random", {"seeds": 1}),
    Contender("random, 5 seeds", "random"),
    Contender("TPE + median pruner, 1 seed", "tpe", {"seeds": 1, "pruner": {"name": "median"}}),
    Contender("TPE, 5 seeds", "tpe"),
    Contender("TPE + Wilcoxon pruner, 5 seeds", "tpe", {"pruner": {"name": "wilcoxon"}}),
    Contender("GP, 5 seeds", "gp"),
    Contender("CMA-ES, 5 seeds", "cma_es"),
    Contender("NSGA-II, 5 seeds", "nsga2"),
    Contender("quasi-Monte Carlo, 5 seeds", "qmc"),
    Contender("ASHA, 1 seed", "asha", {"seeds": 1}),
    Contender("Hyperband, 1 seed", "hyperband", {"seeds": 1}, anytime=False),
    Contender("BOHB, 1 seed", "bohb", {"seeds": 1}, anytime=False),
    Contender("DEHB, 1 seed", "dehb", {"seeds": 1}, anytime=False),
    Contender("SMAC, hyperparameter facade", "smac", {"facade": "hyperparameter"}, anytime=False),
    Contender("SMAC, multi-fidelity facade", "smac", {"facade": "multi_fidelity"}, anytime=False),
)


class Task:
    """A table with the search space that is made from it."""

    def __init__(self, path: Path) -> None:
        self.name = path.stem
        self.table = load_table(path)
        self.space = SearchSpaceSpec.model_validate(landscape_space(path)).space()
        self.rows = Rows(self.table, self.space, {})
        self.points = tuple(POINT_STEPS * (index + 1) for index in range(self.table.points))
        returns = self.table.returns
        self.low, self.high = np.nanpercentile(returns, [0.5, 99.9])
        # Clipped, since runs that diverge reach values that would outweigh all others in a mean.
        final = np.where(np.isfinite(returns), np.clip(returns, self.low, self.high), self.low)[:, :, -1]
        self.test = final[:, TEST].mean(axis=1)

    def curve(self, row: int, seed: int, until: int) -> tuple[tuple[int, float], ...]:
        """Return a run's evaluations; none if it failed."""
        values = self.table.returns[row, seed, : until // POINT_STEPS]
        return tuple(zip(self.points, values.tolist(), strict=False)) if np.isfinite(values).all() else ()

    def regret(self, row: int) -> float:
        """Return 0 for the configuration that is best on the test seeds, 1 for a median one."""
        return float((self.test.max() - self.test[row]) / (self.test.max() - np.median(self.test)))

    def overstatement(self, row: int, score: float) -> float:
        """Return by how much a score exceeds that on the test seeds, in units of the task's clipped range."""
        score, test = np.clip([score, self.test[row]], self.low, self.high)
        return float((score - test) / (self.high - self.low))


@dataclass
class Trial:
    """A trial as far as it was trained."""

    config: Configuration
    row: int
    reached: dict[int, int] = field(default_factory=dict)


class Drive:
    """One optimizer on one task: asked, its proposals matched to the table, and told, without a ledger."""

    def __init__(self, task: Task, contender: Contender, repeat: int, budget: int) -> None:
        method: Method = find("autorl.optimizers", contender.method)
        options = method.options.model_validate(dict(contender.options))
        self.task, self.full = task, task.points[-1]
        # A seed for each task, so that their noise averages out; the same for all contenders.
        seed = zlib.crc32(f"{task.name} {repeat}".encode())
        tests = TEST.stop - TEST.start
        self.optimizer: Optimizer = method.make(
            Question(task.space, TUNING, task.points, "maximize", seed, budget * self.full, tests, options)
        )
        self.trials: dict[int, Trial] = {}
        self.seen: dict[int, Configuration] = {}
        self.steps = self.count = 0
        self.seconds = 0.0
        self.worst: float | None = None

    def go(self, budgets: Sequence[int]) -> Iterator[dict[str, Any]]:
        """Train until the next proposal does not fit the largest budget; yield the outcome at each."""
        left = list(budgets)
        while left:
            started = time.perf_counter()
            proposal = self.optimizer.ask(self.count)
            self.seconds += time.perf_counter() - started
            if isinstance(proposal, Wait):
                raise RuntimeError("it waits for results, of which it has all")
            cost = self._cost(proposal) if proposal is not None else None
            while left and (cost is None or self.steps + cost > left[0] * self.full):
                yield {"budget": left.pop(0), **self._outcome()}
            if left and proposal is not None and cost is not None:
                self._train(proposal, cost)

    def _cost(self, proposal: Proposal) -> int:
        reached: Mapping[int, int] = {}
        if proposal.resume_from is not None:
            if proposal.resume_from != proposal.trial:
                raise RuntimeError("a table has no forks")
            reached = self.trials[proposal.trial].reached
        return sum(proposal.until - reached.get(seed, 0) for seed in proposal.seeds)

    def _train(self, proposal: Proposal, cost: int) -> None:
        if proposal.trial not in self.trials:
            config = self.task.rows.nearest(proposal.config, self.seen.values())
            row = self.task.table.find(config.values)
            self.seen[row] = config
            self.trials[proposal.trial] = Trial(config, row)
        trial = self.trials[proposal.trial]
        trial.reached |= dict.fromkeys(proposal.seeds, proposal.until)
        self.steps += cost
        curves = {seed: self.task.curve(trial.row, seed, proposal.until) for seed in proposal.seeds}
        value = self.worst  # what is told of a configuration that diverged
        if all(curves.values()):
            value = float(np.mean([curve[-1][1] for curve in curves.values()]))
            self.worst = value if self.worst is None else min(self.worst, value)
        taken = Proposal(proposal.trial, trial.config, proposal.seeds, proposal.until, proposal.resume_from)
        started = time.perf_counter()
        self.optimizer.take(self.count, taken)
        self.optimizer.tell(self.count, TrialResult(value, curves))
        self.seconds += time.perf_counter() - started
        self.count += 1

    def _outcome(self) -> dict[str, Any]:
        """Return how good the trial is that would be named the best now."""
        standings = self.optimizer.ranking()
        number, score = (standings[0].trial, standings[0].mean) if standings else self._best()
        row = self.trials[number].row
        inside = [bool(s.low <= self.task.test[self.trials[s.trial].row] <= s.high) for s in standings]
        return {
            "regret": self.task.regret(row),
            "overstatement": self.task.overstatement(row, score),
            "covered": inside[0] if inside else None,
            "covered_all": float(np.mean(inside)) if inside else None,
            "configurations": len(self.seen),
            "asks": self.count,
            "seconds": self.seconds,
        }

    def _best(self) -> tuple[int, float]:
        """Return the trial with the best value among those trained furthest, then on most seeds; and its value."""
        ranks: dict[int, tuple[int, int, float]] = {}
        for number, trial in self.trials.items():
            until = max(trial.reached.values())
            curves = [self.task.curve(trial.row, seed, until) for seed, at in trial.reached.items() if at == until]
            value = float(np.mean([curve[-1][1] for curve in curves])) if all(curves) else -np.inf
            ranks[number] = (until, len(curves), value)
        best = max(ranks, key=lambda number: ranks[number])
        return best, ranks[best][2]


@cache
def read_task(path: Path) -> Task:
    """Read a task once a process."""
    return Task(path)


Unit = tuple[Path, Contender, int]


def measure(unit: Unit) -> tuple[Unit, list[dict[str, Any]] | str]:
    """Return the outcomes of a contender on a task, one a budget, or why there are none."""
    path, contender, repeat = unit
    outcomes: list[dict[str, Any]] = []
    try:
        for budgets in [BUDGETS] if contender.anytime else [(budget,) for budget in BUDGETS]:
            outcomes += Drive(read_task(path), contender, repeat, budgets[-1]).go(budgets)
    except Exception:  # noqa: BLE001 - one contender that fails must not cost the results of the others
        return unit, traceback.format_exc()
    return unit, outcomes


def usable(contender: Contender) -> bool:
    """Say whether a contender can take part, and print why if it cannot."""
    try:
        find("autorl.optimizers", contender.method).options.model_validate(dict(contender.options))
    except (ImportError, AttributeError, PluginNotFound) as error:
        print(f"SKIPPED {contender.label}: {error}")
    except ValidationError as error:
        reasons = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        print(f"SKIPPED {contender.label}: its options are not taken ({reasons})")
    else:
        return True
    return False


def main() -> None:
    """Run what is missing, then print the tables and draw the plot from all results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="tables of results, one .npz a task")
    parser.add_argument("--out", type=Path, default=Path("optimizers-results"), help="folder for results and plot")
    parser.add_argument("--repeats", type=int, default=20, help="seeds of the optimizers: 0, 1, …")
    parser.add_argument("--jobs", type=int, default=2, help="processes")
    names = sorted({contender.method for contender in CONTENDERS})
    only = f"optimizers to run, by their name in a study file: {', '.join(names)}"
    parser.add_argument("--only", nargs="+", metavar="NAME", choices=names, help=only)
    arguments = parser.parse_args()
    paths = sorted(arguments.folder.glob("*.npz"))
    if not paths:
        parser.error(f"no .npz files in {arguments.folder}")
    for path in paths:
        if load_table(path).seeds < TEST.stop:
            parser.error(f"{path} has {load_table(path).seeds} seeds; {TEST.stop} are needed")
    chosen = [c for c in CONTENDERS if arguments.only is None or c.method in arguments.only]
    contenders = [contender for contender in chosen if usable(contender)]
    print("SKIPPED pbt, pb2, bg_pbt: they change hyperparameters during a run, which a table cannot answer")
    arguments.out.mkdir(parents=True, exist_ok=True)
    file = arguments.out / "results.jsonl"
    known = {(r["task"], r["contender"], r["repeat"]) for r in read(file)}
    with file.open("a", encoding="utf-8") as stream:
        stream.write("\n")  # ends a line that an interruption left
        # Repeats outermost: wherever it is interrupted, all contenders have been measured about equally often.
        missing: list[Unit] = [
            (path, contender, repeat)
            for repeat in range(arguments.repeats)
            for contender in contenders
            for path in paths
            if (path.stem, contender.identity, repeat) not in known
        ]
        for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
            os.environ[name] = "1"  # read by the processes when they import NumPy
        with multiprocessing.get_context("spawn").Pool(arguments.jobs) as pool:
            for done, (unit, outcomes) in enumerate(pool.imap_unordered(measure, missing), 1):
                if isinstance(outcomes, str):
                    print(f"FAILED {unit[1].label} on {unit[0].stem}, repeat {unit[2]}:\n{outcomes}")
                    continue
                measured, contender, repeat = unit
                record = {"task": measured.stem, "contender": contender.identity, "repeat": repeat}
                stream.write(json.dumps({**record, "outcomes": outcomes}) + "\n")
                stream.flush()
                if done % 100 == 0:
                    print(f"{done} of {len(missing)}", flush=True)
    report(file, {c.identity: c.label for c in contenders}, [path.stem for path in paths], BUDGETS)


if __name__ == "__main__":
    main()
