"""How many environment steps a processor second trains: Stable-Baselines3, SBX, rejax, and autorl's backends.

    python benchmarks/engines.py [--only CartPole-v1/ppo ...] [--tools sb3 ours jax ...] [--scale 1.0]
    python benchmarks/engines.py --only CartPole-v1/ppo --tools jax --lanes 4 8 16 24
    JAX_PLATFORMS=cuda python benchmarks/engines.py --only CartPole-v1/ppo --tools jax --lanes 1000

Each measurement is a process of its own on one core, with an empty compilation cache; tools follow each other within a
case, so that whatever else the machine does meets them alike. README.md says what is compared. Tools that are not
installed are left out, and named: `pip install sbx-rl rejax`.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from statistics import fmean
from typing import Any

EPISODES = 10
SEVERAL = 8
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


@dataclass(frozen=True, eq=False)
class Case:
    """What is trained.

    Attributes:
        env: environment.
        algorithm: algorithm.
        steps: environment steps of a run.
        settings: rl-zoo3's, as far as all tools have them; the rest are defaults.
        lanes: of the program of backend `jax`; None for its own.
    """

    env: str
    algorithm: str
    steps: int
    settings: dict[str, Any]
    lanes: int | None = None

    @property
    def name(self) -> str:
        """As `--only` takes it."""
        return f"{self.env}/{self.algorithm}"


_CARTPOLE = {"n_envs": 8, "n_steps": 32, "batch_size": 256, "n_epochs": 20, "gamma": 0.98, "gae_lambda": 0.8}
_PENDULUM = {"n_envs": 4, "n_steps": 1024, "batch_size": 64, "n_epochs": 10, "gamma": 0.9, "learning_rate": 1e-3}
_LANDER = {"n_envs": 16, "n_steps": 1024, "batch_size": 64, "n_epochs": 4, "gamma": 0.999, "gae_lambda": 0.98}
_DQN = {"learning_rate": 2.3e-3, "batch_size": 64, "buffer_size": 100_000, "learning_starts": 1000, "train_freq": 256}
CASES = (
    Case("CartPole-v1", "ppo", 102_400, {**_CARTPOLE, "learning_rate": 1e-3}),
    Case("Acrobot-v1", "ppo", 102_400, {"n_envs": 16, "n_steps": 256, "n_epochs": 4, "gae_lambda": 0.94}),
    Case("Pendulum-v1", "ppo", 102_400, _PENDULUM),
    Case("LunarLander-v3", "ppo", 98_304, {**_LANDER, "ent_coef": 0.01}),
    Case("HalfCheetah-v5", "ppo", 51_200, {"n_envs": 1, "n_steps": 512, "batch_size": 64, "n_epochs": 20}),
    Case("CartPole-v1", "dqn", 50_000, {**_DQN, "gradient_steps": 128, "target_update_interval": 10}),
    Case("Pendulum-v1", "sac", 5_000, {"learning_rate": 1e-3, "learning_starts": 100}),
    Case("Pendulum-v1", "td3", 5_000, {"learning_rate": 1e-3, "learning_starts": 100}),
)


@dataclass(frozen=True)
class Measured:
    """What a process measured.

    Attributes:
        first: processor seconds of training in a fresh process, compilation included; imports are not.
        second: processor seconds of the same work again in the same process: what was compiled is used again.
        env_steps: environment steps of all runs together.
        returns: of each run's policy, mean over `EPISODES` episodes.
    """

    first: float
    second: float
    env_steps: int
    returns: list[float]


# The tools. Each trains a case on some seeds and returns the environment steps and the returns.

Train = Callable[[Case, Sequence[int]], tuple[int, list[float]]]


def plain(case: Case, seeds: Sequence[int], library: str = "stable_baselines3") -> tuple[int, list[float]]:
    """Train with Stable-Baselines3, or SBX, as its documentation does, one seed after the other."""
    from stable_baselines3.common.env_util import make_vec_env
    from stable_baselines3.common.evaluation import evaluate_policy

    settings = dict(case.settings)
    count, returns, steps = settings.pop("n_envs", 1), [], 0
    algorithm = getattr(importlib.import_module(library), case.algorithm.upper())
    for seed in seeds:
        model = algorithm("MlpPolicy", make_vec_env(case.env, count, seed=seed), seed=seed, **settings)
        model.learn(case.steps)
        steps += model.num_timesteps
        score, _ = evaluate_policy(model, make_vec_env(case.env, EPISODES, seed=10_000), EPISODES)
        returns.append(float(score))
    return steps, returns


def sbx(case: Case, seeds: Sequence[int]) -> tuple[int, list[float]]:
    """Train with SBX."""
    return plain(case, seeds, "sbx")


def rejax(case: Case, seeds: Sequence[int]) -> tuple[int, list[float]]:
    """Train with rejax's PPO, all seeds in one call. It is not SB3's; settings that it has no word for are left out.

    Its DQN samples in time proportional to its replay buffer, and is not measured.
    """
    import jax
    import rejax

    words = {"n_steps": "num_steps", "n_envs": "num_envs", "n_epochs": "num_epochs", "clip_range": "clip_eps"}
    words |= {"gamma": "gamma", "gae_lambda": "gae_lambda", "learning_rate": "learning_rate", "ent_coef": "ent_coef"}
    known = {words[key]: value for key, value in case.settings.items() if key in words}
    rollout = known.get("num_envs", 1) * known["num_steps"]
    known["num_minibatches"] = max(1, rollout // case.settings.get("batch_size", 64))
    known |= {"total_timesteps": case.steps, "eval_freq": case.steps}
    algorithm = rejax.get_algo(case.algorithm).create(env=case.env, **known)
    if case not in _COMPILED:
        _COMPILED[case] = jax.jit(jax.vmap(algorithm.train))
    _, (_, returns) = _COMPILED[case](jax.vmap(jax.random.key)(jax.numpy.array(seeds)))
    return case.steps * len(seeds), [float(own[-1].mean()) for own in jax.device_get(returns)]


_COMPILED: dict[Case, Any] = {}


class _Watcher:
    """A host that wants nothing."""

    def evaluated(self, point: object) -> None:
        """Take note of nothing."""

    def alive(self, env_steps: int) -> None:
        """Take note of nothing."""

    def save(self, env_steps: int, content: memoryview) -> None:
        """Keep nothing."""

    def stopping(self) -> bool:
        """Never stop."""
        return False


def _with(backend: str, engine: str | None, case: Case, seeds: Sequence[int]) -> tuple[int, list[float]]:
    from autorl.plugins import find
    from autorl.training.protocol import Backend, Job
    from autorl.trial import Recipe

    measured = {"env_steps": case.steps, "evaluation_points": 1, "evaluation_episodes": EPISODES, "deterministic": True}
    task = {"env": case.env, "env_kwargs": {}, "wrappers": ()}
    recipe = Recipe(backend, case.algorithm, case.settings, {}, **task, **measured, engine=engine)
    own = {} if case.lanes is None or backend != "jax" else {"lanes": case.lanes}
    trainer: Backend = find("autorl.backends", backend)(**own)
    jobs = [Job(recipe, seed, case.steps, None, 1e9) for seed in seeds]
    results = []
    for start in range(0, len(jobs), trainer.lanes):
        batch = jobs[start : start + trainer.lanes]
        results += trainer.train(batch, [_Watcher() for _ in batch])
    broken = [result.error for result in results if result.error]
    if broken:
        raise SystemExit(broken[0])
    return sum(result.env_steps for result in results), [result.curve[-1].metrics["return"] for result in results]


def ours(case: Case, seeds: Sequence[int]) -> tuple[int, list[float]]:
    """Train with autorl's backend `sb3`."""
    return _with("sb3", None, case, seeds)


