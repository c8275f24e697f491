"""The engines `host` and `envpool`: environments stepped outside of the program that learns, all lanes a call.

Python steps Gymnasium's, or envpool its own.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Mapping, Sequence
from functools import partial
from operator import itemgetter
from typing import Any

import gymnasium as gym
import jax
import jax.numpy as jnp
import numpy as np

from autorl.training.curriculum.lessons import Lessons, OnTarget, TaskEnv, Taught
from autorl.training.jax import distributions, lanes, normalize, rollouts, transitions
from autorl.training.jax.acting import HostPolicy
from autorl.training.jax.compiled import Lane, loop_of
from autorl.training.jax.lanes import Lanes, Shape
from autorl.training.jax.normalize import Normalization, Scaling
from autorl.training.jax.off_policy import Batch
from autorl.training.jax.on_policy import Numbers, OnPolicy
from autorl.training.jax.pools import Pool
from autorl.training.jax.transitions import Replay
from autorl.training.jax.vector import Counted, Environments, trained_in
from autorl.training.replay import FRESH
from autorl.training.signals import measured, measured_keys
from autorl.training.tasks import make_env
from autorl.trial import Recipe

Array = jax.Array


class Hosted:
    """A batch of runs; see `protocol.Engine`. How it goes on, its algorithms say.

    Args:
        recipes: of the runs; those of one batch differ in numbers and in their curricula alone.
        batch: the runs.
        lessons: of each run, or none if the task does not vary.
        states: what `save` returned of each run, or None to begin.
        pooled: whether envpool steps the environments that are trained in; evaluations are always Gymnasium's.
    """

    def __init__(
        self,
        recipes: Sequence[Recipe],
        batch: Lanes,
        lessons: Sequence[Lessons],
        states: Sequence[Mapping[str, Any]] | None,
        *,
        pooled: bool,
    ) -> None:
        recipe = recipes[0]
        self._recipes, self._recipe, self._batch, self._lessons, self._times = recipes, recipe, batch, lessons, 0
        shape = batch.shape
        self._program: dict[str, Any] = {"shape": shape, "scaling": batch.scaling}
        sizes = batch.runs, batch.lanes
        asked = recipe.cost, recipe.specification
        self._envs: Environments | Pool
        if pooled:
            self._envs = Pool(recipe.env, *sizes, shape.n_envs, shape.features)
        else:
            self._envs = Environments(self._to_train_in, *sizes, shape.n_envs, shape.features)
        self._judge = Environments(
            self._to_judge_in, *sizes, recipe.evaluation_episodes, shape.features, measured_keys(*asked)
        )
        self.errors, self.notes = self._envs.errors, dict[int, str]()
        self._records: list[deque[dict[str, Any]]] = [deque() for _ in lessons]  # of points not yet evaluated
        self._begun_anew: list[int] = []  # runs whose environments are elsewhere than their last observations say
        if states is None:
            self._envs.reset([each.environment for each in batch.streams])
        seen = jnp.array(self._envs.observations)  # a copy: JAX may read what it is given later
        self._lanes: Lane = _begin(batch.networks(), seen, batch.numbers, **self._program)
        if states is not None:
            self._lanes = batch.restored(self._lanes, [state["lane"] for state in states])
            self._times = int(states[0]["times"])
            for run, state in enumerate(states):
                if lessons:
                    self._go_on_teaching(run, json.loads(state["lessons"]))
            exact = self._envs.replay([state["episodes"] for state in states])
            self._begun_anew = [run for run, same in enumerate(exact) if not same]
            self.notes |= dict.fromkeys(self._begun_anew, FRESH)

    def _to_train_in(self, run: int) -> gym.Env[Any, Any]:
        """Make an environment that a run is trained in."""
        env = self._make(run)
        return Taught(trained_in(Counted(env)), self._lessons[run]) if self._lessons else trained_in(env)

    def _to_judge_in(self, run: int) -> gym.Env[Any, Any]:
        """Make an environment that a run is evaluated in."""
        env = measured(self._make(run), self._recipe.cost, self._recipe.specification)
        return OnTarget(env, self._lessons[run].space) if self._lessons else env

    def _make(self, run: int) -> gym.Env[Any, Any]:
        made_of = self._recipe.env, self._recipe.env_kwargs, self._recipe.wrappers
        return TaskEnv(*made_of, self._lessons[run].space) if self._lessons else make_env(*made_of)

    def _go_on_teaching(self, run: int, stored: Mapping[str, Any]) -> None:
        """Take up the teacher of a run, or of its donor if it is the same."""
        if stored["curriculum"] == self._recipes[run].curriculum:
            self._lessons[run].restore(stored["state"])
        else:
            self._lessons[run].go_on(stored["state"], taught=False)

    @property
    def unit(self) -> int:
        """Environment steps between two times of learning."""
        return self._batch.shape.steps

    @property
    def env_steps(self) -> int:
        """Environment steps of each run so far."""
        return self._times * self.unit

    def advance(self, times: int) -> None:
        """Go on so many times, having learned from each before."""
        for _ in range(times):
            if self._times:
                self.close()
            self._go()
            self._times += 1

    def close(self) -> None:
        """Learn from the last experience."""
        raise NotImplementedError

    def _go(self) -> None:
        """Act until it is time to learn."""
        raise NotImplementedError

    def evaluate(self, point: int) -> list[dict[str, float]]:
        """Play the episodes of an evaluation with each run's policy."""
        envs, runs = self._judge, self._batch.runs
        envs.errors.clear()
        envs.errors.update(self.errors)
        envs.reset([each.evaluations[point] for each in self._batch.streams])
        playing = np.zeros(envs.rewards.shape, bool)
        playing[:runs] = True
        returns, lengths = (np.zeros(playing.shape) for _ in range(2))
        sums = {key: np.zeros(playing.shape) for key in envs.signals}
        keys, time, how = self._batch.evaluations(point), 0, {"deterministic": self._recipe.deterministic}
        while playing.any():
            actions = np.asarray(_choose(self._lanes, envs.observations, keys, time, **how, **self._program))
            envs.step(actions, playing)
            returns += playing * envs.rewards
            lengths += playing
            for key, values in envs.signals.items():
                sums[key] += playing * values
            playing &= ~envs.dones
            playing[list(envs.errors)] = False
            time += 1
        self.errors.update(envs.errors)
        found = [
            {"return": float(r.mean()), "return_std": float(r.std()), "length": float(n.mean())}
            for r, n in zip(returns[:runs], lengths, strict=False)
        ]
        for key, totals in sums.items():
            for metrics, total in zip(found, totals, strict=False):
                metrics |= {key: float(total.mean()), f"{key}_std": float(total.std())}
        return found

    def finite(self) -> list[bool]:
        """Say of each run whether what it has learned is finite."""
        return [bool(ok) for ok in np.asarray(lanes.finite(self._lanes.learner))[: self._batch.runs]]

    def save(self, run: int) -> dict[str, Any]:
        """Return the state of a run as plain data and arrays."""
        lane = lanes.written(self._lanes, run)
        state = {"lane": lane, "times": self._times, "episodes": self._envs.episodes(run)}
        if self._lessons:
            taught = {"curriculum": self._recipes[run].curriculum, "state": self._lessons[run].state()}
            state["lessons"] = json.dumps(taught)
        return state

    def record(self, run: int) -> dict[str, Any] | None:
        """Return what was trained from the point before to this one, or None if nothing varies."""
        if not self._lessons:
            return None
        return self._records[run].popleft() if self._records[run] else self._lessons[run].record()

    def _stepped(self, times: int) -> None:
        """Take note of what was taught where a point lies within the experience between two times of learning.

        Args:
            times: steps of each environment since it was last learned.
        """
        wide = self._batch.shape.n_envs
        now = self.env_steps + times * wide
        if self._lessons and any(now - wide < point <= now for point in self._recipe.points[:-1]):
            for lessons, records in zip(self._lessons, self._records, strict=True):
                records.append(lessons.record())


