"""Sweeps of Weights & Biases (https://docs.wandb.ai/guides/sweeps) as search spaces."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from autorl.errors import Problem, SpecError
from autorl.spec.foreign.reading import Foreign, read
from autorl.spec.foreign.translation import Translation
from autorl.spec.space import Choice, same
from autorl.spec.yaml12 import Key, inline

_NO_PART = "no part of a search space"
# Standard deviations of a normal distribution that its range becomes.
_WIDTH = 3.0


class _Untold(Exception):
    """A parameter that has no counterpart, with the reason."""


def translate(path: Path) -> Translation:
    """Translate a sweep.

    Raises:
        SpecError: the file is no sweep.
    """
    file = read(path)
    parameters = file.data.get("parameters")
    if not isinstance(parameters, Mapping):
        raise SpecError([Problem(file.place(()), "", "no sweep of Weights & Biases: it has no 'parameters'")])
    found = Translation(f"the sweep {path.name}")
    for key, value in file.data.items():
        if key != "parameters":
            found.lose(file.place((key,)), str(key), value, _NO_PART)
    _take(found, file, parameters, ("parameters",), "")
    return found


def _take(found: Translation, file: Foreign, parameters: Mapping[str, Any], at: Key, prefix: str) -> None:
    for key, entry in parameters.items():
        path, full = (*at, str(key)), f"{prefix}{key}"
        if isinstance(entry, Mapping) and isinstance(entry.get("parameters"), Mapping):
            _take(found, file, entry["parameters"], (*path, "parameters"), f"{full}.")
            continue
        try:
            if not isinstance(entry, Mapping):
                raise _Untold("not a mapping")
            translated, remark = _entry(entry)
        except (_Untold, KeyError, TypeError, ValueError, OverflowError) as error:
            why = f"'{error.args[0]}' is missing" if isinstance(error, KeyError) else str(error)
            found.lose(file.place(path), full, entry, why)
            continue
        name = found.name(full)
        if name is None:
            found.lose(file.place(path), full, entry, "its name is taken, or is none")
            continue
        found.parameters[name] = translated
        if remark:
            found.remark(name, remark)


def _entry(entry: Mapping[str, Any]) -> tuple[dict[str, Any], str]:
    """Return the entry of a search space for a parameter of a sweep, and what it does not say."""
    kind = entry.get("distribution") or _kind(entry)
    if kind not in _KINDS:
        raise _Untold(f"the distribution {kind} has no counterpart")
    if {"min", "max"} <= entry.keys() and not float(entry["min"]) <= float(entry["max"]):
        raise _Untold("its minimum is above its maximum")
    return _KINDS[kind](entry)


def _kind(entry: Mapping[str, Any]) -> str:
    """Return the distribution of a parameter that names none, as W&B infers it."""
    if "value" in entry:
        return "constant"
    if "values" in entry:
        return "categorical_w_probabilities" if "probabilities" in entry else "categorical"
    whole = all(isinstance(entry.get(end), int) for end in ("min", "max"))
    return "int_uniform" if whole else "uniform"


def _constant(entry: Mapping[str, Any]) -> tuple[dict[str, Any], str]:
    return {"values": [entry["value"]]}, ""


def _categorical(entry: Mapping[str, Any]) -> tuple[dict[str, Any], str]:
    values = entry["values"]
    if not isinstance(values, list) or not values:
        raise _Untold("no list of values")
    kept: dict[Any, Any] = {}
    for value, label in zip(values, Choice(tuple(values)).labels, strict=True):
        if not any(same(value, known) for known in kept.values()):
            kept.setdefault(label, value)
    lost = [value for value in values if not any(same(value, known) for known in kept.values())]
    remark = f"without {inline(lost)[1:-1]}, which cannot be told apart from another choice" if lost else ""
    return {"values": [*kept.values()]}, remark


def _weighted(entry: Mapping[str, Any]) -> tuple[dict[str, Any], str]:
    found, remark = _categorical(entry)
    return found, "; ".join(filter(None, (remark, f"without its probabilities {entry['probabilities']}")))


def _range(low: float, high: float, *, log: bool = False, step: float | None = None) -> tuple[dict[str, Any], str]:
    if low == high:
        return {"values": [low]}, ""
    if log and not low > 0:
        raise _Untold(f"a logarithmic scale needs a minimum above 0, not {low}")
    remark, found = "", {"min": low, "max": high}
    if step is not None and log and step != 1:
        remark = f"without its steps of {step}, which a logarithmic scale has not"
    elif step is not None and not log and step != 1:
        steps = math.floor((high - low) / step + 1e-9)
        found |= {"max": round(low + steps * step, 12) if steps * step != high - low else high, "step": step}
    return found | ({"log": True} if log else {}), remark


def _whole(entry: Mapping[str, Any]) -> tuple[dict[str, Any], str]:
    low, high = (entry[end] for end in ("min", "max"))
    if low != int(low) or high != int(high):
        raise _Untold("whole numbers are meant")
    return _range(int(low), int(high))


def _uniform(entry: Mapping[str, Any]) -> tuple[dict[str, Any], str]:
    return _range(float(entry["min"]), float(entry["max"]))


def _step(entry: Mapping[str, Any]) -> Any:
    step = entry.get("q", 1)
    if not step > 0:
        raise _Untold(f"steps of {step} lead nowhere")
    return step


def _quantized(entry: Mapping[str, Any]) -> tuple[dict[str, Any], str]:
    low, high, step = entry["min"], entry["max"], _step(entry)
    # Steps are counted from the minimum here, and from 0 there.
    low = step * math.ceil(low / step - 1e-9)
    if round(float(low), 12) > high:
        raise _Untold(f"no multiple of {step} lies between them")
    if all(value == int(value) for value in (low, high, step)):
        return _range(int(low), int(high), step=int(step))
    found, remark = _range(round(float(low), 12), float(high), step=float(step))
    return found | ({"step": float(step)} if "values" not in found else {}), remark


def _logarithmic(entry: Mapping[str, Any]) -> tuple[dict[str, Any], str]:
    return _range(float(entry["min"]), float(entry["max"]), log=True)


def _logarithmic_quantized(entry: Mapping[str, Any]) -> tuple[dict[str, Any], str]:
    low, high, step = float(entry["min"]), float(entry["max"]), _step(entry)
    if step != int(step):
        return _range(low, high, log=True, step=step)
    # Whole numbers, lest a batch have half a row.
    first, last = max(1, math.ceil(low / step - 1e-9)) * int(step), math.floor(high / step + 1e-9) * int(step)
    return _range(first, max(first, last), log=True, step=int(step))


def _exponents(entry: Mapping[str, Any], sign: int = 1) -> dict[str, Any]:
    """Return the values of a distribution whose ends are natural logarithms."""
    ends = sorted(math.exp(sign * float(entry[end])) for end in ("min", "max"))
    return {**entry, "min": ends[0], "max": ends[1]}


def _normal(entry: Mapping[str, Any]) -> tuple[dict[str, Any], str]:
    mean, std = float(entry.get("mu", 0.0)), float(entry.get("sigma", 1.0))
    if not std > 0:
        return {"values": [mean]}, ""
    found = {"min": mean - _WIDTH * std, "max": mean + _WIDTH * std, "prior": {"mean": mean, "std": std}}
    return found, f"a normal distribution, cut off at {_WIDTH:g} standard deviations"


def _log_normal(entry: Mapping[str, Any]) -> tuple[dict[str, Any], str]:
    mean, std = float(entry.get("mu", 0.0)), float(entry.get("sigma", 1.0))
    if not std > 0:
        return {"values": [math.exp(mean)]}, ""
    found = {"min": math.exp(mean - _WIDTH * std), "max": math.exp(mean + _WIDTH * std), "log": True}
    # The prior's deviation is in powers of ten.
    prior = {"mean": math.exp(mean), "std": std / math.log(10)}
    return {**found, "prior": prior}, f"a log-normal distribution, cut off at {_WIDTH:g} standard deviations"


def _unquantized(
    kind: Callable[[Mapping[str, Any]], tuple[dict[str, Any], str]],
) -> Callable[[Mapping[str, Any]], tuple[dict[str, Any], str]]:
    def translated(entry: Mapping[str, Any]) -> tuple[dict[str, Any], str]:
        found, remark = kind(entry)
        return found, f"{remark}; without its steps of {entry.get('q', 1)}"

    return translated


_KINDS: Mapping[str, Callable[[Mapping[str, Any]], tuple[dict[str, Any], str]]] = {
    "constant": _constant,
    "categorical": _categorical,
    "categorical_w_probabilities": _weighted,
    "int_uniform": _whole,
    "uniform": _uniform,
    "q_uniform": _quantized,
    "log_uniform": lambda entry: _logarithmic(_exponents(entry)),
    "log_uniform_values": _logarithmic,
    "q_log_uniform": lambda entry: _logarithmic_quantized(_exponents(entry)),
    "q_log_uniform_values": _logarithmic_quantized,
    # The reciprocal of a log-uniform number is log-uniform.
    "inv_log_uniform": lambda entry: _logarithmic(_exponents(entry, -1)),
    "inv_log_uniform_values": _logarithmic,
    "normal": _normal,
    "q_normal": _unquantized(_normal),
    "log_normal": _log_normal,
    "q_log_normal": _unquantized(_log_normal),
}
