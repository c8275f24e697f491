"""A trial as a config file of Hydra (https://hydra.cc), which an application composes.

Of Stable-Baselines3 it is what `hydra.utils.instantiate` makes environments and model from, in the package `autorl`;
of the user's own training code what the study sets, laid over the application's: where the program is told of it by
overrides, under the keys that these name.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from autorl.errors import ExportError
from autorl.ledger.records import TrialRecord
from autorl.report.export import header, unable
from autorl.report.export.configuration import described, dumped, plain, public_name
from autorl.report.findings import Findings
from autorl.spec.yaml12 import scalar
from autorl.training.program.words import ARGUMENTS, PLACEHOLDER, Launch, fill, settings, split
from autorl.trial import Recipe

_USERS_OWN = ("function", "command")
_OVERRIDE = re.compile(r"\+{0,2}([\w.{}]+)=(.*)")
_INFINITE, _LIKE_OCTAL = re.compile(r"[+-]?(inf|nan)", re.IGNORECASE), re.compile(r"[+-]?0[0-9_xo][\w.]*")
_KEY = re.compile(r"([{,]\s*[\w.-]+):(?=\S)")
_OF_THE_RUN = {"seed", "until", "run_folder", "checkpoint", "python"}
_HOW = "Save it in your application's configs as autorl/{name}.yaml, and compose it: python app.py +autorl={name}"
_INSTANTIATE = (
    "Then env = instantiate(cfg.autorl.env), model = instantiate(cfg.autorl.model, env=env), "
    "model.learn(cfg.autorl.env_steps)."
)


def render(findings: Findings, trial: TrialRecord) -> str:
    """Return the YAML file.

    Raises:
        ExportError: the trial is a schedule or has a curriculum, wraps its environment more than once, or its
            environment cannot be made here.
    """
    recipe = trial.recipe
    if recipe.start is not None:
        raise unable(findings, trial, "hydra", "a key of a config has one value")
    how = [_HOW.format(name="winner")]
    if recipe.backend in _USERS_OWN:
        package, content = "_global_", _nested(dict(_overridden(recipe)))
    else:
        package, content = "autorl", described(recipe)
        if recipe.backend in ("sb3", "jax"):
            content, how = _instantiable(recipe), [*how, _INSTANTIATE]
    comment = "".join(f"# {line}\n" for line in [*header(findings, trial), *how])
    return f"# @package {package}\n{comment}{dumped(content)}"


def _overridden(recipe: Recipe) -> Iterator[tuple[str, Any]]:
    """Find the dotted keys that the application is to have, and their values."""
    program, values = recipe.program or {}, Launch(recipe, 0, recipe.env_steps, Path(), Path()).values
    words, told = split(program.get("command") or ""), set[str]()
    for word in words:
        names, override = {*PLACEHOLDER.findall(word)}, _OVERRIDE.fullmatch(word)
        if override and not _OF_THE_RUN & names and values.keys() >= names and not word.startswith("hydra."):
            told |= names
            alone = PLACEHOLDER.fullmatch(override[2])
            value = values[alone[1]] if alone else _read(fill(override[2], values))
            yield fill(override[1], values), value
    argument = _OVERRIDE.fullmatch(program["argument"]) if f"{{{ARGUMENTS}}}" in words else None
    for name, value in settings(recipe).items():
        if name not in told:
            yield fill(argument[1], {"name": name}) if argument else name, value


def _read(text: str) -> Any:
    """Return the value of an override as Hydra reads it, for which `on`, `1:30` and `010` are only text."""
    if text[:1] == "{":
        text = _KEY.sub(r"\1: ", text)  # Hydra needs no space there, and YAML does
    if text[:1] in ("[", "{", "'", '"'):
        return _data(yaml.compose(text, Loader=yaml.SafeLoader))
    if _INFINITE.fullmatch(text):
        return float(text)
    return text if not text or _LIKE_OCTAL.fullmatch(text) else scalar(text)


def _data(node: yaml.Node | None) -> Any:
    if isinstance(node, yaml.SequenceNode):
        return [_data(inner) for inner in node.value]
    if isinstance(node, yaml.MappingNode):
        return {key.value: _data(value) for key, value in node.value}
    assert isinstance(node, yaml.ScalarNode)
    return node.value if node.style else _read(node.value)


def _nested(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return values by dotted keys as the nested mappings that these mean.

    Raises:
        ExportError: one key is a part of another, as the choice of a group of configs is.
    """
    found: dict[str, Any] = {}
    for key, value in values.items():
        *outer, last = key.split(".")
        inner = found
        for part in outer:
            inner = inner.setdefault(part, {})
            if not isinstance(inner, dict):
                break
        if not isinstance(inner, dict) or isinstance(inner.get(last), dict):
            raise ExportError(f"a config of Hydra's cannot have both '{key}' and a part of it; use --format command")
        inner[last] = plain(value)
    return found


