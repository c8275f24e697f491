"""A trial as a Python script of plain Stable-Baselines3.

The functions that make environments, evaluate and derive seeds are copied from the module that trained the study, so
with the same versions on the same kind of processor the script repeats a run's learning curve to the last digit, if
the study's backend was `sb3`.
"""

from __future__ import annotations

import ast
import inspect
import re
import sys
import textwrap
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from stable_baselines3.common.noise import NormalActionNoise, OrnsteinUhlenbeckActionNoise
from stable_baselines3.common.utils import LinearSchedule

from autorl.errors import ExportError
from autorl.ledger.records import TrialRecord
from autorl.report.export import header, stages, unable
from autorl.report.export.judged import Judged, judged
from autorl.report.export.sb3_arguments import OUTSIDE, resolve
from autorl.report.findings import Findings
from autorl.training import tasks
from autorl.training.curriculum import lessons, space, teacher, trajectories
from autorl.training.curriculum.kinds import TEACHERS
from autorl.training.sb3 import plain
from autorl.training.sb3.algorithms import ALGORITHMS, Arguments, own_defaults
from autorl.trial import Recipe

_COPIED: tuple[Any, ...] = (
    tasks.random_streams,
    tasks.make_env,
    plain.make_vec_env,
    plain.generators,
    plain.set_generators,
    plain.acting_parameters,
    plain.evaluate,
    plain.Evaluations,
)
_COPIED_FOR_STAGES = (stages.EndOfStage, stages.Stage, stages.hand_over)

_NEEDS = "\n\nNeeds only stable-baselines3, sb3-contrib{more} and the environment. "
_PROMISES = {
    "sb3": """With these versions, on the same kind of processor,
a seed of the study repeats that run's learning curve to the last digit.""",
    "jax": """The study trained with backend jax: this trains the
same algorithm with other random numbers, so a seed's curve is another, and scores agree over seeds.""",
}

_IMPORTS = """\
from __future__ import annotations

{standard}

import gymnasium as gym
import numpy as np
import torch
{vendors}
from torch import nn
"""
_STANDARD = (
    "import argparse",
    "import importlib",
    "import random",
    "from collections.abc import Callable, Mapping, Sequence",
    "from typing import Any",
)
_VENDORS = (
    "from stable_baselines3.common.base_class import BaseAlgorithm",
    "from stable_baselines3.common.callbacks import BaseCallback",
    "from stable_baselines3.common.evaluation import evaluate_policy",
    "from stable_baselines3.common.monitor import Monitor",
    "from stable_baselines3.common.noise import NormalActionNoise, OrnsteinUhlenbeckActionNoise",
    "from stable_baselines3.common.utils import LinearSchedule",
    "from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv, VecFrameStack, VecNormalize, "
    "sync_envs_normalization",
)

_MAIN = '''\
ENV = {env!r}
ENV_KWARGS = {env_kwargs!r}
WRAPPERS = {wrappers!r}
N_ENVS = {n_envs!r}
FRAME_STACK = {frame_stack!r}
STEPS = {steps!r}
EVALUATIONS = {points!r}
EPISODES = {episodes!r}
DETERMINISTIC = {deterministic!r}
{constants}{varying}{stages}

def train(seed: int) -> tuple[BaseAlgorithm, list[tuple[int, dict[str, float]]]]:
    """Train one agent; return it and its learning curve."""
    torch.set_num_threads(1)
    network_seed, environment_seed, evaluation_seeds = random_streams(seed, EVALUATIONS)
{environments}{normalize}    curve: list[tuple[int, dict[str, float]]] = []

    def report(env_steps: int, metrics: dict[str, float]) -> None:
        curve.append((env_steps, metrics))
        print(f"{{env_steps:>10,}} steps   return {{metrics['return']:.4f}}", flush=True)

    points = [round(STEPS * k / EVALUATIONS) for k in range(1, EVALUATIONS + 1)]
    evaluations = Evaluations(eval_env, points, evaluation_seeds, DETERMINISTIC, report{added_up})
{training}
    return model, curve


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default={seed}, help="one of the study's repeats that run (%(default)s)")
    parser.add_argument("--save", metavar="FILE", help="save the trained model as an SB3 .zip")
    parser.add_argument("--curve", metavar="FILE", help="save the learning curve as CSV")
    options = parser.parse_args()
    trained, learned = train(options.seed)
    if options.save:
        trained.save(options.save)
        if isinstance(normalization := trained.get_env(), VecNormalize):
            normalization.save(options.save.removesuffix(".zip") + ".vecnormalize.pkl")
    if options.curve:
        with open(options.curve, "w") as file:
            file.write(",".join(["env_steps", *learned[0][1]]) + "\\n")
            for steps, metrics in learned:
                file.write(",".join(map(repr, [steps, *metrics.values()])) + "\\n")
'''


