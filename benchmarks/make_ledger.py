"""Make the ledger of a large study that has finished, to see how what reads it scales.

    python benchmarks/make_ledger.py FILE [--trials 10000]

Nothing is trained: 5 tuning seeds and 50 evaluations a run, scores from a function of the configuration with noise
between seeds, one trial in fifty failed, the best ten and the default retested. 10,000 trials take half a minute.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

import numpy as np
from sqlalchemy import create_engine, func, insert, select

from autorl.ledger import tables
from autorl.ledger.book import Book
from autorl.spec.load import draft_study
from autorl.spec.space import Choice, Configuration, Parameter
from autorl.trial import Phase, bind

POINTS, STEPS = 50, 50_000
STUDY = """\
study: large
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
    vf_clip: {values: [false, true]}
    clip_range_vf: {min: 0.05, max: 1.0, when: {vf_clip: true}}
seeds: {tuning: 0:5, test: 100:110}
budget: {trials: 10, steps_per_run: 50_000}
evaluation: {points: 50}
optimizer: {name: random, seed: 0, max_pending: 4}
"""


def main() -> None:
    """Write the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path, help="SQLite file to make; must not exist")
    parser.add_argument("--trials", type=int, default=10_000)
    arguments = parser.parse_args()
    if arguments.file.exists():
        parser.error(f"{arguments.file} exists")
    make(arguments.file, arguments.trials)


def make(file: Path, trials: int) -> None:
    """Write the ledger."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "large.yaml"
        path.write_text(STUDY, encoding="utf-8")
        spec = draft_study(path, [f"storage=sqlite:///{file.resolve()}", f"budget.trials={trials}"]).spec()
    rng = np.random.default_rng(0)
    with Book(spec, 4, print) as book:
        engine = create_engine(spec.storage)
        study = engine.connect().execute(select(tables.study.c.id)).scalar_one()
        worth: dict[int, float] = {}
        for first in range(0, trials, 1_000):
            numbers = range(first, min(trials, first + 1_000))
            with engine.begin() as connection:
                worth |= _write(connection, spec, study, numbers, rng)
        best = sorted(worth, key=lambda number: -worth[number])[:10]
        with engine.begin() as connection:
            for number in {*best, 0}:
                _retest(connection, study, number, worth.get(number, 100.0), rng)
        engine.dispose()
        book.enter("finished", best[0])


def _write(connection, spec, study, numbers, rng) -> dict[int, float]:  # type: ignore[no-untyped-def]
    switches = frozenset({"vf_clip"})
    trials, runs, curves, worth = [], [], [], {}
    key = connection.execute(select(func.coalesce(func.max(tables.trial.c.id), 0))).scalar_one()
    run_key = connection.execute(select(func.coalesce(func.max(tables.run.c.id), 0))).scalar_one()
    for number in numbers:
        key += 1
        config = spec.space.build(lambda parameter: _draw(parameter, rng))
        failed = number % 50 == 49
        mean = _mean(config)
        scores = np.clip(rng.normal(mean, 60.0, len(spec.seeds.tuning)), 9.0, 500.0)
        value = None if failed else float(scores.mean())
        if value is not None:
            worth[number] = mean
        trials.append(
            {
                "id": key,
                "study_id": study,
                "number": number,
                "origin": "default" if number == 0 else "optimizer",
                "params": json.dumps(config.values),
                "coordinates": json.dumps(config.coordinates),
                "recipe": json.dumps(bind(spec, spec.space, config.values, switches).to_dict()),
                "state": "failed" if failed else "completed",
                "value": value,
                "env_steps": STEPS,
                "seeds": len(scores),
                "created_at": 1.7e9 + 10 * number,
                "finished_at": 1.7e9 + 10 * number + 30,
            }
        )
        for seed, score in zip(spec.seeds.tuning, scores.tolist(), strict=True):
            run_key += 1
            broken = failed and seed == 0
            runs.append(_run(run_key, key, "tuning", seed, None if broken else score))
            if not broken:
                curves.append(_curve(run_key, score, rng))
    connection.execute(insert(tables.trial), trials)
    connection.execute(insert(tables.run), runs)
    connection.execute(insert(tables.curve), curves)
    return worth


def _draw(parameter: Parameter, rng: np.random.Generator) -> object:
    domain = parameter.domain
    if isinstance(domain, Choice):
        return domain.labels[rng.integers(len(domain.labels))]
    low, high = np.log([domain.low, domain.high]) if domain.log else (domain.low, domain.high)
    drawn = rng.uniform(low, high)
    drawn = float(np.clip(np.exp(drawn) if domain.log else drawn, domain.low, domain.high))
    return round(drawn) if domain.integer else drawn


def _mean(config: Configuration) -> float:
    rate, epochs = np.log10(config.values["learning_rate"]), config.values["n_epochs"]
    clipped = 60.0 * config.values.get("clip_range_vf", 0.5)
    return float(420 * np.exp(-(((rate + 3.2) / 0.9) ** 2)) + 3 * epochs - clipped)


def _run(key: int, trial: int, phase: Phase, seed: int, score: float | None) -> dict[str, object]:
    failed = score is None
    return {
        "id": key,
        "trial_id": trial,
        "phase": phase,
        "seed": seed,
        "state": "failed" if failed else "completed",
        "until": STEPS,
        "attempts": 1,
        "tries": "[]",
        "env_steps": STEPS,
        "score": score,
        "error_class": "diverged" if failed else None,
        "error": "ValueError: the loss is not finite" if failed else None,
        "notes": "[]",
        "wall_seconds": 12.0,
        "cpu_seconds": 11.0,
        "started_at": 1.7e9,
        "finished_at": 1.7e9 + 12,
    }


def _curve(run: int, score: float, rng: np.random.Generator) -> dict[str, object]:
    grown = score * (1 - np.exp(-np.arange(1, POINTS + 1) / 12)) / (1 - np.exp(-POINTS / 12))
    seen = np.clip(grown + rng.normal(0, 8, POINTS) * (np.arange(POINTS) < POINTS - 1), 0, 500)
    points = [
        {"env_steps": STEPS // POINTS * (i + 1), "wall_seconds": 0.2 * i, "metrics": {"return": value, "length": value}}
        for i, value in enumerate(seen.tolist())
    ]
    return {"run_id": run, "first_point": 0, "points": json.dumps(points)}


def _retest(connection, study, number, mean, rng) -> None:  # type: ignore[no-untyped-def]
    query = select(tables.trial.c.id).where(tables.trial.c.study_id == study, tables.trial.c.number == number)
    trial = connection.execute(query).scalar_one()
    key = connection.execute(select(func.max(tables.run.c.id))).scalar_one()
    for seed in range(100, 110):
        key += 1
        score = float(np.clip(rng.normal(mean, 60.0), 9.0, 500.0))
        connection.execute(insert(tables.run), _run(key, trial, "test", seed, score))
        connection.execute(insert(tables.curve), _curve(key, score, rng))


if __name__ == "__main__":
    main()
