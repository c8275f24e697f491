"""What an episode is judged by besides its return: the cost of each step, and how far it satisfies a specification.

Nothing here knows autorl: see `sb3/plain.py`.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import gymnasium as gym
import numpy as np


def cost_function(source: str | Mapping[str, Mapping[str, Any]]) -> Callable[..., float]:
    """Return the function that computes the cost of a step.

    Args:
        source: `info` (its key `cost`), `info.KEY`, or `-info.KEY`, each with `> NUMBER` or `< NUMBER` behind it if the
            cost is 1 where that holds and 0 elsewhere; or `module:function`, or `{module:function: arguments}`, called
            as `function(observation, action, reward, terminated, truncated, info, **arguments)`.

    Raises:
        ValueError: it is none of these, or there is no such function.
    """
    name, arguments = next(iter(source.items())) if isinstance(source, Mapping) else (source, {})
    number = r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?"
    read = re.fullmatch(rf"(-?)info(?:\.([^\s<>:]+))?(?:\s*([<>])\s*({number}))?", name)
    if read is None or arguments:
        module, _, attribute = name.partition(":")
        if not (module and attribute):
            allowed = "info, info.KEY, -info.KEY, 'info.KEY > NUMBER', module:function"
            raise ValueError(f"'{name}' is no source of costs; allowed: {allowed}")
        try:
            return partial(getattr(importlib.import_module(module), attribute), **arguments)
        except (ImportError, AttributeError) as error:
            raise ValueError(f"no function '{name}' ({error})") from None
    minus, key, sign, bound = read.groups()
    key = key or "cost"

    def from_info(*step: Any) -> float:
        info = step[-1]
        if key not in info:
            has = ", ".join(sorted(map(str, info))) or "nothing"
            raise ValueError(f"the environment's info has no '{key}' to take the cost from; it has {has}")
        value = -float(info[key]) if minus else float(info[key])
        if sign is None:
            return value
        return float(value > float(bound) if sign == ">" else value < float(bound))

    return from_info


class CostSignal(gym.Wrapper):
    """Puts the cost of each step into its info, as `cost`.

    Args:
        env: the environment, wrapped.
        source: see `cost_function`.
    """

    def __init__(self, env: gym.Env, source: str | Mapping[str, Mapping[str, Any]]) -> None:
        super().__init__(env)
        self.cost = cost_function(source)

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Step, and compute the cost."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        cost = float(self.cost(observation, action, reward, terminated, truncated, info))
        return observation, reward, terminated, truncated, {**info, "cost": cost}


class Robustness(gym.Wrapper):
    """Puts the robustness of a formula of signal temporal logic into the info of an episode's last step.

    It is the formula's quantitative semantics in discrete time at the episode's first step (Donzé and Maler 2010,
    "Robust Satisfaction of Temporal Logic over Real-Valued Signals"): positive where the episode satisfies it, negative
    where it violates it. Sample `k` of a signal is of the `k`-th step, counted from 0: `action_i`, what was done;
    `observation_i`, what was seen after it; `reward`; and `cost`, if the environment is a `CostSignal`. Arrays are
    numbered as they are flattened; what is one whole number has no index.

    Args:
        env: the environment, wrapped.
        formula: in rtamt's language, such as `always(observation_0 <= 2.4)`; bounds of time are steps.

    Raises:
        ValueError: the formula cannot be read, or names a signal that there is not.
    """

    def __init__(self, env: gym.Env, formula: str) -> None:
        import rtamt
        from antlr4 import InputStream
        from rtamt.antlr.parser.stl.LtlLexer import LtlLexer  # which its parser of STL uses

        super().__init__(env)
        self.formula = formula
        lexer = LtlLexer(InputStream(formula))
        lexer.removeErrorListeners()  # the parser says it again
        named = {token.text for token in lexer.getAllTokens() if token.type == LtlLexer.Identifier}
        signals = self._signals()
        if unknown := sorted(named - signals.keys()):
            known = list(signals) if len(signals) <= 20 else [*list(signals)[:10], "…", *list(signals)[-10:]]
            raise ValueError(f"unknown signal '{unknown[0]}'; this task has {', '.join(known)}")
        self.signals = {name: signals[name] for name in named}
        self.specification = rtamt.StlDiscreteTimeOfflineSpecification()
        for name in named:
            self.specification.declare_var(name, "float")
        self.specification.spec = formula
        try:
            self.specification.parse()
        except Exception as error:  # noqa: BLE001 - whatever the parser says, the user should read it
            raise ValueError(f"'{formula}': {' '.join(str(error).removeprefix('RTAMT Exception:').split())}") from None
        if not named:
            raise ValueError(f"'{formula}' names no signal")
        self.trace: dict[str, list[float]] = {}

    def _signals(self) -> dict[str, Callable[..., float]]:
        """Return, by name, how the value of each signal is read off a step."""

        def part(value: Any, index: int) -> float:
            return float(np.ravel(value)[index])

        found: dict[str, Callable[..., float]] = {}
        spaces = ("observation", self.observation_space), ("action", self.action_space)
        for place, (name, space) in enumerate(spaces):
            size = int(np.prod(space.shape)) if space.shape is not None else 0  # a dictionary has no shape
            names = [name] if space.shape == () else [f"{name}_{index}" for index in range(size)]
            for index, each in enumerate(names):
                found[each] = lambda *step, place=place, index=index: part(step[place], index)
        found["reward"] = lambda *step: float(step[2])
        if isinstance(self.env, CostSignal):
            found["cost"] = lambda *step: float(step[3]["cost"])
        return found

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Begin an episode."""
        self.trace = {name: [] for name in self.signals}
        return self.env.reset(seed=seed, options=options)

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Step, and measure the episode when it is over."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        for name, signal in self.signals.items():
            self.trace[name].append(signal(observation, action, reward, info))
        if terminated or truncated:
            info = {**info, "robustness": self.robustness(self.trace)}
        return observation, reward, terminated, truncated, info

    def robustness(self, trace: Mapping[str, list[float]]) -> float:
        """Return the robustness of an episode.

        Args:
            trace: signal → its value at each step.

        Raises:
            ValueError: it has none, since a bounded operator looks at no step of so short an episode.
        """
        steps = len(next(iter(trace.values())))
        # rtamt needs two samples: an episode of one step stays where it is for another.
        data = {name: values if steps > 1 else values * 2 for name, values in trace.items()}
        try:
            value = float(self.specification.evaluate({"time": list(range(max(steps, 2))), **data})[0][1])
        except Exception as error:
            raise ValueError(f"'{self.formula}' cannot be evaluated: {type(error).__name__}: {error}") from error
        if np.isinf(value):
            raise ValueError(f"'{self.formula}' looks at no step of an episode of {steps}: its times lie outside")
        return value


def measured(env: gym.Env, cost: str | Mapping[str, Mapping[str, Any]] | None, specification: str | None) -> gym.Env:
    """Return an environment whose infos have everything that is measured.

    Args:
        env: an environment.
        cost: see `cost_function`; None if there is none.
        specification: see `Robustness`; None if there is none.
    """
    if cost is not None:
        env = CostSignal(env, cost)
    return env if specification is None else Robustness(env, specification)


def measured_keys(cost: object, specification: object) -> list[str]:
    """Return what `measured` puts into the infos of an episode's steps, to be added up."""
    return [key for key, source in (("cost", cost), ("robustness", specification)) if source is not None]
