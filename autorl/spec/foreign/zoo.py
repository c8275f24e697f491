"""rl-zoo3's hyperparameter files (https://github.com/DLR-RM/rl-baselines3-zoo) as studies.

The default configuration of the study is rl-zoo3's, so that its test says whether tuning found something better.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from autorl.errors import AutorlError, did_you_mean
from autorl.shipped import folder
from autorl.spec.foreign.reading import Foreign, read
from autorl.spec.foreign.translation import Translation
from autorl.spec.load import load_space
from autorl.spec.schema import space_to_dict
from autorl.spec.space import same

ALGORITHMS = {"ppo_lstm": "recurrent_ppo"}
"""rl-zoo3's names of algorithms, where they differ."""
_ACTIVATIONS = {"Tanh": "tanh", "ReLU": "relu", "ELU": "elu", "LeakyReLU": "leaky_relu", "GELU": "gelu", "SiLU": "silu"}
# What Stable-Baselines3 puts behind the convolutions where an entry does not say: other layers than behind vectors.
_BEHIND_IMAGES: Mapping[str, list[int]] = {
    **{name: [] for name in ("ppo", "a2c", "trpo", "dqn", "qrdqn", "recurrent_ppo")},
    **{name: [256, 256] for name in ("td3", "ddpg")},
}
_NONE = "autorl has no such key"
_REPLAY = "backend sb3 has no replay buffer but the algorithm's own"
_LOST = {
    "callback": _NONE,
    "monitor_kwargs": _NONE,
    "vec_env_wrapper": _NONE,
    "max_episode_length": _NONE,
    "model_class": _REPLAY,
    "n_sampled_goal": _REPLAY,
    "goal_selection_strategy": _REPLAY,
    "online_sampling": _REPLAY,
    "replay_buffer_class": _REPLAY,
    "replay_buffer_kwargs": _REPLAY,
    "optimize_memory_usage": _REPLAY,
}


def hyperparameters(source: str, env: str | None, algorithm: str | None = None) -> tuple[Translation, str]:
    """Translate one entry of a hyperparameter file.

    Args:
        source: a file, or an algorithm, of which the installed rl-zoo3's file is taken.
        env: which entry, or a game of Atari's; not needed if there is only one.
        algorithm: whose they are; not needed if the file is named after it, as rl-zoo3's are.

    Returns:
        The translation, and the algorithm.

    Raises:
        AutorlError: there is no such file, algorithm or entry, or no search space of the algorithm.
    """
    path = Path(source)
    if not path.suffix:
        path = _installed(source)
    file = read(path)
    algorithm = algorithm or ALGORITHMS.get(path.stem, path.stem)
    searched = [space.stem for space in folder("search_spaces").glob("*.yaml")]
    if algorithm not in searched:
        raise AutorlError(
            f"{path.name}: there is no search space of '{algorithm}'; name the algorithm with --algorithm"
            f"{did_you_mean(algorithm, searched)}"
        )
    if env is None and len(file.data) == 1:
        env = next(iter(file.data))
    # rl-zoo3 has one entry for all games of Atari's.
    name = "atari" if env is not None and env not in file.data and _of_atari(env) else env
    if name is None or name not in file.data:
        listed = [name for name in file.data if name not in ("default", "atari")]
        known = did_you_mean(env, listed) if env else f": {', '.join(listed)}"
        asked = f"{path.name} has no entry '{env}'" if env else f"{path.name} has several entries; name one with --env"
        raise AutorlError(f"{asked}{known}")
    entry = file.data[name]
    if not isinstance(entry, Mapping):
        raise AutorlError(f"{file.place((name,))}: '{name}' is no entry of hyperparameters")
    found = Translation(f"rl-zoo3's hyperparameters of {path.stem} on {name} ({path.name})", env=env)
    _take(found, file, name, entry)
    _search_around(found, algorithm)
    return found, algorithm


def _installed(name: str) -> Path:
    spec = find_spec("rl_zoo3")
    if spec is None or not spec.submodule_search_locations:
        raise AutorlError(
            f"'{name}' is no YAML file; of an algorithm rl-zoo3's own is taken: pip install 'autorl[zoo]'"
        )
    own = Path(spec.submodule_search_locations[0]) / "hyperparams"
    known = {ALGORITHMS.get(file.stem, file.stem): file for file in sorted(own.glob("*.yml"))}
    ours = ALGORITHMS.get(name, name)
    if ours not in known:
        raise AutorlError(f"rl-zoo3 has no hyperparameters of '{name}'{did_you_mean(name, known)}")
    return known[ours]


def _of_atari(env: str) -> bool:
    return env.startswith("ALE/") or "NoFrameskip-v" in env