def _instantiable(recipe: Recipe) -> dict[str, Any]:
    """Return environments and model as what `instantiate` makes them from."""
    from autorl.report.export.sb3_arguments import OUTSIDE, resolve
    from autorl.training.sb3.algorithms import CONSTRAINED, own_defaults

    if recipe.task_space is not None or recipe.algorithm in CONSTRAINED or len(recipe.wrappers) > 1:
        raise ExportError("Hydra can make neither teachers, nor costs, nor several wrappers; use --format sb3")
    args = resolve(recipe)
    defaults = {key: value for key, value in own_defaults(recipe.algorithm).items() if key not in OUTSIDE}
    model: dict[str, Any] = {
        "_target_": public_name(args.algorithm),
        "_convert_": "all",
        "policy": args.policy,
        **{key: _made(value) for key, value in {**defaults, **args.kwargs}.items()},
    }
    if args.policy_kwargs:
        model["policy_kwargs"] = {key: _made(value) for key, value in args.policy_kwargs.items()}
    env: dict[str, Any] = {
        "_target_": "stable_baselines3.common.env_util.make_vec_env",
        "_convert_": "all",
        "env_id": recipe.env,
        "n_envs": args.n_envs,
        "env_kwargs": dict(recipe.env_kwargs),
        **_wrapped(recipe),
    }
    vectorized = "stable_baselines3.common.vec_env"
    if args.frame_stack:
        env = {"_target_": f"{vectorized}.VecFrameStack", "venv": env, "n_stack": args.frame_stack}
    if args.normalize is not None:
        env = {"_target_": f"{vectorized}.VecNormalize", "_convert_": "all", "venv": env, **plain(args.normalize)}
    return {"env": env, "model": model, "env_steps": recipe.env_steps}


def _wrapped(recipe: Recipe) -> dict[str, Any]:
    if not recipe.wrappers:
        return {}
    (wrapper,) = recipe.wrappers
    name, arguments = (wrapper, {}) if isinstance(wrapper, str) else next(iter(wrapper.items()))
    return {"wrapper_class": _class(name.replace(":", ".")), "wrapper_kwargs": dict(arguments)}


def _class(path: str) -> dict[str, Any]:
    return {"_target_": "hydra.utils.get_class", "path": path}


def _made(value: Any) -> Any:
    """Return an argument as Hydra makes it."""
    if isinstance(value, type):
        return _class(public_name(value))
    if isinstance(value, tuple):
        return {"_target_": "builtins.tuple", "_args_": [plain(value)]}
    data = plain(value)
    if isinstance(data, dict) and "schedule" in data:
        ends = {key: data[key] for key in ("start", "end", "end_fraction")}
        return {"_target_": "stable_baselines3.common.utils.LinearSchedule", **ends}
    if isinstance(data, dict) and "noise" in data:
        arrays = {
            "mean": {"_target_": "numpy.array", "object": data["mean"]},
            "sigma": {"_target_": "numpy.array", "object": data["std"]},
        }
        return {"_target_": f"stable_baselines3.common.noise.{type(value).__name__}", **arrays}
    return data