class HostedRollouts(Hosted):
    """PPO and A2C."""

    def close(self) -> None:
        """Learn from the last rollout."""
        progress = jnp.asarray(1.0 - self.env_steps / self._recipe.env_steps, jnp.float32)
        runs = jnp.asarray(self._batch.runs, jnp.int32)
        self._lanes = _learn_rollout(self._lanes, self._batch.numbers, progress, runs, shape=self._batch.shape)

    def _go(self) -> None:
        shape, envs, scaling = self._batch.shape, self._envs, self._batch.scaling
        assert isinstance(self._lanes, rollouts.Lane) and isinstance(shape, OnPolicy)
        keys, drawn = _draw(self._lanes.key, shape=shape)
        noise, policy = np.asarray(drawn), HostPolicy(self._lanes.learner.policy, shape)
        normalization, seen = self._lanes.normalization, np.array(self._lanes.rollout.last)
        while self._begun_anew:
            run = self._begun_anew.pop()
            seen[run] = envs.observations[run]
            if scaling is not None:
                assert normalization is not None
                moments = jax.tree.map(itemgetter(run), normalization.observations)
                seen[run] = normalize.normalize(moments, envs.observations[run], scaling)
        rollout = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), self._lanes.rollout)
        for t in range(shape.n_steps):
            actions = policy.act(seen, noise[:, t])
            rollout.observations[:, t], rollout.actions[:, t] = seen, actions
            envs.step(distributions.playable_numpy(actions, shape.space))
            self._stepped(t + 1)
            seen, rewards, finals = envs.observations, envs.rewards, envs.finals
            if scaling is not None:
                found = _see(normalization, seen, rewards, finals, envs.dones, self._batch.numbers, scaling=scaling)
                normalization, (seen, rewards, finals) = found[0], map(np.asarray, found[1:])
            rollout.rewards[:, t], rollout.finals[:, t] = rewards, finals
            rollout.dones[:, t], rollout.truncated[:, t] = envs.dones, envs.truncated
        rollout.last[:] = seen
        self._lanes = self._lanes._replace(
            normalization=normalization, key=keys, rollout=jax.tree.map(jnp.asarray, rollout)
        )


