"""Spaces that are code, or were sampled: rl-zoo3's samplers and Optuna's studies, read from what Optuna saw of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState

from autorl.errors import AutorlError, did_you_mean
from autorl.spec.foreign.translation import Translation, where_seen
from autorl.spec.foreign.zoo import ALGORITHMS

# How often a sampler is asked: enough to see every choice, and every condition with each of them.
_ASKED = 300
_POLICY = frozenset({"net_arch", "activation_fn", "n_quantiles"})
# Names by which a study of rl-zoo3's is known.
_OF_ZOO = frozenset({"one_minus_gamma", "n_delta_pow"})
# Of rl-zoo3's, what is no hyperparameter of the algorithm but part of how one is computed.
_PART = {
    "subsample_steps": "rl-zoo3 makes gradient_steps of it, which is searched itself",
    "top_frac_size": "rl-zoo3 makes n_top of it: a share of n_delta",
}


def sampler(algorithm: str) -> tuple[Translation, str]:
    """Translate the space that rl-zoo3 samples from, as it is written in its code.

    Returns:
        The translation, and the algorithm.

    Raises:
        AutorlError: rl-zoo3 is not installed, or has no sampler of the algorithm.
    """
    try:
        from rl_zoo3.hyperparams_opt import HYPERPARAMS_SAMPLER
    except ImportError as error:
        raise AutorlError(f"rl-zoo3's spaces are code: pip install 'autorl[zoo]' ({error})") from None
    theirs = {ours: name for name, ours in ALGORITHMS.items()}.get(algorithm, algorithm)
    if theirs not in HYPERPARAMS_SAMPLER:
        raise AutorlError(f"rl-zoo3 samples no '{algorithm}'{did_you_mean(algorithm, HYPERPARAMS_SAMPLER)}")
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    for _ in range(_ASKED):
        trial = study.ask()
        HYPERPARAMS_SAMPLER[theirs](trial, 1, 1, {"using_her_replay_buffer": False, "her_kwargs": {}})
        study.tell(trial, 0.0)
    found = Translation(f"what rl-zoo3 samples for {theirs} (rl_zoo3/hyperparams_opt.py)")
    _take(found, study.trials)
    return found, ALGORITHMS.get(theirs, theirs)


def study(storage: str, name: str | None, top: int) -> Translation:
    """Translate what an Optuna study searched, and its best distinct configurations.

    Args:
        storage: its storage: a database URL, or the file of a journal.
        name: its name; not needed if there is only one.
        top: how many configurations are to be tried first; of several objectives, of those that nothing dominates.

    Raises:
        AutorlError: there is no such study, or it has no trial.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    opened = _open(storage)
    try:
        names = optuna.get_all_study_names(opened)
        if name is None and len(names) == 1:
            name = names[0]
        if name not in names:
            shown = ", ".join(names) or "none"
            raise AutorlError(
                f"'{storage}' has no study '{name}'{did_you_mean(name, names)}"
                if name
                else f"'{storage}' holds {len(names)} studies; name one with --study: {shown}"
            )
        loaded = optuna.load_study(study_name=name, storage=opened)
        trials = loaded.get_trials(deepcopy=False)
        ranked = _ranked(loaded, trials)
    except (KeyError, RuntimeError, ValueError) as error:
        raise AutorlError(f"'{storage}' is no storage of Optuna's that can be read: {error}") from None
    finally:
        if isinstance(opened, optuna.storages.RDBStorage):
            opened.engine.dispose()
    asked = [trial for trial in trials if trial.distributions]
    # Of what was interrupted only some parameters are there, which says nothing of conditions.
    seen = [trial for trial in asked if trial.state in (TrialState.COMPLETE, TrialState.PRUNED)] or asked
    if not seen:
        raise AutorlError(f"the study '{name}' has no trial with parameters yet")
    found = Translation(f"Optuna's study '{name}'")
    values = _take(found, seen)
    for trial in ranked:
        config = values[trial.number]
        if config and config not in found.enqueue and len(found.enqueue) < top:
            found.enqueue.append(config)
    return found


def _open(storage: str) -> Any:
    """Open a storage, and make none."""
    if "://" not in storage:
        if not Path(storage).is_file():
            raise AutorlError(f"'{storage}' is neither a database URL nor the file of a journal")
        with Path(storage).open("rb") as file:
            if file.read(6) == b"SQLite":
                raise AutorlError(f"'{storage}' is a database, not the file of a journal: name it sqlite:///{storage}")
        try:
            return optuna.storages.JournalStorage(JournalFileBackend(storage))
        except Exception as error:  # noqa: BLE001 - whatever else the lines of the file make of it
            raise AutorlError(f"'{storage}' is no journal of Optuna's that can be read: {error}") from None
    database = storage.partition("sqlite:///")[2]
    if database and not Path(database).is_file():
        raise AutorlError(f"{storage}: no database there")
    try:
        return optuna.storages.RDBStorage(storage, skip_table_creation=True)
    except Exception as error:  # noqa: BLE001 - drivers raise what they like
        cause = getattr(error.__cause__, "orig", error)  # Optuna speaks of a commit, the driver of what happened
        why = str(cause).strip().splitlines()[0]
        raise AutorlError(f"{storage.rpartition('@')[2]} is no storage of Optuna's that can be read: {why}") from None


