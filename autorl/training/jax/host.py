"""The engine `host`: Gymnasium environments stepped by Python, acting and learning compiled, all lanes a call."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import gymnasium as gym
import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from autorl.training.jax import distributions, lanes, normalize, on_policy, rollouts
from autorl.training.jax.lanes import Lanes
from autorl.training.jax.normalize import Normalization, Scaling
from autorl.training.jax.on_policy import Numbers, OnPolicy
from autorl.training.jax.rollouts import Lane
from autorl.training.replay import ReplayableEnv
from autorl.training.tasks import make_env
from autorl.trial import Recipe

Array = jax.Array
Numpy = NDArray[Any]


class Environments:
    """The environments of a batch: some for each run. A run whose environment raises is left out from then on.

    Args:
        make: makes one.
        runs: how many runs there are.
        lanes: how many the program has; the observations of those without a run are 0.
        copies: environments a run.
        features: size of an observation.
    """

    def __init__(
        self,
        make: Callable[[], gym.Env[Any, Any]],
        runs: int,
        lanes: int,
        copies: int,
        features: int,
    ) -> None:
        self.all = [[make() for _ in range(copies)] for _ in range(runs)]
        self._one_hot = isinstance(self.all[0][0].observation_space, gym.spaces.Discrete)
        actions = self.all[0][0].action_space
        self._start = int(actions.start) if isinstance(actions, gym.spaces.Discrete) else None
        self.observations = np.zeros((lanes, copies, features), np.float32)
        self.finals = np.zeros_like(self.observations)
        self.rewards = np.zeros((lanes, copies), np.float32)
        self.dones, self.truncated = (np.zeros((lanes, copies), bool) for _ in range(2))
        self.errors: dict[int, Exception] = {}

    def reset(self, seeds: Sequence[int]) -> None:
        """Begin episodes; environment i of a run gets the run's seed + i, as SB3's vectorized environments do."""
        for run, (envs, seed) in enumerate(zip(self.all, seeds, strict=True)):
            try:
                for copy, env in enumerate(envs):
                    self.see(self.observations, run, copy, env.reset(seed=seed + copy)[0])
            except Exception as error:  # noqa: BLE001 - environments and wrappers are the user's code
                self.errors[run] = error

    def step(self, actions: Numpy, playing: Numpy | None = None) -> None:
        """Take a step in each environment, or in those that are playing; episodes that end begin anew.

        Args:
            actions: Shape ``(lanes, copies, actions)``, within their bounds.
            playing: Shape ``(lanes, copies)``, or None for all.
        """
        self.dones[:] = self.truncated[:] = False
        for run, envs in enumerate(self.all):
            if run in self.errors:
                continue
            try:
                if not np.isfinite(actions[run]).all():
                    raise FloatingPointError("the policy's actions are not finite")
                for copy, env in enumerate(envs):
                    if playing is None or playing[run, copy]:
                        self._step(run, copy, env, actions[run, copy])
            except Exception as error:  # noqa: BLE001 - environments and wrappers are the user's code
                self.errors[run] = error

    def _step(self, run: int, copy: int, env: gym.Env[Any, Any], action: Numpy) -> None:
        played = action if self._start is None else action[0] + self._start
        observation, reward, over, truncated, _ = env.step(played)
        self.rewards[run, copy] = reward
        if over or truncated:
            self.dones[run, copy], self.truncated[run, copy] = True, truncated and not over
            self.see(self.finals, run, copy, observation)
            observation = env.reset()[0]
        self.see(self.observations, run, copy, observation)

    def see(self, into: Numpy, run: int, copy: int, observation: Any) -> None:
        """Write an observation into its place."""
        if self._one_hot:
            into[run, copy] = 0.0
            into[run, copy, int(observation)] = 1.0
        else:
            into[run, copy] = np.ravel(observation)

    def close(self) -> None:
        """Close all environments."""
        for envs in self.all:
            for env in envs:
                env.close()


class Hosted:
    """A batch of runs; see `protocol.Engine`.

    Args:
        recipe: of one of the runs; what is used of it they have in common.
        batch: the runs.
        states: what `save` returned of each run, or None to begin.
    """

    def __init__(self, recipe: Recipe, batch: Lanes, states: Sequence[Mapping[str, Any]] | None) -> None:
        self._recipe, self._batch, self._times = recipe, batch, 0
        shape, width = batch.shape, len(batch.keys([0] * batch.runs))
        self._program = {"shape": shape, "scaling": batch.scaling}
        make = partial(make_env, recipe.env, recipe.env_kwargs, recipe.wrappers)
        self._envs = Environments(lambda: ReplayableEnv(make()), batch.runs, width, shape.n_envs, shape.features)
        self._judge = Environments(make, batch.runs, width, recipe.evaluation_episodes, shape.features)
        self.errors, self.notes = self._envs.errors, dict[int, str]()
        if states is None:
            self._envs.reset([each.environment for each in batch.streams])
        seen = jnp.array(self._envs.observations)  # a copy: JAX may read what it is given later
        self._lanes: Lane = _begin(batch.networks(), seen, batch.numbers, **self._program)
        if states is not None:
            self._lanes = batch.restored(self._lanes, [state["lane"] for state in states])
            self._times = int(states[0]["times"])
            for run, state in enumerate(states):
                self._take_up(run, state["episodes"])

    def _take_up(self, run: int, stored: Mapping[str, Any]) -> None:
        """Play the episodes of a run up to where they were."""
        exact = True
        for copy, env in enumerate(self._envs.all[run]):
            episode = stored[str(copy)]
            if not env.replay(episode):  # type: ignore[attr-defined]
                exact = False
                self._envs.see(self._envs.observations, run, copy, env.reset()[0])
        if not exact:
            self.notes[run] = (
                "resumed from a fresh episode: the environment's state does not follow from its seed and actions"
            )

    @property
    def unit(self) -> int:
        """Environment steps of a rollout."""
        return self._batch.shape.steps

    @property
    def env_steps(self) -> int:
        """Environment steps of each run so far."""
        return self._times * self.unit

    def advance(self, times: int) -> None:
        """Collect so many rollouts, having learned from each before."""
        for _ in range(times):
            if self._times:
                self.close()
            self._collect()
            self._times += 1

    def close(self) -> None:
        """Learn from the last rollout."""
        progress = jnp.asarray(1.0 - self.env_steps / self._recipe.env_steps, jnp.float32)
        self._lanes = _learn(self._lanes, self._batch.numbers, progress, shape=self._batch.shape)

    def _collect(self) -> None:
        shape, envs, scaling = self._batch.shape, self._envs, self._batch.scaling
        keys, drawn = _draw(self._lanes.key, shape=shape)
        noise, policy = np.asarray(drawn), self._lanes.learner.policy
        normalization, seen = self._lanes.normalization, np.asarray(self._lanes.rollout.last)
        rollout = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), self._lanes.rollout)
        for t in range(shape.n_steps):
            actions = np.asarray(_act(policy, seen, noise[:, t], shape=shape))
            rollout.observations[:, t], rollout.actions[:, t] = seen, actions
            envs.step(distributions.playable_numpy(actions, shape.space))
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

    def evaluate(self, point: int) -> list[dict[str, float]]:
        """Play the episodes of an evaluation with each run's policy."""
        envs, shape, scaling = self._judge, self._batch.shape, self._batch.scaling
        envs.errors.clear()
        envs.errors.update(self.errors)
        envs.reset([each.evaluations[point] for each in self._batch.streams])
        playing = np.zeros(envs.rewards.shape, bool)
        playing[: self._batch.runs] = True
        returns, lengths = (np.zeros(playing.shape) for _ in range(2))
        keys, time = self._batch.evaluations(point), 0
        while playing.any():
            how = {"deterministic": self._recipe.deterministic, "shape": shape, "scaling": scaling}
            actions = np.asarray(_choose(self._lanes, envs.observations, keys, time, **how))
            envs.step(distributions.playable_numpy(actions, shape.space), playing)
            returns += playing * envs.rewards
            lengths += playing
            playing &= ~envs.dones
            playing[list(envs.errors)] = False
            time += 1
        self.errors.update(envs.errors)
        return [
            {"return": float(r.mean()), "return_std": float(r.std()), "length": float(n.mean())}
            for r, n in zip(returns[: self._batch.runs], lengths, strict=False)
        ]

    def finite(self) -> list[bool]:
        """Say of each run whether what it has learned is finite."""
        return [bool(ok) for ok in np.asarray(lanes.finite(self._lanes.learner))[: self._batch.runs]]

    def save(self, run: int) -> dict[str, Any]:
        """Return the state of a run as plain data and arrays."""
        episodes = {str(copy): env.episode() for copy, env in enumerate(self._envs.all[run])}  # type: ignore[attr-defined]
        return {"lane": lanes.written(self._lanes, run), "times": self._times, "episodes": episodes}


