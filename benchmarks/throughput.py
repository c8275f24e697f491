"""Measure how many environment steps a second a study trains: autorl, rl-zoo3's optimizer and Ray Tune, side by side.

autorl's backend `sb3` and the other tools train the same runs: the learning rates and seeds that an autorl study with
random search trained, every other setting as rl-zoo3 tuned it for CartPole, the same environment steps, the same number
of evaluations with as many episodes, two runs at a time on the same two cores. autorl's backend `jax` is given a larger
study of the same kind, compilation included: the small one would be over before it had compiled. Each tool is a command
of its own, measured from its start to its exit, and keeps its own defaults otherwise, its threads above all. Repeats
are interleaved, so that whatever else the machine does meets all tools alike.

Run it as `python benchmarks/throughput.py`; `benchmarks/README.md` says what the tables mean.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import secrets
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean, median
from types import ModuleType
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
WORKERS = 2
POINTS = 4
EPISODES = 10
TOOLS = {
    "autorl": "autorl, backend sb3",
    "jax": "autorl, backend jax",
    "envpool": "autorl, backend jax, engine envpool",
    "zoo": "rl-zoo3",
    "ray": "Ray Tune",
}
_THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")
_LOG = "output.log"


@dataclass(frozen=True)
class Task:
    """An environment and rl-zoo3's tuned settings for it, but for the learning rate, which is searched.

    Attributes:
        n_envs: training environments of a run.
        settings: of PPO.
        steps: environment steps of a run; its evaluations fall between rollouts.
        tools: those that can train it.
        large: the study that backend jax is given.
    """

    n_envs: int
    settings: dict[str, Any]
    steps: int
    tools: tuple[str, ...]
    large: dict[str, int]

    @property
    def between(self) -> int:
        """What `steps` must be a multiple of, so that evaluations fall on the same steps everywhere."""
        return self.n_envs * int(self.settings["n_steps"]) * POINTS


_CARTPOLE = {"n_steps": 32, "batch_size": 256, "gae_lambda": 0.8, "gamma": 0.98, "n_epochs": 20, "ent_coef": 0.0}
_LANDER = {"n_steps": 1024, "batch_size": 64, "gae_lambda": 0.98, "gamma": 0.999, "n_epochs": 4, "ent_coef": 0.01}
_LARGE = {"trials": 32, "seeds": 3}
TASKS = {
    "CartPole-v1": Task(
        8, {**_CARTPOLE, "clip_range": "lin_0.2"}, 30_720, ("autorl", "jax", "zoo", "ray"), {**_LARGE, "steps": 102_400}
    ),
    "LunarLander-v3": Task(
        16, {**_LANDER, "clip_range": 0.2}, 65_536, ("autorl", "jax", "envpool"), {**_LARGE, "steps": 98_304}
    ),
}


@dataclass(frozen=True)
class Work:
    """What every tool trains.

    Attributes:
        env: key of `TASKS`.
        runs: a learning rate and a seed for each run.
        steps: environment steps of a run.
        eval_envs: environments in which rl-zoo3 plays the episodes of an evaluation.
    """

    env: str
    runs: list[tuple[float, int]]
    steps: int
    eval_envs: int


@dataclass(frozen=True)
class Trained:
    """A run that was trained: when, on how many torch threads, and what came of it."""

    started: float
    ended: float
    env_steps: int
    threads: int
    final_return: float


@dataclass(frozen=True)
class Measurement:
    """A tool's command: its wall time and the runs that it trained."""

    wall_seconds: float
    trained: list[Trained]

    @property
    def env_steps(self) -> int:
        """Environment steps of all runs."""
        return sum(run.env_steps for run in self.trained)

    @property
    def training_seconds(self) -> float:
        """Seconds from the first run's start to the last one's end."""
        return max(run.ended for run in self.trained) - min(run.started for run in self.trained)

    @property
    def speed(self) -> float:
        """Environment steps a second of the whole command."""
        return self.env_steps / self.wall_seconds

    @property
    def training_speed(self) -> float:
        """Environment steps a second without the tool's own start and end."""
        return self.env_steps / self.training_seconds


# The tools. rl-zoo3 and Ray Tune run in a process of their own, which is this file again: see `_worker`.


