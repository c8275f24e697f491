"""Search spaces as Optuna's distributions: one for the sampler to search, one for people to read."""

from __future__ import annotations

from typing import Any

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from autorl.spec.space import Choice, Configuration, Parameter, SearchSpace, same


def distribution(parameter: Parameter) -> BaseDistribution:
    """Return the distribution of a parameter in search coordinates: what a sampler draws from."""
    domain = parameter.domain
    if isinstance(domain, Choice):
        return CategoricalDistribution(domain.labels)
    if domain.integer:
        return IntDistribution(int(domain.low), int(domain.high), log=domain.log, step=int(domain.step or 1))
    return FloatDistribution(domain.low, domain.high, log=domain.log, step=domain.step)


def readable(
    space: SearchSpace, config: Configuration, default: Configuration
) -> tuple[dict[str, Any], dict[str, BaseDistribution]]:
    """Return a configuration as Optuna parameters in the units that training uses.

    `optuna.load_study(...).best_params` then holds what can be copied into training code (`gamma` 0.99, not 0.01).
    The distributions are those of the space after its transforms, widened where the default lies outside, so that the
    default configuration can be written down too.

    Args:
        space: the search space.
        config: the configuration to write. A word in place of a number (a default of `auto`) is left out: Optuna wants
            one kind of distribution for a parameter in all trials.
        default: the default configuration of the study.
    """
    params: dict[str, Any] = {}
    distributions: dict[str, BaseDistribution] = {}
    for name, value in config.values.items():
        parameter = space[name]
        if not isinstance(parameter.domain, Choice) and not _number(value):
            continue
        dist = distributions[name] = _readable(parameter, default.values.get(name))
        if isinstance(dist, CategoricalDistribution) and not isinstance(value, bool | int | float | str | None):
            value = Choice((value,)).labels[0]
        params[name] = value
    return params, distributions


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _readable(parameter: Parameter, default: Any) -> BaseDistribution:
    domain = parameter.domain
    if isinstance(domain, Choice):
        labels = list(domain.labels)
        if default is not None:
            label = Choice((default,)).labels[0]
            labels += [] if any(same(label, known) for known in labels) else [label]
        return CategoricalDistribution(labels)
    ends = [parameter.value(domain.low), parameter.value(domain.high)]
    low, high = min(ends), max(ends)
    step = domain.step if parameter.transform is None else None
    log = (domain.log and parameter.transform is None) or parameter.transform == "power_of_two"
    if _number(default):
        # A default outside the range, or between two steps, has to be written down too.
        step = None if parameter.coordinate(default) is None else step
        low, high = min(low, default), max(high, default)
    log = log and low > 0
    if domain.integer and float(low).is_integer() and float(high).is_integer():
        return IntDistribution(int(low), int(high), log=log, step=int(step or 1))
    return FloatDistribution(low, high, log=log, step=step)