class HostedTransitions(Hosted):
    """DQN, SAC and TD3."""

    def close(self) -> None:
        """Take the gradient steps that are due."""
        count, steps = self._count(0), jnp.asarray(self._recipe.env_steps, jnp.float32)
        self._lanes = _learn_transitions(self._lanes, self._batch.numbers, count, steps, **self._program)

    def _go(self) -> None:
        shape, envs, numbers = self._batch.shape, self._envs, self._batch.numbers
        assert isinstance(shape, Replay) and isinstance(self._lanes, transitions.Lane)
        while self._begun_anew:
            run = self._begun_anew.pop()
            seen = self._lanes.observations.at[run].set(envs.observations[run])
            self._lanes = self._lanes._replace(observations=seen)
        for offset in range(shape.train_freq):
            count, before = self._count(offset), jnp.array(envs.observations)
            progress = jnp.asarray(1.0 - (self.env_steps + offset * shape.n_envs) / self._recipe.env_steps, jnp.float32)
            keys, actions, played = _explore(self._lanes, numbers, count, progress, **self._program)
            envs.step(np.asarray(played))
            self._stepped(offset + 1)
            following = np.where(envs.dones[..., None], envs.finals, envs.observations)
            over = np.asarray(envs.dones & ~envs.truncated, np.float32)
            transition = Batch(before, actions, jnp.array(envs.rewards), jnp.asarray(over), jnp.asarray(following))
            seen, ended = jnp.array(envs.observations), jnp.array(envs.dones)
            lane = self._lanes._replace(key=keys)
            self._lanes = _remember(lane, numbers, count, transition, ended, seen, **self._program)

    def _count(self, offset: int) -> Array:
        """Return the steps of each environment so far."""
        shape = self._batch.shape
        assert isinstance(shape, Replay)
        return jnp.asarray(self._times * shape.train_freq + offset, jnp.int32)


@partial(jax.jit, static_argnames=("shape", "scaling"))
def _begin(networks: Array, seen: Array, numbers: Numbers, *, shape: Shape, scaling: Scaling | None) -> Lane:
    def one(network: Array, observations: Array, own: Numbers) -> Lane:
        lane: Lane = loop_of(shape).first(network, observations, (), shape, scaling, own)
        return lane

    return jax.vmap(one)(networks, seen, numbers)