def measure_autorl(
    folder: Path, env: str, trials: int, steps: int, seeds: int = 1, trainer: Mapping[str, str] | None = None
) -> tuple[Measurement, Work]:
    """Measure `autorl run`, and return with it what it trained, for the others to train the same."""
    task = TASKS[env]
    study = {
        "study": "throughput",
        "task": {"env": env},
        "algorithm": {**(trainer or {}), "name": "ppo", "fixed": {"n_envs": task.n_envs, **task.settings}},
        "search_space": {"parameters": {"learning_rate": {"min": 1e-4, "max": 3e-3, "log": True, "default": 1e-3}}},
        "seeds": {"tuning": f"0:{seeds}", "test": "100:102"},
        "budget": {"trials": trials, "steps_per_run": steps},
        "evaluation": {"points": POINTS, "episodes": EPISODES},
        "optimizer": {"name": "random", "seed": 0},
        "execution": {"executor": "processes", "workers": WORKERS},
    }
    file = folder / "study.yaml"
    file.write_text(json.dumps(study), encoding="utf-8")  # JSON is YAML
    wall_seconds = _command([sys.executable, "-m", "autorl", "run", str(file)], folder)
    trained, runs = _read_ledger(f"sqlite:///{folder}/autorl.db")
    return Measurement(wall_seconds, trained), Work(env, runs, steps, EPISODES)


def _read_ledger(storage: str) -> tuple[list[Trained], list[tuple[float, int]]]:
    from autorl.ledger.reader import Reader

    with Reader(storage) as reader:
        rates = {trial.number: trial.config.values["learning_rate"] for trial in reader.trials("throughput")}
        records = sorted(reader.runs("throughput"), key=lambda record: record.started_at or 0.0)
    trained = []
    for record in records:
        if record.score is None or record.started_at is None or record.finished_at is None:
            raise SystemExit(f"autorl: trial {record.trial}, seed {record.seed} failed: {record.error}")
        # autorl's backends train on one thread, wherever they run.
        trained.append(Trained(record.started_at, record.finished_at, record.env_steps, 1, record.score))
    return trained, [(rates[record.trial], record.seed) for record in records]


def measure_worker(tool: str, folder: Path, work: Work) -> Measurement:
    """Measure rl-zoo3's optimizer or Ray Tune."""
    (folder / "work.json").write_text(json.dumps(asdict(work)), encoding="utf-8")
    wall_seconds = _command([sys.executable, __file__, "--worker", tool], folder)
    trained = [Trained(**run) for run in json.loads((folder / "trained.json").read_text(encoding="utf-8"))]
    if len(trained) != len(work.runs):
        raise SystemExit(f"{TOOLS[tool]} trained {len(trained)} of {len(work.runs)} runs:\n{_told(folder)}")
    return Measurement(wall_seconds, trained)


def _command(command: Sequence[str], folder: Path) -> float:
    """Run a command in a folder, with no thread counts set, and return its wall time."""
    environment = {key: value for key, value in os.environ.items() if key not in _THREAD_VARIABLES}
    environment |= {"PYTHONPATH": str(ROOT), "TMPDIR": str(folder), "XDG_CACHE_HOME": str(folder)}
    with (folder / _LOG).open("w", encoding="utf-8") as output:
        before = time.monotonic()
        ended = subprocess.run(command, cwd=folder, env=environment, stdout=output, stderr=output, check=False)
        after = time.monotonic()
    if ended.returncode:
        raise SystemExit(f"{' '.join(command)} exited with {ended.returncode}:\n{_told(folder)}")
    return after - before


def _told(folder: Path) -> str:
    """Return the end of what the command in a folder said."""
    return (folder / _LOG).read_text(encoding="utf-8")[-4000:]


def _worker(tool: str) -> None:
    """Train the work that lies in the current folder with rl-zoo3 or Ray Tune, and leave there what was trained."""
    content = json.loads(Path("work.json").read_text(encoding="utf-8"))
    train = {"zoo": train_with_zoo, "ray": train_with_ray}[tool]
    trained = train(Work(**content))
    Path("trained.json").write_text(json.dumps([asdict(run) for run in trained]), encoding="utf-8")


