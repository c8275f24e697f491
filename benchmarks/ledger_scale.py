"""What the engine costs beyond training: CPU time per run, per proposal, and to go on with a large study.

    python benchmarks/ledger_scale.py [--trials 10000] [--storage URL]

A study of 10,000 trials on 5 seeds with 50 evaluations a run is conducted by the real engine, with an executor whose
runs take no time: it leaves the result files that workers would leave. Their writing is not counted, since workers
do it; all that remains is the engine: proposing, recording, mirroring to Optuna. Then another process takes the study
up again. The optimizer `tpe` is compared with Optuna alone, on the same history in memory.
"""

from __future__ import annotations

import argparse
import contextlib
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import optuna

from autorl.engine.conductor import Conductor, never
from autorl.engine.plan import default_configuration
from autorl.engine.progress import Progress
from autorl.engine.proposals import Outcome, Proposer
from autorl.execution.protocol import Ended, Event, Order
from autorl.execution.worker import write_result
from autorl.ledger.book import Book
from autorl.ledger.mirror import Mirror
from autorl.ledger.reader import Reader
from autorl.ledger.records import ProposalRecord, Told
from autorl.spec.distributions import distribution
from autorl.spec.load import draft_study
from autorl.spec.space import Configuration
from autorl.spec.study import StudySpec
from autorl.training.sb3 import Sb3Backend
from autorl.trial import Point, RunResult

POINTS = 50
STUDY = """\
study: scale
task: {env: CartPole-v1}
algorithm: {name: ppo}
search_space:
  parameters:
    learning_rate: {min: 1e-5, max: 1e-2, log: true}
    gamma: {min: 1e-4, max: 0.1, log: true, transform: one_minus}
    gae_lambda: {min: 0.8, max: 1.0}
    n_epochs: {min: 1, max: 20}
    clip_range: {values: [0.1, 0.2, 0.3]}
    ent_coef: {min: 1e-8, max: 0.1, log: true}
seeds: {tuning: 0:5, test: 100:110}
budget: {trials: 10, steps_per_run: 50_000}
evaluation: {points: 50}
optimizer: {name: random, seed: 0, max_pending: 4}
execution: {workers: 4}
"""


class Instant:
    """An executor whose runs have finished when they are submitted.

    Attributes:
        seconds: CPU time spent in the workers' place.
    """

    def __init__(self) -> None:
        self.seconds = 0.0
        self._events: list[Event] = []

    @property
    def free(self) -> int:
        """Four runs at a time."""
        return 4 - len(self._events)

    def submit(self, *orders: Order) -> None:
        """Leave a result as a worker would."""
        (order,) = orders
        began = time.process_time()
        score = -abs(order.recipe.hyperparameters["gamma"] - 0.99) + order.run.seed * 1e-3
        metrics = {"return": score, "return_std": 1.2345678901234567, "length": 123.4}
        curve = tuple(Point(1_000 * k, 0.1 * k, metrics) for k in range(1, POINTS + 1))
        write_result(order, RunResult("completed", curve, 50_000, 5.0, 5.0, score), print)
        self.seconds += time.process_time() - began
        self._events.append(Ended(order.run, "returned"))

    def poll(self, seconds: float) -> list[Event]:
        """Return what has ended."""
        del seconds
        events, self._events = self._events, []
        return events

    def drain(self) -> None:
        """Do nothing: no run is in training."""

    def close(self) -> None:
        """Do nothing: no run is in training."""


