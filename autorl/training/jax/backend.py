"""The backend `jax`: checks a study against what it can train, and trains runs of one shape together."""

from __future__ import annotations

import os
from collections.abc import Collection, Hashable, Iterator, Mapping, Sequence
from contextlib import closing
from functools import cache
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from autorl.errors import AutorlError, CheckpointError
from autorl.spec.space import SearchSpace
from autorl.spec.task import TaskSpec
from autorl.spec.yaml12 import Key
from autorl.training.curriculum import words
from autorl.training.curriculum.kinds import make_lessons
from autorl.training.curriculum.tryout import wrong_tasks
from autorl.training.protocol import KEEP, Backend, Host, Interrupted, Job
from autorl.training.resumption import Origin
from autorl.training.tasks import make_env, random_streams
from autorl.training.words import METRICS, Vocabulary, made, missing_env, probe, unmeasurable
from autorl.trial import Recipe, RunResult

try:
    import jax

    from autorl.training.jax import checkpoint
    from autorl.training.jax.batch import Batch, Course, failure
    from autorl.training.jax.compiled import Compiled
    from autorl.training.jax.distributions import ActionSpace
    from autorl.training.jax.dqn import Dqn
    from autorl.training.jax.environments import COMPILED, compiled, spaces
    from autorl.training.jax.host import HostedRollouts, HostedTransitions
    from autorl.training.jax.lanes import Lanes
    from autorl.training.jax.on_policy import OnPolicy
    from autorl.training.jax.pools import POOLED
    from autorl.training.jax.protocol import Engine, Streams
    from autorl.training.jax.settings import DEFAULTS, POLICY_KEYS, Settings, settings
except ImportError as _error:
    raise AutorlError("backend 'jax' needs JAX; run: pip install 'autorl[jax]'") from _error

_WORDS = Vocabulary(
    DEFAULTS, lambda name: DEFAULTS[name], lambda name: POLICY_KEYS[name], METRICS, ("compiled", "envpool", "host")
)
# What a run's state has its shape from.
_IN_STATE = {
    "algorithm.name",
    "buffer_size",
    "n_envs",
    "n_steps",
    "normalize",
    "policy.activation_fn",
    "policy.n_critics",
    "policy.net_arch",
    "train_freq",
    "use_rms_prop",
}