@partial(jax.jit, static_argnames=("shape", "scaling"))
def _begin(networks: Array, seen: Array, numbers: Numbers, *, shape: OnPolicy, scaling: Scaling | None) -> Lane:
    def one(network: Array, observations: Array, own: Numbers) -> Lane:
        return rollouts.first(network, observations, (), shape, scaling, own)

    return jax.vmap(one)(networks, seen, numbers)


@partial(jax.jit, static_argnames="shape")
def _draw(keys: Array, *, shape: OnPolicy) -> tuple[Array, Array]:
    """Return new keys and the noise of a rollout, shape ``(lanes, n_steps, n_envs, outputs)``."""

    def one(key: Array) -> tuple[Array, Array]:
        key, of_noise = jax.random.split(key)
        return key, distributions.noise(of_noise, shape.space, (shape.n_steps, shape.n_envs))

    return jax.vmap(one)(keys)


@partial(jax.jit, static_argnames="shape")
def _act(policy: on_policy.Policy, seen: Array, noise: Array, *, shape: OnPolicy) -> Array:
    return jax.vmap(lambda own, x, drawn: on_policy.act(own, x, shape, drawn))(policy, seen, noise)


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
def _learn(batch: Lane, numbers: Numbers, progress: Array, *, shape: OnPolicy) -> Lane:
    learned: Lane = jax.vmap(lambda lane, own: rollouts.learn(lane, shape, own, progress))(batch, numbers)
    return learned


@partial(jax.jit, static_argnames=("deterministic", "shape", "scaling"))
def _choose(
    batch: Lane,
    seen: Array,
    keys: Array,
    time: Array,
    *,
    deterministic: bool,
    shape: OnPolicy,
    scaling: Scaling | None,
) -> Array:
    def one(lane: Lane, x: Array, key: Array) -> Array:
        if scaling is not None:
            assert lane.normalization is not None
            x = normalize.normalize(lane.normalization.observations, x, scaling)
        drawn = 0.0 if deterministic else distributions.noise(jax.random.fold_in(key, time), shape.space, x.shape[:-1])
        return on_policy.act(lane.learner.policy, x, shape, drawn)

    return jax.vmap(one)(batch, seen, keys)