@partial(jax.jit, static_argnames=("deterministic", "shape", "scaling"))
def _choose(
    batch: Lane, seen: Array, keys: Array, time: Array, *, deterministic: bool, shape: Shape, scaling: Scaling | None
) -> Array:
    def one(lane: Lane, x: Array, key: Array) -> Array:
        how = {"shape": shape, "scaling": scaling, "deterministic": deterministic}
        actions: Array = loop_of(shape).choose(lane, x, jax.random.fold_in(key, time), **how)
        return actions

    return jax.vmap(one)(batch, seen, keys)


@partial(jax.jit, static_argnames="shape")
def _draw(keys: Array, *, shape: OnPolicy) -> tuple[Array, Array]:
    """Return new keys and the noise of a rollout, shape ``(lanes, n_steps, n_envs, outputs)``."""

    def one(key: Array) -> tuple[Array, Array]:
        key, of_noise = jax.random.split(key)
        return key, distributions.noise(of_noise, shape.space, (shape.n_steps, shape.n_envs))

    return jax.vmap(one)(keys)


@partial(jax.jit, static_argnames="scaling")
def _see(
    state: Normalization,
    observations: Array,
    rewards: Array,
    finals: Array,
    dones: Array,
    numbers: Numbers,
    *,
    scaling: Scaling,
) -> tuple[Normalization, Array, Array, Array]:
    def one(own: Normalization, x: Array, r: Array, f: Array, d: Array, gamma: Array) -> Any:
        own = normalize.see(own, x, scaling)
        x, f = (normalize.normalize(own.observations, each, scaling) for each in (x, f))
        own, r = normalize.see_rewards(own, r, d, gamma, scaling)
        return own, x, r, f

    found: tuple[Normalization, Array, Array, Array] = jax.vmap(one)(
        state, observations, rewards, finals, dones, numbers["return_gamma"]
    )
    return found


@partial(jax.jit, static_argnames="shape", donate_argnames="batch")
def _learn_rollout(
    batch: rollouts.Lane, numbers: Numbers, progress: Array, runs: Array, *, shape: OnPolicy
) -> rollouts.Lane:
    return rollouts.learn_all(batch, shape, numbers, progress, runs)


@partial(jax.jit, static_argnames=("shape", "scaling"), donate_argnames="batch")
def _learn_transitions(
    batch: transitions.Lane,
    numbers: Numbers,
    count: Array,
    env_steps: Array,
    *,
    shape: Replay,
    scaling: Scaling | None,
) -> transitions.Lane:
    return transitions.learned(batch, shape, scaling, numbers, count, env_steps)


@partial(jax.jit, static_argnames=("shape", "scaling"))
def _explore(
    batch: transitions.Lane,
    numbers: Numbers,
    count: Array,
    progress: Array,
    *,
    shape: Replay,
    scaling: Scaling | None,
) -> tuple[Array, Array, Array]:
    """Return new keys, actions as they are remembered, and as the environment takes them."""

    def one(lane: transitions.Lane, own: Numbers) -> tuple[Array, Array, Array]:
        key, actions = transitions.explore(lane, shape, scaling, own, count, progress)
        return key, actions, transitions.played(actions, shape.space)

    found: tuple[Array, Array, Array] = jax.vmap(one)(batch, numbers)
    return found


@partial(jax.jit, static_argnames=("shape", "scaling"), donate_argnames="batch")
def _remember(
    batch: transitions.Lane,
    numbers: Numbers,
    count: Array,
    transition: Batch,
    ended: Array,
    seen: Array,
    *,
    shape: Replay,
    scaling: Scaling | None,
) -> transitions.Lane:
    def one(lane: transitions.Lane, own: Numbers, step: Batch, over: Array, x: Array) -> transitions.Lane:
        return transitions.remember(lane, shape, scaling, own, count, step, over, x)

    kept: transitions.Lane = jax.vmap(one)(batch, numbers, transition, ended, seen)
    return kept