class JaxBackend(Backend):
    """PPO, A2C, DQN, SAC and TD3 with Stable-Baselines3's semantics, in JAX.

    Runs whose shapes are equal (networks, rollouts, batches, environments) are trained in one call, `lanes` at a time,
    whatever their numbers (learning rates, coefficients, discounts). A run's results do not depend on the others': the
    program is always of that many lanes. SAC and TD3 are trained one by one: on a CPU their matrix products take all
    the time, which lanes do not shorten. Randomness is not SB3's, so curves are equal in distribution, not in digits.

    Args:
        lanes: of a program. On a core more than eight are not sooner done (benchmarks/README.md); a GPU takes more, at
            the price of an optimizer that proposes as many before it hears of one.
    """

    resumable = True
    metrics = METRICS

    def __init__(self, lanes: int = 8) -> None:
        # Before anything is computed, be it in a check: later the flags are not read, and with more than one thread
        # some programs of many lanes wait for each other without end.
        _configure()
        self.lanes = lanes

    def check(self, sections: Mapping[str, Any], repaired: Collection[str]) -> Iterator[tuple[Key, str]]:
        """Find unknown algorithms, hyperparameters, policies and environments; see `Backend.check`."""
        mistakes = [*_WORDS.mistakes(sections), *words.mistakes(sections)]
        if sections.get("task") is not None:
            usable = not mistakes and not {"algorithm", "policy"} & set(repaired)
            mistakes += self._check_task(sections, repaired, usable)
        yield from mistakes

    def _check_task(
        self, sections: Mapping[str, Any], repaired: Collection[str], usable: bool
    ) -> list[tuple[Key, str]]:
        task, algorithm, policy = sections["task"], sections.get("algorithm"), sections.get("policy")
        if missing := missing_env(task.env):
            return [(("task", "env"), missing)]
        if "task" in repaired:
            return []
        env = made(task)
        if isinstance(env, str):
            return [(("task", "env"), env)]
        with closing(env):
            try:
                features, space = spaces(env)
            except ValueError as error:
                return [(("task", "env"), str(error))]
        if algorithm is not None and (mistake := _engine_mistake(task, algorithm.engine)):
            return [(("algorithm", "engine"), mistake)]
        if wrong := wrong_tasks(task):
            return [(("task", "parameters"), wrong)]
        mistakes: list[tuple[Key, str]] = list(unmeasurable(task))
        evaluation = sections.get("evaluation")
        if (
            algorithm is not None
            and algorithm.name == "dqn"
            and evaluation is not None
            and not evaluation.deterministic
        ):
            wrong = "backend jax evaluates the greedy policy of DQN; leave it out, or use backend sb3"
            mistakes.append((("evaluation", "deterministic"), wrong))
        if not usable or algorithm is None or policy is None:
            return mistakes
        try:
            settings(probe(task, algorithm, policy), features, space)
        except ValueError as error:
            mistakes.append((("algorithm", "name"), f"{algorithm.name} cannot train on {task.env}: {error}"))
        return mistakes

    def default(self, recipe: Recipe, key: str) -> Any:
        """Return SB3's own default of a key; see `Backend.default`."""
        return _WORDS.default(recipe, key)

    def switches(self, space: SearchSpace, algorithms: Sequence[str]) -> frozenset[str]:
        """Return the parameters named in conditions that no algorithm takes; see `Backend.switches`."""
        return _WORDS.switches(space, algorithms)

    def warm(self) -> None:
        """Import what training needs; JAX itself must not begin before a fork, since its threads do not survive it."""
        import gymnax  # noqa: F401 - takes two seconds

    def group(self, recipe: Recipe) -> Hashable:
        """Return what a program is compiled for; see `Backend.group`."""
        own = _settings(recipe)
        if self._lanes_of(own) == 1:
            return object()
        judged = recipe.cost, recipe.specification
        made_of = recipe.env, recipe.env_kwargs, recipe.wrappers, recipe.task_space
        task = repr([recipe.algorithm, engine_of(recipe), made_of, judged])
        measured = recipe.env_steps, recipe.evaluation_points, recipe.evaluation_episodes, recipe.deterministic
        return own.shape, own.scaling, task, measured

    def together(self, recipe: Recipe) -> int:
        """Return how many runs a program trains; see `Backend.together`."""
        return self._lanes_of(_settings(recipe))

    def _lanes_of(self, own: Settings) -> int:
        return self.lanes if isinstance(own.shape, OnPolicy) or isinstance(own.shape.agent, Dqn) else 1

    def unforkable(self, recipe: Recipe, keys: Collection[str]) -> str | None:
        """Say if the state of a run has its shape from one of the keys; see `Backend.unforkable`."""
        del recipe
        # An episode under way is played again from its seed and its actions, in the environment that it began in.
        other = sorted(key for key in keys if key in _IN_STATE or key.startswith("task.env_kwargs."))
        return f"backend jax cannot go on with another {other[0]}, only with other numbers; {KEEP}" if other else None

    def train(self, jobs: Sequence[Job], hosts: Sequence[Host]) -> list[RunResult]:
        """Train runs together, those that start from different steps one after the other; see `Backend.train`."""
        courses = [Course(job, host) for job, host in zip(jobs, hosts, strict=True)]
        batches: dict[Hashable, list[tuple[Course, list[tuple[Recipe, int]], checkpoint.Saved | None]]] = {}
        for index, course in enumerate(courses):
            segments, saved = _taken_up(course)
            # A run that goes through several recipes changes its numbers on its own.
            alone = index if len(segments) > 1 or self._lanes_of(_settings(course.job.recipe)) == 1 else -1
            batches.setdefault((alone, saved.env_steps if saved is not None else 0), []).append(
                (course, segments, saved)
            )
        stopped = False
        for batch in batches.values():
            try:
                self._train_batch(batch)
            except Interrupted:
                stopped = True
        if stopped:
            raise Interrupted
        return [course.result for course in courses if course.result is not None]

    def _train_batch(
        self, batch: Sequence[tuple[Course, Sequence[tuple[Recipe, int]], checkpoint.Saved | None]]
    ) -> None:
        courses = [course for course, _, _ in batch]
        segments, states = batch[0][1], [saved.state for _, _, saved in batch if saved is not None]
        trained: Batch | None = None
        for number, (_, until) in enumerate(segments):
            recipes = [own[number][0] for _, own, _ in batch]
            try:
                engine = self._engine(recipes, courses, states or None)
            except Exception as error:  # noqa: BLE001 - environments are the user's code, and states may not fit
                for course in courses:
                    course.result = failure(course, error, 0, course.before)
                return
            trained = Batch(courses, recipes, engine)
            try:
                trained.train(until)
            except Interrupted:
                raise
            except Exception as error:  # noqa: BLE001 - whatever it was, these runs have failed and others have not
                trained.fail(error)
                return
            states = [engine.save(index) for index in range(len(courses))]
        assert trained is not None
        trained.finish()

    def _engine(
        self, recipes: Sequence[Recipe], courses: Sequence[Course], states: Sequence[Mapping[str, Any]] | None
    ) -> Engine:
        streams = [Streams(*random_streams(c.job.seed, c.job.recipe.evaluation_points)) for c in courses]
        each = [_settings(recipe) for recipe in recipes]
        batch = Lanes(each, streams, self._lanes_of(each[0]))
        if engine_of(recipes[0]) == "compiled":
            return Compiled(compiled(recipes[0].env), recipes[0], batch, states)
        hosted = HostedRollouts if isinstance(batch.shape, OnPolicy) else HostedTransitions
        lessons = [
            make_lessons(recipe.task_space, recipe.curriculum, recipe.env_steps, course.job.seed)
            for recipe, course in zip(recipes, courses, strict=True)
            if recipe.task_space is not None and recipe.curriculum is not None
        ]
        return hosted(recipes, batch, lessons, states, pooled=engine_of(recipes[0]) == "envpool")


