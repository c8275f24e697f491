"""One run: an agent trained in one call, its front evaluated at points of its training."""

from __future__ import annotations

import contextlib
import io
import traceback
import warnings
from dataclasses import asdict
from typing import Any

import numpy as np
import torch

from autorl.training.meter import Meter
from autorl.training.morl.algorithms import Agent, BaselinesAgent
from autorl.training.morl.episodes import Clock, Tally, evaluated_front, generators, known_front, make, objectives
from autorl.training.morl.indicators import measure
from autorl.training.morl.scalarized import PREFIX, ScalarizedAgent
from autorl.training.protocol import Host, Interrupted, Job, out_of_memory
from autorl.training.tasks import random_streams
from autorl.trial import FailureClass, Point, Recipe, RunResult


class _Over(Exception):
    """Raised before the step after the last to leave the algorithm's training loop."""


def split(recipe: Recipe, count: int) -> tuple[dict[str, Any], np.ndarray[Any, Any], float]:
    """Return the algorithm's hyperparameters, the reference point and the discount of the returns.

    Args:
        recipe: the run's.
        count: how many objectives there are.

    Raises:
        ValueError: the reference point has another number of values.
    """
    given = dict(recipe.hyperparameters)
    ref_point, gamma = np.array(given.get("ref_point") or [], float), float(given.pop("eval_gamma", 1.0))
    if ref_point.shape != (count,):
        raise ValueError(f"ref_point {given.get('ref_point')!r} must have {count} numbers, one for each objective")
    return given, ref_point, gamma


def make_agent(recipe: Recipe, env: Clock, own_env: Any, seed: int) -> Agent:
    """Make the agent of a recipe; the global generators are to be seeded before."""
    given, _, _ = split(recipe, objectives(env) or 0)
    if recipe.algorithm.startswith(PREFIX):
        del given["ref_point"]
        return ScalarizedAgent(recipe, given, env, seed)
    return BaselinesAgent(recipe.algorithm, given, env, own_env, seed)


class Training:
    """The training of one job."""

    def __init__(self, job: Job, host: Host) -> None:
        self._job, self._host = job, host
        self._recipe = recipe = job.recipe
        self._points = recipe.points
        self._curve: list[Point] = []
        self._meter = Meter()
        self._env: Clock | None = None
        self._agent: Agent | None = None

    def result(self) -> RunResult:
        """Train; a failure is a result too."""
        # morl-baselines prints what it does, and spaces warn of their precision whenever they are made.
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            try:
                self._train()
            except Interrupted:
                raise
            except Exception as error:  # noqa: BLE001 - environments and wrappers are the user's code
                return self._failed(error)
        return self._ended("completed")

    def _train(self) -> None:
        recipe, until = self._recipe, self._job.until
        if recipe.start is not None:
            raise ValueError("backend morl cannot go on from another run's agent; use an optimizer that forks none")
        network, environment, self._seeds = random_streams(self._job.seed, recipe.evaluation_points)
        with contextlib.ExitStack() as stack:
            made = [make(recipe.env, recipe.env_kwargs, recipe.wrappers) for _ in range(3)]
            for index, each in enumerate(made):
                stack.callback(each.close)
                each.reset(seed=environment + index)
                each.action_space.seed(environment + index)
            self._env = Clock(made[0], self._before_step)
            _, self._ref_point, gamma = split(recipe, objectives(made[0]) or 0)
            self._eval_env, self._known = Tally(made[2], gamma), known_front(made[0], gamma)
            stack.enter_context(generators(network))
            self._agent = make_agent(recipe, self._env, made[1], network)
            with contextlib.suppress(_Over):
                self._agent.train(recipe.env_steps)
                self._before_step(self._env.env_steps)
        if self._env.env_steps < until:
            raise RuntimeError(f"{recipe.algorithm} ended its training after {self._env.env_steps} steps of {until}")

    def _before_step(self, env_steps: int) -> None:
        self._pulse()
        while len(self._curve) < len(self._points) and self._points[len(self._curve)] <= env_steps:
            self._evaluate(env_steps)
        if env_steps >= self._job.until:
            raise _Over

    def _pulse(self) -> None:
        assert self._env is not None
        if self._host.stopping():
            raise Interrupted  # the run is trained anew, to the same curve
        self._host.alive(self._env.env_steps)

    def _evaluate(self, env_steps: int) -> None:
        """Evaluate the agent's front, leaving the generators that training draws from as they are."""
        assert self._agent is not None
        assert self._env is not None
        actions = self._env.action_space.np_random.bit_generator
        state, seed = actions.state, self._seeds[len(self._curve)]
        with generators(seed):
            policies = self._agent.policies()
            front = evaluated_front(policies, self._eval_env, seed, self._recipe.evaluation_episodes, self._pulse)
        actions.state = state
        if self._broken():
            raise FloatingPointError(f"after {env_steps} steps parameters of the agent are not finite")
        metrics = measure(front, self._ref_point, self._known)
        members = tuple(tuple(map(float, point)) for point in front)
        point = Point(env_steps, self._meter.spent().wall_seconds, metrics, front=members)
        self._curve.append(point)
        self._host.evaluated(point)

    def _broken(self) -> bool:
        networks = self._agent.networks() if self._agent is not None else ()
        return any(not bool(torch.isfinite(p).all()) for network in networks for p in network.parameters())

    def _failed(self, error: Exception) -> RunResult:
        kind: FailureClass = "exception"
        if isinstance(error, FloatingPointError) or self._broken():
            kind = "diverged"
        elif out_of_memory(error):
            kind = "out_of_memory"
        return self._ended("failed", error_class=kind, error="".join(traceback.format_exception(error)))

    def _ended(self, status: Any, **rest: Any) -> RunResult:
        steps = self._env.env_steps if self._env is not None else 0
        return RunResult(status, tuple(self._curve), steps, **asdict(self._meter.spent()), **rest)