def train_with_zoo(work: Work) -> list[Trained]:
    """Run rl-zoo3's optimizer as its users do, with two jobs; its sampler is replaced by the learning rates given.

    It trains all steps, since it has no pruner here. It seeds no model, and its jobs are threads of one process, which
    share the random generators: the seeds given cannot be kept.
    """
    import torch
    import yaml
    from rl_zoo3 import train
    from rl_zoo3.exp_manager import ExperimentManager
    from rl_zoo3.hyperparams_opt import HYPERPARAMS_SAMPLER

    trained = []
    objective = ExperimentManager.objective

    def recorded(manager: ExperimentManager, trial: Any) -> float:
        started = time.time()
        value = objective(manager, trial)
        trained.append(Trained(started, time.time(), work.steps, torch.get_num_threads(), float(value)))
        return value

    ExperimentManager.objective = recorded
    HYPERPARAMS_SAMPLER["ppo"] = lambda trial, *_: {"learning_rate": work.runs[trial.number][0]}
    task = TASKS[work.env]
    settings = {work.env: {"policy": "MlpPolicy", "n_envs": task.n_envs, "n_timesteps": work.steps, **task.settings}}
    Path("ppo.yml").write_text(yaml.safe_dump(settings), encoding="utf-8")
    options = f"""--algo ppo --env {work.env} --conf-file ppo.yml --seed 0 --log-folder logs
        -optimize --n-trials {len(work.runs)} --n-jobs {WORKERS} --sampler random --pruner none --no-optim-plots
        --n-evaluations {POINTS} --eval-episodes {EPISODES} --n-eval-envs {work.eval_envs}"""
    sys.argv = ["rl_zoo3.train", *options.split()]
    train.train()
    return trained


def train_with_ray(work: Work) -> list[Trained]:
    """Run Ray Tune on a function that trains plain Stable-Baselines3: one CPU a trial, two trials at a time.

    Ray gives a trial as many threads as it has CPUs: one.
    """
    os.environ.update(RAY_AUTH_MODE="token", RAY_AUTH_TOKEN=secrets.token_hex(32), RAY_USAGE_STATS_ENABLED="0")
    import ray
    from ray import tune

    ray.init(
        num_cpus=WORKERS,
        include_dashboard=False,
        _node_ip_address="127.0.0.1",
        _temp_dir=str(Path("ray").resolve()),
    )
    tuner = tune.Tuner(
        tune.with_resources(_ray_trainable, {"cpu": 1}),
        param_space={"run": tune.grid_search(work.runs), "env": work.env, "steps": work.steps},
        tune_config=tune.TuneConfig(max_concurrent_trials=WORKERS),
        run_config=tune.RunConfig(storage_path=str(Path("results").resolve())),
    )
    results = tuner.fit()
    ray.shutdown()
    names = Trained.__dataclass_fields__
    return [Trained(**{name: result.metrics[name] for name in names}) for result in results if not result.error]


def _ray_trainable(config: dict[str, Any]) -> None:
    """Train one run with the code that autorl exports, reporting each evaluation; the last report is the result."""
    import torch
    from ray import tune
    from stable_baselines3 import PPO
    from stable_baselines3.common.utils import LinearSchedule

    from autorl.training.tasks import random_streams

    plain = _plain()
    started, (learning_rate, seed), steps, task = time.time(), config["run"], config["steps"], TASKS[config["env"]]
    network, environment, evaluations = random_streams(seed, POINTS)
    env, eval_env = (plain.make_vec_env(config["env"], {}, (), count, None) for count in (task.n_envs, EPISODES))
    settings = {**task.settings, "clip_range": LinearSchedule(0.2, 0.0, 1.0)}
    model = PPO("MlpPolicy", env, learning_rate, seed=network, device="cpu", **settings)
    env.seed(environment)

    def report(env_steps: int, metrics: dict[str, float]) -> None:
        run = Trained(started, time.time(), env_steps, torch.get_num_threads(), metrics["return"])
        tune.report(asdict(run))

    points = [round(steps * k / POINTS) for k in range(1, POINTS + 1)]
    model.learn(steps, plain.Evaluations(eval_env, points, evaluations, True, report))


