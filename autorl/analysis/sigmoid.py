"""Where a learning curve was going: a sigmoid in the logarithm of environment steps."""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy import special

from autorl.analysis.checks import Direction, learning_curves, sign_of

Vector = npt.NDArray[np.float64]

# Where a fit is looked for. Scores count from the curve's worst value, in units of its range; the midpoint is at most
# _BEYOND times earlier than the first evaluation or later than the last.
_INITIAL: Final = (-1.0, 1.0)
_RISE: Final = (0.0, 10.0)
_EXPONENT: Final = (0.1, 50.0)
_BEYOND: Final = 10.0
# Residuals above this share of the range count linearly, not squared.
_OUTLIER: Final = 0.1
_STARTS: Final = 3
# An asymptote is identified if its standard error is below this share of the rise.
_ERROR_OF_ASYMPTOTE: Final = 0.1


@dataclass(frozen=True)
class SigmoidFit:
    """A sigmoid fitted to a learning curve; see :func:`sigmoid_fit`.

    Attributes:
        asymptote: A, what the curve approaches, in the unit of the metric.
        exponent: B, how abruptly it gets there: 10 % of the rise are done at C_mid / 9^(1 / B) and 90 % at
            C_mid 9^(1 / B).
        midpoint_env_steps: C_mid, environment steps at which half of the rise is done. Exponent and midpoint mean
            nothing where there is no rise.
        initial: R_0, what the curve comes from, in the unit of the metric; as given, or fitted.
        residual_deviation: Standard deviation of the evaluations about the curve, in the unit of the metric, with one
            degree of freedom less for each fitted parameter.
        identified: Whether the evaluations say where the curve ends. If not, ``asymptote`` is no finding.
    """

    asymptote: float
    exponent: float
    midpoint_env_steps: float
    initial: float
    residual_deviation: float
    identified: bool

    def extrapolate(self, env_steps: npt.ArrayLike) -> Vector:
        """Return the fitted curve, in the unit of the metric, at other environment steps.

        Args:
            env_steps: Any shape, each 0 or more; within what was seen, or beyond.

        Raises:
            ValueError: If one is negative or not finite.
        """
        steps = np.asarray(env_steps, dtype=np.float64)
        if not np.all(np.isfinite(steps) & (steps >= 0.0)):
            raise ValueError("env_steps: negative or not finite; expected 0 or more")
        share = _share_of_rise(_logarithms(steps), np.log(self.exponent), np.log(self.midpoint_env_steps))
        curve: Vector = self.initial + (self.asymptote - self.initial) * share
        return curve


@dataclass(frozen=True)
class HeldOutError:
    """How far a sigmoid that saw the beginning of a curve is from the rest of it.

    Attributes:
        fit: What was fitted to the beginning.
        last: Absolute error at the last evaluation, in the unit of the metric.
        mean: Mean absolute error over all evaluations that the fit did not see.
    """

    fit: SigmoidFit
    last: float
    mean: float


