"""What a study searched, for other tools: ConfigSpace's JSON with the winner as default, and a sweep of W&B."""

from __future__ import annotations

import json
import math
from collections import Counter
from typing import Any

import yaml

from autorl.ledger.records import TrialRecord
from autorl.report.export import comment, header
from autorl.report.export.configuration import Dumper, dumped, origin
from autorl.report.findings import Findings
from autorl.report.words import setting
from autorl.spec.space import Choice, Numeric, Parameter

# Points of a range that W&B has no distribution for.
_POINTS = 33
# Values that a range is written out in where W&B would step through others.
_MOST = 100


def configspace(findings: Findings, trial: TrialRecord) -> str:
    """Return the search space in ConfigSpace's JSON, in search coordinates, with the trial as default.

    What the trial has outside of the space cannot be its default; the file lists it as `outside`.
    """
    from autorl.spec.configspace import to_configspace

    values = trial.config.values
    space = findings.spec.space
    made = to_configspace(space, findings.study.name, values)
    # ConfigSpace does not write the space's own `meta`; keys that it does not know it leaves alone.
    beyond = {p.name: values[p.name] for p in space if p.name in values and not p.expresses(values[p.name])}
    more = {"origin": origin(findings, trial), **({"outside": beyond} if beyond else {})}
    return json.dumps(made.to_serialized_dict() | more, indent=2) + "\n"


def sweep(findings: Findings, trial: TrialRecord) -> str:
    """Return the search space as a sweep of Weights & Biases; what the trial has stands behind each parameter.

    W&B's space is flat, and its numbers are the values that are used: what is searched under a condition or on a scale
    that it does not have says so in a comment.
    """
    spec = findings.spec
    policy = {f"policy.{key}": value for key, value in spec.policy.model_dump(exclude_none=True).items()}
    of_env = {f"task.env_kwargs.{key}": value for key, value in spec.task.env_kwargs.items()}
    searched = Counter(p.sets for p in spec.space)
    fixed = {key: value for key, value in (spec.algorithm.fixed | policy | of_env).items() if key not in searched}
    goal = spec.objective.direction
    head: dict[str, Any] = {
        "program": "train.py",
        "method": "bayes",
        "metric": {"name": spec.objective.metric, "goal": goal},
    }
    lines = [f"# {line}" for line in header(findings, trial)]
    wrapped = f", wrapped in {', '.join(map(setting, spec.task.wrappers))}" if spec.task.wrappers else ""
    task = f"{spec.algorithm.name} on {spec.task.env}{wrapped}"
    about = f"program: your training script of {task}, which takes the parameters and logs the metric."
    lines += [f"# {comment(about)}"]
    lines += [dumped(head).rstrip()]
    lines.append("parameters:")
    chosen = trial.config.values
    for parameter in spec.space:
        entry, remark = _entry(parameter)
        if parameter.when:
            told = [f"{name} is {' or '.join(setting(v) for v in allowed)}" for name, allowed in parameter.when]
            remark = "; ".join(
                [f"only where {' and '.join(told)}, which W&B cannot say", *([remark] if remark else [])]
            )
        lines += [f"  # {comment(remark)}"] if remark else []
        said = f"trial {trial.number}: {setting(chosen[parameter.name])}" if parameter.name in chosen else ""
        # What it sets is what the training script knows; where conditions let several set it, W&B needs several names.
        key = parameter.sets if searched[parameter.sets] == 1 else parameter.name
        lines.append(f"  {_flow({key: entry})}" + (f"  # {comment(said)}" if said else ""))
    lines += [f"  {_flow({key: {'value': value}})}" for key, value in fixed.items()]
    return "\n".join(lines) + "\n"


def _flow(entry: dict[str, Any]) -> str:
    """Return a mapping of one key on one line."""
    ((key, value),) = entry.items()
    shown = yaml.dump(value, Dumper=Dumper, default_flow_style=True, sort_keys=False, width=1_000_000).strip()
    return f"{key}: {shown}"


def _entry(parameter: Parameter) -> tuple[dict[str, Any], str]:
    """Return W&B's words for a parameter, and what they leave unsaid."""
    domain = parameter.domain
    if isinstance(domain, Choice):
        return {"values": list(domain.values)}, ""
    ends = sorted((parameter.value(domain.low), parameter.value(domain.high)))
    low, high = ends
    if parameter.transform == "power_of_two":
        powers = range(int(domain.low), int(domain.high) + 1, int(domain.step or 1))
        return {"values": [parameter.value(power) for power in powers]}, ""
    if parameter.transform == "one_minus" and domain.log:
        ratio = domain.high / domain.low
        points = [domain.low * ratio ** (k / (_POINTS - 1)) for k in range(_POINTS)]
        found = [parameter.value(min(point, domain.high)) for point in points]
        remark = f"{_POINTS} points, evenly spread over log(1 - {parameter.sets}), of which W&B has no distribution"
        return {"values": sorted(found)}, remark
    bounds = {"min": low, "max": high}
    if domain.integer:
        if domain.log:
            return {"distribution": "q_log_uniform_values", "q": 1, **bounds}, ""
        if (domain.step or 1) == 1:
            return {"distribution": "int_uniform", **bounds}, ""
        return _stepped(parameter, domain)
    if domain.step is not None:
        return _stepped(parameter, domain)
    return {"distribution": "log_uniform_values" if domain.log else "uniform", **bounds}, ""


def _stepped(parameter: Parameter, domain: Numeric) -> tuple[dict[str, Any], str]:
    """Return W&B's words for a range in steps, which W&B counts from 0 and a study from the minimum."""
    step = domain.step or 1
    low, high = sorted((parameter.value(domain.low), parameter.value(domain.high)))
    if math.isclose(low / step, round(low / step), abs_tol=1e-9):
        return {"distribution": "q_uniform", "q": step, "min": low, "max": high}, ""
    count = math.floor((domain.high - domain.low) / step + 1e-9) + 1
    if count > _MOST:
        found = {"distribution": "uniform", "min": low, "max": high}
        return found, f"without its steps of {step}, which begin at {low}"
    return {"values": sorted(parameter.value(round(domain.low + k * step, 12)) for k in range(count))}, ""