def _plain() -> ModuleType:
    """Import the functions from which autorl makes its SB3 runs, and nothing else of its backend."""
    spec = importlib.util.spec_from_file_location("plain", ROOT / "autorl/training/sb3/plain.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# The tables.


def show(env: str, measured: dict[str, list[Measurement]]) -> None:
    """Print both tables, and whether Ray Tune trained what autorl trained."""
    large = TASKS[env].large
    print(f"\nBackend jax: {large['trials']} trials on {large['seeds']} seeds, {large['steps']:,} steps a run.")
    print("\nWhole command, from its start to its exit:\n")
    _table(measured, lambda m: m.wall_seconds, lambda m: m.speed)
    print("\nFrom the first run's start to the last one's end:\n")
    _table(measured, lambda m: m.training_seconds, lambda m: m.training_speed)
    if "ray" not in measured:
        return
    ours, theirs = ([run.final_return for run in measured[tool][0].trained] for tool in ("autorl", "ray"))
    same = "equal" if ours == theirs else "do not equal"
    print(f"\nRay Tune's final returns {same} autorl's, run by run.")


def _table(
    measured: dict[str, list[Measurement]],
    seconds: Callable[[Measurement], float],
    speed: Callable[[Measurement], float],
) -> None:
    print(
        "| tool | env steps | seconds | env steps/s | autorl's (sb3) / its | torch threads a run | mean final return |"
    )
    print("|---|---|---|---|---|---|---|")
    for tool, repeats in measured.items():
        ratios = [speed(ours) / speed(theirs) for ours, theirs in zip(measured["autorl"], repeats, strict=True)]
        trained = [run for measurement in repeats for run in measurement.trained]
        cells = [
            TOOLS[tool],
            f"{repeats[0].env_steps:,}",
            _spread(map(seconds, repeats), ".1f"),
            _spread(map(speed, repeats), ",.0f"),
            _spread(ratios, ".2f"),
            ", ".join(map(str, sorted({run.threads for run in trained}))),
            f"{fmean(run.final_return for run in trained):.1f}",
        ]
        print(f"| {' | '.join(cells)} |")


def _spread(values: Iterable[float], style: str) -> str:
    """Return the median and, of several values, the range."""
    ordered = sorted(values)
    middle = format(median(ordered), style)
    return middle if len(ordered) == 1 else f"{middle} ({ordered[0]:{style}} to {ordered[-1]:{style}})"


def compare(env: str, trials: int, steps: int, repeats: int, eval_envs: int) -> dict[str, list[Measurement]]:
    """Measure every tool as often as asked, in turn."""
    task = TASKS[env]
    measured: dict[str, list[Measurement]] = {tool: [] for tool in task.tools}
    # The folder's name is short, since Ray keeps sockets in it, whose paths may have 107 characters.
    with tempfile.TemporaryDirectory(prefix="t") as place:
        for repeat in range(repeats):
            folders = {tool: Path(place) / f"{repeat}-{tool}" for tool in task.tools}
            for folder in folders.values():
                folder.mkdir()
            measurement, work = measure_autorl(folders["autorl"], env, trials, steps)
            _note(measured, "autorl", measurement)
            work = Work(env, work.runs, steps, eval_envs)
            for tool in task.tools[1:]:
                if tool in _JAX:
                    found, _ = measure_autorl(folders[tool], env, **task.large, trainer=_JAX[tool])
                else:
                    found = measure_worker(tool, folders[tool], work)
                _note(measured, tool, found)
    return measured


_JAX = {"jax": {"backend": "jax"}, "envpool": {"backend": "jax", "engine": "envpool"}}


def _note(measured: dict[str, list[Measurement]], tool: str, measurement: Measurement) -> None:
    measured[tool].append(measurement)
    print(
        f"{TOOLS[tool]}: {measurement.env_steps:,} steps in {measurement.wall_seconds:.1f} s,"
        f" {measurement.training_seconds:.1f} s of them between the first run's start and the last one's end",
        flush=True,
    )


def main() -> None:
    """Read the arguments, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--trials",
        type=int,
        default=6,
        help="configurations; the best and the default are trained again on two test seeds",
    )
    parser.add_argument("--env", choices=TASKS, default="CartPole-v1", help="what is trained")
    parser.add_argument("--steps", type=int, help="environment steps of a run")
    parser.add_argument("--repeats", type=int, default=3, help="how often each tool is measured")
    parser.add_argument(
        "--eval-envs",
        type=int,
        default=EPISODES,
        help="environments in which rl-zoo3 evaluates; its default is 1",
    )
    parser.add_argument("--worker", choices=("zoo", "ray"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        _worker(arguments.worker)
        return
    env, task = arguments.env, TASKS[arguments.env]
    steps = arguments.steps or task.steps
    if steps % task.between:
        parser.error(f"--steps must be a multiple of {task.between}, so that evaluations fall on the same steps")
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:WORKERS])
    show(env, compare(env, arguments.trials, steps, arguments.repeats, arguments.eval_envs))


if __name__ == "__main__":
    main()