def sigmoid_fit(
    env_steps: npt.ArrayLike,
    values: npt.ArrayLike,
    *,
    direction: Direction = "maximize",
    initial: float | None = None,
) -> SigmoidFit:
    """Fit the sigmoidal compute-performance curve to one learning curve.

    The curve is R_C - R_0 = (A - R_0) / (1 + (C_mid / C)^B) of Khatri et al. (2025, "The Art of Scaling Reinforcement
    Learning Compute for LLMs", arXiv 2510.13786, equation 1), with environment steps for the compute C, B > 0, and A no
    worse than R_0. R_0 is fitted unless it is given: runs are first evaluated after a part of training, so the first
    value is not what the curve comes from. Where the untrained policy was evaluated, give its score.

    The fit minimizes the sum of soft L1 losses, which are squares up to a tenth of the curve's range and grow linearly
    beyond, so that one evaluation that collapsed does not bend the curve. It starts from the best of a grid over B and
    C_mid, and draws no random numbers.

    The asymptote counts as identified if C_mid is not beyond the last evaluation and A has a standard error (linearized
    at the fit) below a tenth of the rise A - R_0. How often it is, and how often A is then off by more than a fifth of
    the rise (simulated, 500 to 1000 curves each: B from 1 to 6, C_mid from a tenth to 1.5 times the last evaluation,
    noise of 5 % of the rise, either white or correlated by 0.7 from one evaluation to the next, which linearized errors
    do not expect; of the asymptotes that are not identified, 49 to 71 % are off by as much):

    ==================================  ==========  ==========  ==========
    identified, and off nevertheless    p = 5       p = 10      p = 20
    ==================================  ==========  ==========  ==========
    white noise                         27 %, 25 %  44 %, 3 %   49 %, 2 %
    correlated noise                    41 %, 14 %  56 %, 7 %   59 %, 11 %
    white noise, R_0 known              39 %, 10 %  49 %, 0 %   52 %, 1 %
    correlated noise, R_0 known         51 %, 7 %   58 %, 3 %   61 %, 8 %
    nothing but white noise             1 %         0 %         1 %
    ==================================  ==========  ==========  ==========

    Args:
        env_steps: Shape ``(p,)``, 0 or more, strictly increasing.
        values: Shape ``(p,)``, one curve. Of several seeds fit each, or their mean, which rises less abruptly than
            they do.
        direction: What is better.
        initial: R_0, in the unit of the metric.

    Returns:
        The fit. What gets worse, or stays where it is, is fitted by a constant, which is not identified.

    Raises:
        ValueError: If there are fewer than 5 evaluations (4 with ``initial``), the shapes are others, the steps do not
            increase from 0 or more, a value or ``initial`` is not finite, or the direction is unknown.
    """
    # Every command imports this room, few fit curves, and this takes a tenth of a second.
    from scipy.optimize import least_squares

    unknowns = 4 if initial is None else 3
    steps, curve = learning_curves(env_steps, values, ndim=1, at_least=unknowns + 1)
    if initial is not None and not np.isfinite(initial):
        raise ValueError(f"initial: {initial}; expected a finite number")
    sign = sign_of(direction)
    worth = sign * (curve if initial is None else np.append(curve, initial))
    # A curve without a range is as well measured in any unit.
    origin, unit = float(np.min(worth)), float(np.ptp(worth)) or 1.0
    scores = (worth - origin) / unit
    problem = _Problem(_logarithms(steps), scores[: steps.size], None if initial is None else float(scores[-1]))
    fits = [
        least_squares(
            problem.residuals,
            start,
            jac="3-point",
            bounds=problem.bounds,
            loss="soft_l1",
            f_scale=_OUTLIER,
            # A curve that says little leaves a flat valley, whose bottom is not worth hundreds of evaluations.
            max_nfev=100,
        )
        for start in problem.starts()
    ]
    best = min(fits, key=lambda fit: float(fit.cost))
    first, rise, log_exponent, log_midpoint = problem.parameters(best.x)
    variance = float(np.sum(problem.residuals(best.x) ** 2)) / (steps.size - unknowns)
    of_asymptote = np.array([1.0, 1.0, 0.0, 0.0])[-unknowns:]
    error = np.sqrt(variance * (of_asymptote @ np.linalg.pinv(best.jac.T @ best.jac) @ of_asymptote))
    return SigmoidFit(
        asymptote=float(sign * (origin + unit * (first + rise))),
        exponent=float(np.exp(log_exponent)),
        midpoint_env_steps=float(np.exp(log_midpoint)),
        initial=float(sign * (origin + unit * first)) if initial is None else float(initial),
        residual_deviation=float(unit * np.sqrt(variance)),
        identified=bool(log_midpoint <= problem.logs[-1] and error < _ERROR_OF_ASYMPTOTE * rise),
    )