_ENVIRONMENTS = """\
    env = make_vec_env(ENV, ENV_KWARGS, WRAPPERS, N_ENVS, FRAME_STACK{learned_from})
    eval_env = make_vec_env(ENV, ENV_KWARGS, WRAPPERS, EPISODES, FRAME_STACK{measured})
"""

_VARYING = """\
# What of the task varies in training, what evaluation uses, and from which return an episode is a success.
PARAMETERS: dict[str, dict[str, Any]] = {parameters!r}
TARGET: dict[str, Any] = {target!r}
SUCCESS_RETURN = {success_return!r}
"""

_TAUGHT_ENVIRONMENTS = """\
    space = TaskSpace(PARAMETERS, TARGET)
    teacher = {teacher}(space, teacher_stream(seed){options})
    lessons = Lessons(space, teacher, STEPS, SUCCESS_RETURN)

    def make(*made_of: Any) -> gym.Env:
        return TaskEnv(*made_of, space)

    made_of = ENV, ENV_KWARGS, WRAPPERS
    env = make_vec_env(*made_of, N_ENVS, FRAME_STACK, lambda env: Taught({learned_from}, lessons), make)
    eval_env = make_vec_env(*made_of, EPISODES, FRAME_STACK, lambda env: OnTarget({measured}, space), make)
"""

_TRAINING = """\
    model = {algorithm}(
{arguments}
    )
    env.seed(environment_seed)
    model.learn(STEPS, evaluations)\
"""

_STAGES = """\
# The environment steps to which each stage trains, and with what.
STAGES: list[tuple[int, dict[str, Any]]] = [
{stages}
]
"""

_STAGE = """\
    (
        {until},
        dict(
{arguments}
        ),
    ),\
"""

_TRAINING_IN_STAGES = """\
    stage = model = None
    for until, arguments in STAGES:
{gamma}        before, model = model, {algorithm}(
{arguments}
            **arguments,
        )
        if before is None:
            env.seed(environment_seed)
            stage = Stage(until)
        else:
            hand_over(before, model)
            stage = Stage(until, stage.generators)
        try:
            model.learn(STEPS - model.num_timesteps, [evaluations, stage], reset_num_timesteps=before is None)
            break
        except EndOfStage:
            continue\
"""

_GAMMA = """\
        env.gamma = arguments["gamma"]
"""