def _ranked(loaded: optuna.Study, trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    """Return the trials worth trying again, the best first."""
    if len(loaded.directions) > 1:
        return list(loaded.best_trials)
    sign = -1 if loaded.direction == optuna.study.StudyDirection.MAXIMIZE else 1
    complete = [trial for trial in trials if trial.state == TrialState.COMPLETE and trial.value is not None]
    feasible = [trial for trial in complete if not any(bound > 0 for bound in trial.constraints.values())]
    return sorted(feasible or complete, key=lambda trial: (sign * (trial.value or 0.0), trial.number))


def _take(found: Translation, trials: Sequence[FrozenTrial]) -> dict[int, dict[str, Any]]:
    """Translate the distributions of trials; return the configuration of each, in our units."""
    kinds: dict[str, list[BaseDistribution]] = {}
    for trial in trials:
        for name, distribution in trial.distributions.items():
            known = kinds.setdefault(name, [])
            if distribution not in known:
                known.append(distribution)
    ours: dict[str, tuple[str, str | None]] = {}
    zoo = bool(_OF_ZOO & set(kinds))
    for name, known in kinds.items():
        where = f"parameter {name}"
        if zoo and name in _PART:
            found.lost.append(f"{where}: {known[0]}: {_PART[name]}")
            continue
        wanted, transform = _meaning(name) if zoo else (name, None)
        renamed = found.name(wanted)
        if renamed is None:
            found.lost.append(f"{where}: {known[0]}: its name is taken, or is none")
            continue
        entry = _entry(known, zoo)
        if entry is None:
            found.lost.append(f"{where}: {known[0]}: not the same kind in all trials")
            continue
        found.parameters[renamed] = entry | ({"transform": transform} if transform else {})
        if len(known) > 1:
            found.remark(renamed, "its range is not the same in all trials: this has all of them")
        ours[name] = (renamed, transform)
    configs = {
        trial.number: {
            ours[name][0]: _value(value, ours[name][1], zoo) for name, value in trial.params.items() if name in ours
        }
        for trial in trials
    }
    for name, when in where_seen(found.parameters, list(configs.values())).items():
        if when is None:
            found.remark(name, "only in some trials: on what it depends cannot be told")
        else:
            found.parameters[name]["when"] = {
                parent: values[0] if len(values) == 1 else values for parent, values in when.items()
            }
    if zoo and "train_freq" in kinds:
        _count_gradient_steps(found, trials, configs)
    ordered = sorted(found.parameters, key=lambda name: "when" in found.parameters[name])
    found.parameters = {name: found.parameters[name] for name in ordered}
    return configs


def _count_gradient_steps(
    found: Translation, trials: Sequence[FrozenTrial], configs: Mapping[int, dict[str, Any]]
) -> None:
    """Add the gradient steps that rl-zoo3 makes of `train_freq`, and of `subsample_steps` if it draws them."""
    divided = [trial for trial in trials if {"train_freq", "subsample_steps"} <= trial.params.keys()]
    if not divided:
        found.parameters["gradient_steps"] = {"values": [-1]}
        found.remark("gradient_steps", "rl-zoo3 makes as many as train_freq, which is what SB3 means by -1")
        return
    most = max(distribution.high for distribution in _numeric([t.distributions["train_freq"] for t in divided]))
    found.parameters["gradient_steps"] = {"min": 1, "max": most}
    found.remark("gradient_steps", "rl-zoo3 draws what it divides train_freq by")
    for trial in divided:
        steps = max(trial.params["train_freq"] // trial.params["subsample_steps"], 1)
        configs[trial.number]["gradient_steps"] = steps


def _meaning(name: str) -> tuple[str, str | None]:
    """Return what a parameter of rl-zoo3's sets, and its transform: it calls 1 - gamma `one_minus_gamma`."""
    if name.startswith("one_minus_"):
        return name.removeprefix("one_minus_"), "one_minus"
    if name.endswith("_pow"):
        return name.removesuffix("_pow"), "power_of_two"
    return (f"policy.{name}" if name in _POLICY else name), None


def _value(value: Any, transform: str | None, zoo: bool) -> Any:
    if transform == "one_minus":
        return 1 - value
    if transform == "power_of_two":
        return 2**value
    return "none" if zoo and value is None else value  # its word for no noise


def _entry(known: Sequence[BaseDistribution], zoo: bool) -> dict[str, Any] | None:
    """Return the entry of a search space for the distributions that a parameter had; None if they are of two kinds."""
    first = known[0]
    if isinstance(first, CategoricalDistribution):
        if not all(isinstance(one, CategoricalDistribution) for one in known):
            return None
        choices: list[Any] = []
        for one in known:
            new = [_value(choice, None, zoo) for choice in getattr(one, "choices", ())]
            choices += [choice for choice in new if choice not in choices]
        return {"values": choices}
    if not isinstance(first, IntDistribution | FloatDistribution) or not all(type(one) is type(first) for one in known):
        return None
    low, high = min(one.low for one in _numeric(known)), max(one.high for one in _numeric(known))
    if low == high:
        return {"values": [low]}
    found: dict[str, Any] = {"min": low, "max": high}
    if first.log and low > 0:
        found["log"] = True
    elif first.step is not None and (isinstance(first, FloatDistribution) or first.step != 1):
        found["step"] = first.step
    return found


def _numeric(known: Sequence[BaseDistribution]) -> list[IntDistribution | FloatDistribution]:
    return [one for one in known if isinstance(one, IntDistribution | FloatDistribution)]
