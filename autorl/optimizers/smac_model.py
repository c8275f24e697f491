"""SMAC's surrogate: what to try next, given what is known, alike in every process.

`SMBO` and the facades write files and live on generators, so their parts are put together here for each proposal anew.
"""

from __future__ import annotations

import warnings
from itertools import islice
from typing import Any

import numpy as np
from ConfigSpace import Configuration as Point
from ConfigSpace import UniformFloatHyperparameter
from smac.acquisition.maximizer import LocalSearch
from smac.facade.abstract_facade import AbstractFacade
from smac.main.config_selector import ConfigSelector
from smac.main.exceptions import ConfigurationSpaceExhaustedException
from smac.model.abstract_model import AbstractModel
from smac.model.random_forest import RandomForest
from smac.multi_objective.parego import ParEGO
from smac.runhistory import RunHistory, TrialInfo
from smac.scenario import Scenario

from autorl.spec.configspace import to_configspace
from autorl.spec.space import Choice, Configuration, Parameter, SearchSpace

Cost = float | list[float]
"""What an evaluation costs: a number, or one for each of several objectives."""

_TRIES = 100
"""How many configurations are looked at for a new one before the space counts as exhausted."""


def costs(objectives: int) -> str | list[str]:
    """Return what SMAC calls so many costs."""
    return "cost" if objectives == 1 else [f"cost {index}" for index in range(objectives)]


class Surrogate:
    """Learns costs of configurations and proposes the next.

    Args:
        facade: where model, acquisition function and initial design come from, with its settings.
        space: the search space.
        seed: of the initial design.
        evaluations: how many the study can pay for; the initial design takes a quarter of them at most.
        initial: configurations of the initial design, or None for as many as the facade takes.
        objectives: how many costs an evaluation has. Several are weighed anew for each proposal, as in ParEGO (Knowles
            2006, IEEE Transactions on Evolutionary Computation 10, 50-66).
    """

    def __init__(
        self,
        facade: type[AbstractFacade],
        space: SearchSpace,
        seed: int,
        evaluations: int,
        initial: int | None,
        objectives: int,
    ) -> None:
        self._facade, self._space, self._evaluations = facade, space, evaluations
        self._objectives = objectives
        self._points = to_configspace(space, "autorl")
        self._history = RunHistory(n_objectives=objectives)
        design = facade.get_initial_design(self._scenario(seed), n_configs=initial)  # type: ignore[call-arg]
        self._initial = design.select_configurations()
        self._passed = 0

    def taken(self) -> None:
        """Take note that a configuration is trained for the next of the initial design, itself or another."""
        self._passed += 1

    def start(self, config: Configuration, seed: int | None, budget: float | None) -> None:
        """Take note that a configuration is being evaluated, so that it is not proposed again."""
        if (point := self._point(config)) is not None:
            self._history.add_running_trial(TrialInfo(point, seed=seed, budget=budget))

    def learn(self, config: Configuration, seed: int | None, budget: float | None, cost: Cost) -> None:
        """Learn the cost of an evaluation; a configuration that the space cannot express is passed over."""
        if (point := self._point(config)) is not None:
            self._history.add(point, cost, seed=seed, budget=budget, force_update=True)

    def propose(self, seed: int) -> Configuration | None:
        """Propose a new configuration, or None if the space seems to have no other."""
        known = set(self._history.get_configs())
        for point in self._initial[self._passed :]:
            if point not in known:
                return self._configuration(point)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # its debug messages average times of empty searches
            try:
                for point in islice(self._selector(seed), _TRIES):
                    config = self._configuration(point)
                    # Its values may differ in their last digits from those of the point that it becomes.
                    if not {point, self._point(config)} & known:
                        return config
            except ConfigurationSpaceExhaustedException:
                pass
        return None

    def _scenario(self, seed: int) -> Scenario:
        scenario = Scenario(self._points, objectives=costs(self._objectives), n_trials=self._evaluations, seed=seed)
        self._points.seed(seed)
        return scenario

    def _selector(self, seed: int) -> ConfigSelector:
        # As AbstractFacade puts them together.
        facade: Any = self._facade
        scenario = self._scenario(seed)
        model = _model(facade, scenario, len(self._history))
        acquisition = facade.get_acquisition_function(scenario)
        acquisition.model = model
        maximizer = facade.get_acquisition_maximizer(scenario)
        maximizer._local_search = _LocalSearch(self._points, seed=seed)
        maximizer.acquisition_function = acquisition
        encoder = facade.get_runhistory_encoder(scenario)
        encoder.runhistory = self._history
        if self._objectives > 1:
            encoder.multi_objective_algorithm = ParEGO(scenario)
        selector = _Selector(scenario)
        selector._set_components(
            initial_design=facade.get_initial_design(scenario, n_configs=0),
            runhistory=self._history,
            runhistory_encoder=encoder,
            model=model,
            acquisition_maximizer=maximizer,
            acquisition_function=acquisition,
            random_design=facade.get_random_design(scenario),
        )
        return selector

    def _point(self, config: Configuration) -> Point | None:
        if any(p.name not in config.coordinates for p in self._space if p.active(config.values)):
            return None
        values = Point(
            self._points, values={name: _within(self._points[name], at) for name, at in config.coordinates.items()}
        )
        # Points are told apart by how their values print, and those that SMAC makes from vectors hold NumPy's.
        return Point(self._points, vector=values.get_array())

    def _configuration(self, point: Point) -> Configuration:
        return self._space.build(lambda parameter: _coordinate(parameter, point[parameter.name]))


def _within(hyperparameter: Any, coordinate: Any) -> Any:
    # ConfigSpace rounds the ends of a range, and then refuses what lies at the end that was given.
    if isinstance(hyperparameter, UniformFloatHyperparameter):
        return min(max(coordinate, hyperparameter.lower), hyperparameter.upper)
    return coordinate


class _LocalSearch(LocalSearch):
    """SMAC's own goes through a set of configurations, in an order that changes with Python's hash seed."""

    def _get_init_points_from_previous_configs(
        self,
        previous_configs: list[Point],
        n_points: int,
        additional_start_points: list[tuple[float, Point]] | None,
    ) -> list[Point]:
        return sorted(
            super()._get_init_points_from_previous_configs(previous_configs, n_points, additional_start_points),
            key=str,
        )


class _Selector(ConfigSelector):
    """SMAC's own asks the model for one configuration at a time, which takes seconds for a thousand."""

    def _get_x_best(self, X: np.ndarray) -> tuple[np.ndarray, float]:  # noqa: N803 - SMAC's name
        assert self._model is not None
        means = self._model.predict_marginalized(X)[0][:, 0]
        best = int(np.argmin(means))
        return X[best], means[best]


def _model(facade: Any, scenario: Scenario, rows: int) -> AbstractModel:
    model: AbstractModel = facade.get_model(scenario)
    if isinstance(model, RandomForest):
        # The same trees on one thread and without room for 2**20 leaves each, which takes 0.7 s to clear.
        model._rf_opts |= {"n_jobs": 1, "max_leaf_nodes": max(2, rows)}
    return model


def _coordinate(parameter: Parameter, found: Any) -> Any:
    plain = found.item() if isinstance(found, np.generic) else found
    if isinstance(parameter.domain, Choice):
        return plain
    # Its unit cube is left and entered through logarithms, which may miss an end of the range by a rounding error.
    return min(max(plain, parameter.domain.low), parameter.domain.high)