def render(findings: Findings, trial: TrialRecord) -> str:
    """Return the script.

    Raises:
        ExportError: it is a schedule that plain Stable-Baselines3 cannot follow, or the environment cannot be made
            here, so its spaces are unknown.
    """
    recipe = trial.recipe
    if why := _obstacle(recipe):
        raise unable(findings, trial, "sb3", why)
    lineage = recipe.lineage(recipe.env_steps)
    args, more = resolve(recipe), judged(recipe)
    _, algorithm = ALGORITHMS[recipe.algorithm]
    shared, own = _shared(args), _arguments(recipe.algorithm, args)
    if len(lineage) == 1:
        table, copied = "", _COPIED
        training = _TRAINING.format(algorithm=algorithm, arguments=_lines([*shared[:2], *own, *shared[2:]], 8))
    else:
        resolved = [(until, resolve(each)) for each, until in lineage]
        table, copied = _STAGES.format(stages=_stages(recipe.algorithm, resolved)), _COPIED + _COPIED_FOR_STAGES
        gammas = {each.normalize["gamma"] for _, each in resolved if each.normalize is not None}
        training = _TRAINING_IN_STAGES.format(
            algorithm=algorithm, arguments=_lines(shared, 12), gamma=_GAMMA if len(gammas) > 1 else ""
        )
    taught = recipe.task_space is not None and recipe.curriculum is not None
    varying, environments = _lessons(recipe, more) if taught else ("", _environments(more))
    body = _MAIN.format(
        varying=varying,
        environments=environments,
        env=recipe.env,
        env_kwargs=dict(recipe.env_kwargs),
        wrappers=list(recipe.wrappers),
        n_envs=args.n_envs,
        frame_stack=args.frame_stack,
        steps=recipe.env_steps,
        points=recipe.evaluation_points,
        episodes=recipe.evaluation_episodes,
        deterministic=recipe.deterministic,
        constants=more.constants,
        added_up=more.added_up,
        stages=table,
        normalize=_normalize(args),
        training=training,
        seed=findings.spec.seeds.test[0],
    )
    sources = [inspect.getsource(part) for part in (*more.copied, *copied)]
    standard = {*_STANDARD, *more.standard}
    if taught:
        assert recipe.curriculum is not None
        modules = space, teacher, trajectories, *_modules(TEACHERS[recipe.curriculum["kind"]]), lessons
        sources += [inspect.getsource(tasks.teacher_stream), *map(_body, modules)]
        standard |= {line for module in modules for line in _standard_imports(module)}
    about = "\n".join(header(findings, trial)) + _NEEDS.format(more=more.needs) + _PROMISES[recipe.backend]
    text = "\n\n".join(re.sub(r"  # (noqa|type: ignore).*", "", source).strip() + "\n" for source in sources)
    imports = _IMPORTS.format(
        standard="\n".join(_merged(standard)),
        vendors="\n".join(sorted((*_VENDORS, *more.vendors))),
    )
    return f'"""{about}\n"""\n\n{imports}\n\n{text}\n\n{body}'


def _environments(more: Judged) -> str:
    """Return the code that makes the environments where the task does not vary."""
    wrapped = {"learned_from": more.learned_from, "measured": more.measured}
    return _ENVIRONMENTS.format(**{key: "" if env == "env" else f", lambda env: {env}" for key, env in wrapped.items()})


def _lessons(recipe: Recipe, more: Judged) -> tuple[str, str]:
    """Return the constants of a recipe's task space, and the code that makes its environments with their teacher."""
    assert recipe.task_space is not None
    assert recipe.curriculum is not None
    options = "".join(f", {name}={code(value)}" for name, value in recipe.curriculum.items() if name != "kind")
    chosen = TEACHERS[recipe.curriculum["kind"]].__name__
    environments = _TAUGHT_ENVIRONMENTS.format(
        teacher=chosen, options=options, learned_from=more.learned_from, measured=more.measured
    )
    return _VARYING.format(**recipe.task_space), environments


def _modules(chosen: type[teacher.Teacher]) -> list[Any]:
    """Return the modules of a teacher and of those that it is built on, these first."""
    built_on = [one for one in reversed(chosen.__mro__) if issubclass(one, teacher.Teacher)]
    return list(dict.fromkeys(map(inspect.getmodule, built_on[1:])))


def _body(module: Any) -> str:
    """Return a module's source from below its imports."""
    source = inspect.getsource(module)
    end = max(part.end_lineno or 0 for part in ast.parse(source).body if isinstance(part, ast.Import | ast.ImportFrom))
    return "".join(source.splitlines(keepends=True)[end:])


def _standard_imports(module: Any) -> list[str]:
    """Return what a module imports of the standard library, a line a statement."""
    found = []
    for part in ast.parse(inspect.getsource(module)).body:
        if isinstance(part, ast.Import | ast.ImportFrom):
            name = part.module if isinstance(part, ast.ImportFrom) else part.names[0].name
            if name != "__future__" and (name or "").split(".")[0] in sys.stdlib_module_names:
                found.append(ast.unparse(part))
    return found