def held_out_error(
    env_steps: npt.ArrayLike,
    values: npt.ArrayLike,
    *,
    share: float = 0.5,
    direction: Direction = "maximize",
    initial: float | None = None,
) -> HeldOutError:
    """Fit a sigmoid to the beginning of a curve, and compare it with the rest.

    Args:
        env_steps: Shape ``(p,)``, 0 or more, strictly increasing.
        values: Shape ``(p,)``, one curve.
        share: The fit sees the evaluations up to this share of the last one's environment steps, in (0, 1).
        direction: What is better.
        initial: R_0, see :func:`sigmoid_fit`.

    Raises:
        ValueError: If ``share`` is not in (0, 1), what it leaves is too little to fit, or :func:`sigmoid_fit` refuses
            an argument.
    """
    steps, curve = learning_curves(env_steps, values, ndim=1)
    if not 0.0 < share < 1.0:
        raise ValueError(f"share: {share}; expected between 0 and 1, such as 0.5")
    seen = steps <= share * steps[-1]
    fit = sigmoid_fit(steps[seen], curve[seen], direction=direction, initial=initial)
    errors = np.abs(fit.extrapolate(steps[~seen]) - curve[~seen])
    return HeldOutError(fit, float(errors[-1]), float(np.mean(errors)))


@dataclass(frozen=True, eq=False)
class _Problem:
    """What is minimized, over (R_0 unless it is known, A - R_0, log B, log C_mid).

    Attributes:
        logs: Logarithms of the environment steps, shape ``(p,)``.
        scores: Shape ``(p,)``, between 0 and 1, higher is better.
        known: R_0 in the same unit, or None.
    """

    logs: Vector
    scores: Vector
    known: float | None

    @property
    def bounds(self) -> tuple[Vector, Vector]:
        # An evaluation at step 0 has no logarithm.
        first, last = self.logs[np.isfinite(self.logs)][[0, -1]]
        midpoint = first - np.log(_BEYOND), last + np.log(_BEYOND)
        lower, upper = np.array([_INITIAL, _RISE, np.log(_EXPONENT), midpoint]).T
        return (lower, upper) if self.known is None else (lower[1:], upper[1:])

    def parameters(self, unknowns: Vector) -> Vector:
        return unknowns if self.known is None else np.append(self.known, unknowns)

    def residuals(self, unknowns: Vector) -> Vector:
        first, rise, log_exponent, log_midpoint = self.parameters(unknowns)
        difference: Vector = first + rise * _share_of_rise(self.logs, log_exponent, log_midpoint) - self.scores
        return difference

    def starts(self) -> list[Vector]:
        """Return the best few points of a grid over B and C_mid; the model is linear in the other parameters."""
        lower, upper = self.bounds
        candidates = []
        for log_exponent in np.log([0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0]):
            for log_midpoint in np.linspace(lower[-1], upper[-1], 16):
                share = _share_of_rise(self.logs, log_exponent, log_midpoint)
                columns = [share] if self.known is not None else [np.ones_like(share), share]
                line = np.linalg.lstsq(np.stack(columns, axis=1), self.scores - (self.known or 0.0))[0]
                candidates.append(np.clip([*line, log_exponent, log_midpoint], lower, upper))
        return sorted(candidates, key=self._loss)[:_STARTS]

    def _loss(self, unknowns: Vector) -> float:
        return float(np.sum(np.sqrt(1.0 + (self.residuals(unknowns) / _OUTLIER) ** 2)))


def _share_of_rise(logs: Vector, log_exponent: float, log_midpoint: float) -> Vector:
    """Return 1 / (1 + (C_mid / C)^B), 0 at step 0, for the logarithms of C."""
    share: Vector = special.expit(np.exp(log_exponent) * (logs - log_midpoint))
    return share


def _logarithms(env_steps: Vector) -> Vector:
    with np.errstate(divide="ignore"):
        logs: Vector = np.log(env_steps)
    return logs