def jax_compiled(case: Case, seeds: Sequence[int]) -> tuple[int, list[float]]:
    """Train with autorl's backend `jax`, engine `compiled`."""
    return _with("jax", "compiled", case, seeds)


def jax_host(case: Case, seeds: Sequence[int]) -> tuple[int, list[float]]:
    """Train with autorl's backend `jax`, engine `host`."""
    return _with("jax", "host", case, seeds)


def jax_envpool(case: Case, seeds: Sequence[int]) -> tuple[int, list[float]]:
    """Train with autorl's backend `jax`, engine `envpool`."""
    return _with("jax", "envpool", case, seeds)


def limit(case: Case, seeds: Sequence[int]) -> tuple[int, list[float]]:
    """Multiply the matrices that SAC's or TD3's gradient steps need, by JAX, and nothing else."""
    import gymnasium as gym
    import jax
    import jax.numpy as jnp

    with gym.make(case.env) as env:
        features, actions = env.observation_space.shape[0], env.action_space.shape[0]
    rows, hidden = 256, (256, 256) if case.algorithm == "sac" else (400, 300)  # SB3's defaults
    actor = (features, *hidden, actions * (2 if case.algorithm == "sac" else 1))
    critic = (features + actions, *hidden, 1)

    def forward(sizes: Sequence[int]) -> list[tuple[int, int, int]]:
        return [(rows, before, after) for before, after in pairwise(sizes)]

    def weights(sizes: Sequence[int]) -> list[tuple[int, int, int]]:
        return [(before, rows, after) for before, after in pairwise(sizes)]

    def inputs(sizes: Sequence[int]) -> list[tuple[int, int, int]]:
        return [(rows, after, before) for before, after in pairwise(sizes)]

    # Targets; both critics' gradients; the actor's gradients, through both critics in SAC and one in TD3, whose actor
    # learns at every second step.
    critics = forward(actor) + 2 * (2 * forward(critic) + weights(critic) + inputs(critic)[1:])
    through = 2 if case.algorithm == "sac" else 1
    policy = forward(actor) + weights(actor) + inputs(actor)[1:] + through * (forward(critic) + inputs(critic))
    steps = case.steps - int(case.settings["learning_starts"])
    counts: Counter[tuple[int, int, int]] = Counter()
    for products, times in ((critics, steps), (policy, steps // (1 if case.algorithm == "sac" else 2))):
        for product in products:
            counts[product] += times
    for (n, k, m), times in counts.items():
        a, b = jnp.ones((n, k)), jnp.ones((k, m))

        def body(_: Any, carry: Any, b: Any = b) -> Any:
            a, _ = carry
            return jax.lax.optimization_barrier((a, a @ b))  # without it XLA would multiply once

        jax.jit(jax.lax.fori_loop, static_argnums=2)(0, times, body, (a, jnp.zeros((n, m))))[1].block_until_ready()
    return case.steps * len(seeds), [float("nan")]


COMPILED = ("CartPole-v1", "Acrobot-v1", "Pendulum-v1")
POOLED = ("CartPole-v1", "Acrobot-v1", "LunarLander-v3", "HalfCheetah-v5")


@dataclass(frozen=True)
class Tool:
    """How a tool is called in the table, what trains, and what it needs.

    Attributes:
        label: its name.
        train: what trains.
        needs: the package that must be installed.
        together: whether several seeds train in one call; the others train one after the other, at the same speed.
        threads: whether it keeps torch's own number of threads, and both cores for them.
        envs: environments that it takes; None for all.
        algorithms: what it is measured with.
    """

    label: str
    train: Train
    needs: str
    together: bool = False
    threads: bool = False
    envs: tuple[str, ...] | None = None
    algorithms: tuple[str, ...] = ("ppo", "dqn", "sac", "td3")


TOOLS = {
    "sb3": Tool("Stable-Baselines3, 2 cores", plain, "stable_baselines3", threads=True),
    "sb3-1": Tool("Stable-Baselines3, 1 thread", plain, "stable_baselines3"),
    "sbx": Tool("SBX", sbx, "sbx"),
    "rejax": Tool("rejax (another PPO)", rejax, "rejax", together=True, envs=COMPILED, algorithms=("ppo",)),
    "ours": Tool("autorl sb3", ours, "stable_baselines3"),
    "jax-host": Tool("autorl jax, host", jax_host, "jax", together=True),
    "jax-envpool": Tool("autorl jax, envpool", jax_envpool, "envpool", together=True, envs=POOLED),
    "limit": Tool("matrix products alone", limit, "jax", algorithms=("sac", "td3")),
    "jax": Tool("autorl jax, compiled", jax_compiled, "jax", together=True, envs=COMPILED),
}


def measure(tool: str, case: Case, seeds: int) -> Measured | None:
    """Measure in a process of its own, on one core; None, with the error told, where the tool fails."""
    cores = sorted(os.sched_getaffinity(0))
    environment = {key: value for key, value in os.environ.items() if key not in THREADS}
    if not TOOLS[tool].threads:
        cores = cores[:1]
        environment |= dict.fromkeys(THREADS, "1")
    with tempfile.TemporaryDirectory() as cache:
        environment = {"JAX_PLATFORMS": "cpu", **environment, "XDG_CACHE_HOME": cache}
        command = [sys.executable, __file__, "--worker", tool, "--only", case.name]
        command += ["--seeds", str(seeds), "--steps", str(case.steps)]
        command += [] if case.lanes is None else ["--lanes", str(case.lanes)]
        done = subprocess.run(
            command,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            preexec_fn=lambda: os.sched_setaffinity(0, cores),
        )
    if done.returncode:
        print(f"{tool} on {case.name} failed:\n{done.stderr[-3000:]}", file=sys.stderr)
        return None
    return Measured(**json.loads(done.stdout.splitlines()[-1]))


def _worker(tool: str, case: Case, seeds: int) -> None:
    train, runs = TOOLS[tool].train, range(seeds)
    importlib.import_module(TOOLS[tool].needs)
    began = time.process_time()
    env_steps, returns = train(case, runs)
    middle = time.process_time()
    train(case, runs)
    print(json.dumps(vars(Measured(middle - began, time.process_time() - middle, env_steps, returns))))


def show(case: Case, tools: Sequence[str], lanes: Sequence[int]) -> None:
    """Measure a case with every tool, and print its table; `jax` with programs of some lanes, if any are given."""
    print(f"\n{case.name}, {case.steps:,} environment steps a run\n")
    print("| tool | runs in a call | steps/processor second | with compilation | of autorl sb3 | mean return |")
    print("|---|---|---|---|---|---|", flush=True)
    base = None
    for name in sorted(tools, key=lambda name: name != "ours"):
        tool = TOOLS[name]
        if (tool.envs is not None and case.env not in tool.envs) or case.algorithm not in tool.algorithms:
            continue
        several = lanes if name.startswith("jax") and lanes else (1, SEVERAL)
        for seeds in several if tool.together else (1,):
            found = measure(name, replace(case, lanes=seeds) if several is lanes else case, seeds)
            if found is None:
                print(f"| {tool.label} | {seeds} | failed | – | – | – |", flush=True)
                continue
            warm, cold = found.env_steps / found.second, found.env_steps / found.first
            base = base or warm
            cells = [tool.label, str(seeds), f"{warm:,.0f}", f"{cold:,.0f}", f"{warm / base:.1f}"]
            print(f"| {' | '.join(cells)} | {fmean(found.returns):.1f} |", flush=True)


def main() -> None:
    """Measure what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = [case.name for case in CASES]
    parser.add_argument("--only", nargs="+", choices=names, default=names, metavar="CASE", help=", ".join(names))
    parser.add_argument("--tools", nargs="+", choices=TOOLS, default=[*TOOLS], help="by default all")
    parser.add_argument("--scale", type=float, default=1.0, help="part of the environment steps")
    parser.add_argument("--lanes", type=int, nargs="+", default=[], help="runs in a call of backend jax, all there are")
    parser.add_argument("--worker", choices=TOOLS, help=argparse.SUPPRESS)
    parser.add_argument("--seeds", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--steps", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    chosen = [case for case in CASES if case.name in arguments.only]
    if arguments.worker:
        (case,) = chosen
        case = replace(case, steps=arguments.steps, lanes=next(iter(arguments.lanes), None))
        _worker(arguments.worker, case, arguments.seeds)
        return
    present = [name for name in arguments.tools if importlib.util.find_spec(TOOLS[name].needs)]
    missing = [TOOLS[name].label for name in arguments.tools if name not in present]
    if missing:
        print(f"Not installed: {', '.join(missing)}")
    for case in chosen:
        steps = max(2_000, round(case.steps * arguments.scale))
        show(replace(case, steps=steps), present, arguments.lanes)


if __name__ == "__main__":
    main()