def _merged(lines: Iterable[str]) -> list[str]:
    """Return import statements with one for each module."""
    whole = {line for line in lines if line.startswith("import ")}
    names: dict[str, set[str]] = {}
    for line in lines:
        if line.startswith("from "):
            module, _, imported = line.removeprefix("from ").partition(" import ")
            names.setdefault(module, set()).update(imported.split(", "))
    return [*sorted(whole), *(f"from {module} import {', '.join(sorted(names[module]))}" for module in sorted(names))]


def _obstacle(recipe: Recipe) -> str:
    """Return why a script cannot follow a schedule; empty if it can, or there is none."""
    donors = [before for before, _ in recipe.lineage(recipe.env_steps)[:-1]]
    if not donors:
        return ""
    own = own_defaults(recipe.algorithm)
    for donor in donors:
        if (donor.policy, donor.env_kwargs, donor.wrappers) != (recipe.policy, recipe.env_kwargs, recipe.wrappers):
            return "the policy or the environment changes on the way"
        if (donor.task_space, donor.curriculum) != (recipe.task_space, recipe.curriculum):
            return "the curriculum changes on the way"
        for name in ("n_envs", "frame_stack", "normalize", "buffer_size", "use_sde"):
            if {**own, **donor.hyperparameters}.get(name) != {**own, **recipe.hyperparameters}.get(name):
                return f"'{name}' changes on the way"
    if recipe.algorithm in ("ars", "recurrent_ppo"):
        return f"{recipe.algorithm} keeps what it is in the middle of where a script cannot reach it"
    if any(
        each.hyperparameters.get("use_sde") or each.hyperparameters.get("noise_type") == "ornstein-uhlenbeck"
        for each in (*donors, recipe)
    ):
        return "its exploration noise goes on from step to step, also from one stage to the next"
    return ""


def _stages(algorithm: str, resolved: Sequence[tuple[int, Arguments]]) -> str:
    return "\n".join(
        _STAGE.format(until=until, arguments=_lines(_arguments(algorithm, args), 12)) for until, args in resolved
    )


def _lines(arguments: Sequence[str], indent: int) -> str:
    return textwrap.indent("".join(f"{argument},\n" for argument in arguments).rstrip("\n"), " " * indent)


def _normalize(args: Arguments) -> str:
    if args.normalize is None:
        return ""
    shared = ", ".join(
        f"{key}={code(value)}" for key, value in args.normalize.items() if key not in ("training", "norm_reward")
    )
    training = ", ".join(f"{key}={code(value)}" for key, value in args.normalize.items())
    lines = [
        f"env = VecNormalize(env, {training})",
        f"eval_env = VecNormalize(eval_env, {shared}, training=False, norm_reward=False)",
    ]
    return textwrap.indent("\n".join(lines) + "\n", " " * 4)


def _shared(args: Arguments) -> list[str]:
    """Return the constructor's arguments that all stages of a schedule share, as code: first those without a name."""
    lines = [repr(args.policy), "env"]
    if args.policy_kwargs:
        inner = ", ".join(f"{key}={code(value)}" for key, value in args.policy_kwargs.items())
        lines.append(f"policy_kwargs=dict({inner})")
    return [*lines, "seed=network_seed", 'device="cpu"']


def _arguments(algorithm: str, args: Arguments) -> list[str]:
    """Return the hyperparameters as code, the algorithm's own defaults written out."""
    defaults = {key: value for key, value in own_defaults(algorithm).items() if key not in OUTSIDE}
    return [f"{key}={code(value)}" for key, value in {**defaults, **args.kwargs}.items()]


def code(value: Any) -> str:
    """Return Python code for an argument of Stable-Baselines3.

    Raises:
        ExportError: it has no code.
    """
    if isinstance(value, type):
        return f"nn.{value.__name__}"
    if isinstance(value, LinearSchedule):
        return f"LinearSchedule({value.start!r}, {value.end!r}, {value.end_fraction!r})"
    if isinstance(value, NormalActionNoise | OrnsteinUhlenbeckActionNoise):
        mean, sigma = np.asarray(value._mu).tolist(), np.asarray(value._sigma).tolist()
        return f"{type(value).__name__}(np.array({mean!r}), np.array({sigma!r}))"
    if isinstance(value, None | bool | int | float | str | list | tuple | dict):
        return repr(value)
    raise ExportError(f"no code for {value!r}")
