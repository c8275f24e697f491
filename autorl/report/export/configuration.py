"""A trial as plain data, JSON or YAML: everything that its training was made of, no default left to be looked up."""

from __future__ import annotations

import dataclasses
import inspect
import json
import math
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from autorl.analysis import Estimate
from autorl.errors import ExportError
from autorl.ledger.records import TrialRecord
from autorl.report.export import header
from autorl.report.findings import Findings
from autorl.trial import Recipe


def as_json(findings: Findings, trial: TrialRecord) -> str:
    """Return the configuration as JSON."""
    return json.dumps({"origin": origin(findings, trial), **described(trial.recipe)}, indent=2) + "\n"


def as_yaml(findings: Findings, trial: TrialRecord) -> str:
    """Return the configuration as YAML, which YAML 1.1 and 1.2 read alike."""
    comment = "".join(f"# {line}\n" for line in header(findings, trial))
    return comment + dumped({"origin": origin(findings, trial), **described(trial.recipe)})


class Dumper(yaml.SafeDumper):
    """Writes floats so that PyYAML reads them as floats: `1.0e-05`, not `1e-05`; and everything in full, no aliases."""

    def ignore_aliases(self, data: Any) -> bool:
        """Write everything in full."""
        return True


def _float(dumper: yaml.SafeDumper, value: float) -> yaml.ScalarNode:
    text = repr(value)
    mantissa, mark, exponent = text.partition("e")
    if mark and "." not in mantissa:
        text = f"{mantissa}.0e{exponent}"
    return dumper.represent_scalar("tag:yaml.org,2002:float", text)


Dumper.add_representer(float, _float)


def dumped(data: Any, width: int = 100) -> str:
    """Return plain data as YAML."""
    return yaml.dump(data, Dumper=Dumper, sort_keys=False, width=width, allow_unicode=True)


def origin(findings: Findings, trial: TrialRecord) -> dict[str, Any]:
    """Return where a configuration comes from and what it is worth: `header` as data.

    `test` is the score on the test seeds with its interval, once each of them is trained in full; of trials that the
    study did not choose too, if somebody has tested them.
    """
    spec, number = findings.spec, trial.number
    return {
        "study": findings.study.name,
        "trial": number,
        "chosen": findings.winner is not None and findings.winner.number == number,
        "objective": findings.objective,
        "direction": spec.objective.direction,
        "tuning": {"value": trial.value, "seeds": list(spec.seeds.tuning)},
        "test": {**tested(findings, number), "seeds": list(spec.seeds.test)},
        "default_on_test": tested(findings, 0),
        "configuration": dict(trial.config.values),
        "versions": dict(findings.study.versions),
    }


def tested(findings: Findings, trial: int) -> dict[str, float | None]:
    """Return the score of a trial on the test seeds with its interval; all None while there is none."""
    found = findings.tested(trial)
    return (Estimate(math.nan, math.nan, math.nan) if found is None else found).to_dict()


def described(recipe: Recipe) -> dict[str, Any]:
    """Return what a recipe trains, with every default written out; of a schedule what its stages share, then these.

    Raises:
        ExportError: the environment cannot be made here, so its spaces are unknown.
    """
    lineage = recipe.lineage(recipe.env_steps)
    each = [_described(one) for one, _ in lineage]
    if len(each) == 1:
        return each[0]
    shared: dict[str, Any] = {}
    stages: list[dict[str, Any]] = [{"until": until} for _, until in lineage]
    for key in each[-1]:
        values = [one.get(key) for one in each]
        if all(value == values[0] for value in values):
            shared[key] = values[0]
        else:
            for stage, value in zip(stages, values, strict=True):
                stage[key] = value
    return {**shared, "stages": stages}


def _described(recipe: Recipe) -> dict[str, Any]:
    data: dict[str, Any] = plain(recipe.to_dict())
    data.pop("start")
    evaluation = {
        key: data.pop(f"evaluation_{key}" if key != "deterministic" else key)
        for key in ("points", "episodes", "deterministic")
    }
    if recipe.backend in ("sb3", "jax"):
        data |= _of_stable_baselines(recipe)
    elif recipe.backend == "llm":
        from autorl.training.llm.recipe import settings

        data["hyperparameters"] = dataclasses.asdict(settings(recipe.algorithm, recipe.hyperparameters))
    return {**data, "evaluation": evaluation}


def _of_stable_baselines(recipe: Recipe) -> dict[str, Any]:
    from autorl.report.export.sb3_arguments import OUTSIDE, resolve, spaces
    from autorl.training.sb3.algorithms import own_defaults

    args = resolve(recipe)
    defaults = {key: value for key, value in own_defaults(recipe.algorithm).items() if key not in OUTSIDE}
    found: dict[str, Any] = {
        "class": public_name(args.algorithm),
        "hyperparameters": plain({**defaults, **args.kwargs}),
        "policy": {"name": args.policy, **_policy(args, *spaces(recipe))},
        "n_envs": args.n_envs,
        "frame_stack": args.frame_stack,
        "normalize": None,
    }
    if args.normalize is not None:
        found["normalize"] = {"norm_obs_keys": None, **args.normalize}
    return found


def _policy(args: Any, observation_space: Any, action_space: Any) -> dict[str, Any]:
    """Return all arguments of a policy as it is when it has been made."""
    from autorl.report.export.sb3_arguments import made_policy

    policy = made_policy(args, observation_space, action_space)
    taken = inspect.signature(type(policy).__init__).parameters
    # The algorithm hands `use_sde` to its policy itself.
    outside = {"self", "observation_space", "action_space", "lr_schedule", "use_sde", "args", "kwargs"}
    names = [name for name in taken if name not in outside]
    values = {name: args.policy_kwargs.get(name, getattr(policy, name, taken[name].default)) for name in names}
    # What a policy has made of `net_arch` is known once it is made.
    if (made := getattr(policy, "net_arch", None)) is not None:
        values["net_arch"] = made
    return {name: plain(value) for name, value in values.items()}


def public_name(kind: type) -> str:
    """Return the shortest path from which a class is imported: `torch.optim.Adam`, not `torch.optim.adam.Adam`."""
    parts = kind.__module__.split(".")
    packages = [".".join(parts[:depth]) for depth in range(1, len(parts) + 1)]
    shortest = next((p for p in packages if getattr(sys.modules.get(p), kind.__name__, None) is kind), kind.__module__)
    return f"{shortest}.{kind.__qualname__}"


def plain(value: Any) -> Any:
    """Return an argument as data: a class by its name, a schedule and a noise by what they were made with.

    Raises:
        ExportError: it is none that can be written down.
    """
    if isinstance(value, Mapping):
        return {str(key): plain(inner) for key, inner in value.items()}
    if isinstance(value, str | bool | int | float | None):
        return value
    if isinstance(value, Sequence):
        return [plain(inner) for inner in value]
    if isinstance(value, type):
        return public_name(value)
    match type(value).__name__:
        case "LinearSchedule":
            ends = {"start": value.start, "end": value.end, "end_fraction": value.end_fraction}
            return {"schedule": "linear", **ends}
        case "NormalActionNoise" | "OrnsteinUhlenbeckActionNoise" as name:
            kind = "normal" if name == "NormalActionNoise" else "ornstein-uhlenbeck"
            return {"noise": kind, "mean": value._mu.tolist(), "std": value._sigma.tolist()}
    raise ExportError(f"{value!r} cannot be written as data")