def _take(found: Translation, file: Foreign, env: str, entry: Mapping[str, Any]) -> None:
    """Sort what an entry says into the sections of a study."""
    for key, value in entry.items():
        value = _whole(value)
        if key in _LOST:
            found.lose(file.place((env, key)), key, value, _LOST[key])
            continue
        try:
            match key:
                case "n_timesteps":
                    found.steps = int(value)
                case "policy":
                    found.policy["name"] = value
                case "policy_kwargs":
                    _take_policy(found, file, env, _evaluated(value))
                case "env_kwargs":
                    found.task["env_kwargs"] = _as_data(value)
                case "env_wrapper" if value is not None:
                    found.task["wrappers"] = [_wrapper(one) for one in (value if isinstance(value, list) else [value])]
                case "env_wrapper":
                    pass  # says that there is none
                case "normalize":
                    found.fixed["normalize"] = _as_data(value)
                case _:
                    if isinstance(value, str) and value.startswith("lin_"):
                        float(value.removeprefix("lin_"))  # a schedule begins with a number
                    found.fixed[key] = value
        except (TypeError, ValueError) as error:
            found.lose(file.place((env, key)), key, value, str(error))


def _take_policy(found: Translation, file: Foreign, env: str, arguments: Any) -> None:
    if not isinstance(arguments, Mapping):
        raise ValueError("no mapping")
    for name, value in arguments.items():
        if _has_code(value):
            found.lose(file.place((env, "policy_kwargs")), f"policy_kwargs.{name}", str(value), "Python code")
        else:
            found.policy[name] = value


class _Code(str):
    """Python that is no data."""


def _evaluated(value: Any) -> Any:
    """Return what Python code in a string is: dict(...), lists, numbers, activations by their names here."""
    if not isinstance(value, str):
        return value
    try:
        node = ast.parse(value.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise ValueError("no Python expression") from None
    return _data(node)


def _as_data(value: Any) -> Any:
    data = _evaluated(value)
    if _has_code(data):
        raise ValueError("Python code")
    return data


def _has_code(data: Any) -> bool:
    if isinstance(data, Mapping | list):
        return any(map(_has_code, data.values() if isinstance(data, Mapping) else data))
    return isinstance(data, _Code)


def _data(node: ast.expr) -> Any:
    match node:
        case ast.Call(func=ast.Name(id="dict"), args=[], keywords=keywords) if all(k.arg for k in keywords):
            return {str(keyword.arg): _data(keyword.value) for keyword in keywords}
        case ast.Attribute(value=ast.Name(id="nn"), attr=name) if name in _ACTIVATIONS:
            return _ACTIVATIONS[name]
        case ast.Dict(keys=keys, values=values) if all(isinstance(key, ast.Constant) for key in keys):
            pairs = zip(keys, values, strict=True)
            return {str(key.value): _data(value) for key, value in pairs if isinstance(key, ast.Constant)}
        case ast.List(elts=parts) | ast.Tuple(elts=parts):
            return [_data(part) for part in parts]
        case _:
            try:
                return ast.literal_eval(node)
            except ValueError:
                return _Code(ast.unparse(node))


def _wrapper(value: Any) -> Any:
    """Return a wrapper as autorl names it: `module:Class`."""
    if not isinstance(value, str) and not (isinstance(value, Mapping) and len(value) == 1):
        raise ValueError("no name of a wrapper, nor one with its arguments")
    name, arguments = (value, None) if isinstance(value, str) else next(iter(value.items()))
    module, dot, kind = str(name).rpartition(".")
    if not dot:
        raise ValueError(f"'{name}' names no module")
    return f"{module}:{kind}" if arguments is None else {f"{module}:{kind}": dict(arguments)}


def _whole(value: Any) -> Any:
    """Return a count as a whole number: rl-zoo3's files write `!!float 1e6`."""
    return int(value) if isinstance(value, float) and value.is_integer() and abs(value) >= 100 else value


def _search_around(found: Translation, algorithm: str) -> None:
    """Make the shipped search space of the algorithm the study's, with what the entry says as its defaults."""
    space = load_space(folder("search_spaces") / f"{algorithm}.yaml")
    found.parameters = space_to_dict(space)["parameters"]
    for entry in found.parameters.values():
        entry.pop("description", None)
    rate = found.fixed.get("learning_rate")
    if "lr_schedule" in found.parameters and isinstance(rate, str) and rate.startswith("lin_"):
        found.fixed |= {"learning_rate": float(rate.removeprefix("lin_")), "lr_schedule": "linear"}
    if str(found.policy.get("name", "")).startswith("Cnn") and algorithm in _BEHIND_IMAGES:
        found.policy.setdefault("net_arch", _BEHIND_IMAGES[algorithm])
    for parameter in space:
        given = found.policy if parameter.sets.startswith("policy.") else found.fixed
        key = parameter.sets.removeprefix("policy.")
        if key not in given:
            continue
        value = given[key]
        own = found.parameters[parameter.name]
        if isinstance(value, str) and "values" not in own:
            continue  # a word, such as `auto`, is what it is fixed to where the range is not active
        given.pop(key)
        own["default"] = value
        if "values" in own and not any(same(value, known) for known in own["values"]):
            own["values"] = [*own["values"], value]
            found.remark(parameter.name, "rl-zoo3's added")
        for switch, allowed in own.get("when", {}).items():
            # A number of rl-zoo3's is in use only if the switch of its parameter is on.
            on = allowed if isinstance(allowed, list) else [allowed]
            default = found.parameters[switch].get("default")
            if switch not in found.fixed and default is not None and not any(same(default, value) for value in on):
                found.parameters[switch]["default"] = on[0]