@cache
def _configure() -> None:
    """Give JAX one thread, and a folder for what it has compiled, shared by all processes and studies."""
    try:
        cache_folder().mkdir(parents=True, exist_ok=True)
    except OSError:  # a user without a home, as in a container: every process compiles for itself
        kept = None
    else:
        kept = str(cache_folder())
    os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1")
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # workers share a GPU
    options = {
        "jax_compilation_cache_dir": kept,
        "jax_cpu_enable_async_dispatch": False,  # to hand a call to another thread costs more than most calls take
        "jax_persistent_cache_min_compile_time_secs": 0,
        "jax_persistent_cache_min_entry_size_bytes": -1,
    }
    if _may_have_a_gpu():
        options["jax_default_matmul_precision"] = "float32"  # as torch's: it would round factors to ten bits
    for name, value in options.items():
        jax.config.update(name, value)  # type: ignore[no-untyped-call]


def _may_have_a_gpu() -> bool:
    """Say whether JAX may find a GPU, without asking it: what it begins does not survive a fork."""
    asked = jax.config.jax_platforms  # type: ignore[attr-defined]
    return asked != "cpu" and bool(entry_points(group="jax_plugins"))


def cache_folder() -> Path:
    """Return the user's folder for compiled programs."""
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "autorl" / "jax"


def engine_of(recipe: Recipe) -> str:
    """Return the engine that trains a recipe: the one it names, else `compiled` where there is such an environment."""
    plain = not (recipe.env_kwargs or recipe.wrappers or recipe.cost or recipe.specification or recipe.task_space)
    return recipe.engine or ("compiled" if plain and recipe.env in COMPILED else "host")


def _engine_mistake(task: TaskSpec, engine: str | None) -> str | None:
    """Say why an engine cannot train on a task, if so."""
    known = {"compiled": COMPILED, "envpool": POOLED}.get(engine or "")
    if known is None:
        return None
    if task.env not in known:
        return f"engine {engine} does not have {task.env}, only {', '.join(known)}; use engine host"
    if task.env_kwargs or task.wrappers:
        return f"engine {engine} takes no environment with arguments or wrappers; use engine host"
    if task.parameters:
        return f"engine {engine} has no curricula, since its environments cannot be told their task; use engine host"
    if engine == "compiled" and (task.cost is not None or task.specification is not None):
        return "engine compiled measures neither a cost nor a specification; use engine host"
    if engine == "envpool" and find_spec("envpool") is None:
        return "envpool is not installed; run: pip install 'autorl[envpool]', or use engine host"
    return None


def _settings(recipe: Recipe) -> Settings:
    return settings(recipe, *_spaces(recipe))


_KNOWN: dict[str, tuple[int, ActionSpace]] = {}


def _spaces(recipe: Recipe) -> tuple[int, ActionSpace]:
    key = repr([recipe.env, recipe.env_kwargs, recipe.wrappers])
    if key not in _KNOWN:
        with closing(make_env(recipe.env, recipe.env_kwargs, recipe.wrappers)) as env:
            _KNOWN[key] = spaces(env)
    return _KNOWN[key]


def _taken_up(course: Course) -> tuple[list[tuple[Recipe, int]], checkpoint.Saved | None]:
    """Load what a run is to go on from, if there is anything; return what is left to train, and the state."""
    job = course.job
    segments = job.recipe.lineage(job.until)
    if job.resume is None:
        return segments, None
    try:
        written_for, run, saved = checkpoint.read(job.resume)
        origin = Origin(written_for, run, saved.env_steps, saved.spent, saved.inherited_seconds)
        segment, course.before, course.inherited_seconds = origin.taken_up(job.resume, segments, job.seed)
    except CheckpointError as error:
        course.notes.append(f"started anew: {error}")
        return segments, None
    course.curve = list(saved.curve)
    return segments[segment:], saved