def study(url: str, trials: int, optimizer: str = "random") -> StudySpec:
    """Return the study."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "scale.yaml"
        file.write_text(STUDY)
        return draft_study(file, [f"storage={url}", f"budget.trials={trials}", f"optimizer.name={optimizer}"]).spec()


@contextlib.contextmanager
def conducting(spec: StudySpec, executor: Instant, watch: list[tuple[float, int]]) -> Iterator[Conductor]:
    """Open everything that the engine needs, with the instant executor; `watch` collects (CPU seconds, runs)."""

    def see(progress: Progress) -> None:
        watch.append((time.process_time() - executor.seconds, progress.runs))

    with (
        Book(spec, 4, print) as book,
        Reader(spec.storage) as reader,
    ):
        yield Conductor(book, reader, executor, Sb3Backend(), Mirror(book), see, never)


def conduct(url: str, trials: int) -> None:
    """Conduct the study and print the engine's CPU time per run at several sizes."""
    executor, watch = Instant(), list[tuple[float, int]]()
    began = time.monotonic()
    with conducting(study(url, trials), executor, watch) as conductor:
        conductor.tune()
    print(
        f"{trials:,} trials, {watch[-1][1]:,} runs of {POINTS} points, random search: {time.monotonic() - began:.0f} s"
    )
    for through in (trials // 100, trials // 10, trials):
        window = [(cpu, runs) for cpu, runs in watch if runs > 5 * (through - trials // 100)]
        window = [(cpu, runs) for cpu, runs in window if runs <= 5 * through]
        per_run = (window[-1][0] - window[0][0]) / (window[-1][1] - window[0][1])
        print(f"  engine, CPU ms a run, up to trial {through:>6,}: {1e3 * per_run:.2f}")


def resume(url: str, trials: int) -> None:
    """Take the study up again with room for one more trial, and stop before it is trained."""
    began = time.monotonic()
    with conducting(study(url, trials + 1), Instant(), []) as conductor:
        conductor.tune()
    print(f"resumed after {trials:,} trials, one more added, in this process: {time.monotonic() - began:.1f} s")


def proposals(trials: int) -> None:
    """Compare a proposal's CPU time with Optuna's alone, on the same history."""
    for optimizer in ("random", "tpe"):
        for count in (100, 1_000, trials):
            ours = _ours(optimizer, count)
            line = f"  {optimizer:<6} {count:>6,} trials: {ours:8.2f} ms"
            if optimizer == "tpe":
                alone = _optuna(count)
                line += f"; Optuna alone {alone:8.2f} ms; ratio {ours / alone:.2f}"
            print(line)


def _history(spec: StudySpec, count: int) -> Iterator[tuple[ProposalRecord, Configuration]]:
    source = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=1))
    for number in range(count):
        trial = source.ask({p.name: distribution(p) for p in spec.space})
        config = spec.space.build(lambda parameter, t=trial: t.params[parameter.name])  # type: ignore[misc]
        told = {number - 1: Told(float((number - 1) % 97))} if number else {}
        yield ProposalRecord(number, number, (0, 1, 2, 3, 4), 50_000, None, number, told), config


def _ours(optimizer: str, count: int, repeats: int = 20) -> float:
    spec = study("sqlite:///none.db", count + repeats + 1, optimizer)
    spec = spec.model_copy(update={"optimizer": spec.optimizer.model_copy(update={"max_pending": 0})})
    first = [("default", default_configuration(spec, Sb3Backend()))]
    proposer = Proposer(spec, lambda: first, lambda config, taken: config, lambda trial, seed: ())
    for record, config in _history(spec, count):
        proposer.restore(record, config)
        proposer.finish(record.number, Outcome(float(record.number % 97)))
    began = time.process_time()
    for number in range(count, count + repeats):
        assert proposer.propose() is not None
        proposer.finish(number, Outcome(1.0))
    return 1e3 * (time.process_time() - began) / repeats


def _optuna(count: int, repeats: int = 20) -> float:
    spec = study("sqlite:///none.db", 10, "tpe")
    sampler = optuna.samplers.TPESampler(seed=1, group=True, constant_liar=True)
    alone = optuna.create_study(sampler=sampler, direction="maximize")
    space = {p.name: distribution(p) for p in spec.space}
    for record, config in _history(spec, count):
        value = float(record.number % 97)
        params = dict(config.coordinates)
        alone.add_trial(optuna.trial.create_trial(params=params, distributions=space, value=value))
    began = time.process_time()
    for _ in range(repeats):
        alone.tell(alone.ask(space), 1.0)
    return 1e3 * (time.process_time() - began) / repeats


def main() -> None:
    """Run the parts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=10_000)
    parser.add_argument("--storage", help="an empty database, instead of a SQLite file in a temporary folder")
    parser.add_argument("--resume", action="store_true", help="only take up a study that this script has conducted")
    asked = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with tempfile.TemporaryDirectory() as folder:
        url = asked.storage or f"sqlite:///{folder}/scale.db"
        if asked.resume:
            resume(url, asked.trials)
            return
        conduct(url, asked.trials)
        began = time.monotonic()
        again = [sys.executable, __file__, "--resume", "--storage", url, "--trials", str(asked.trials)]
        subprocess.run(again, check=True)
        print(f"resumed in a new process, imports included: {time.monotonic() - began:.1f} s")
    print("a proposal, CPU time:")
    proposals(asked.trials)


if __name__ == "__main__":
    main()
