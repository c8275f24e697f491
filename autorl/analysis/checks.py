"""What the functions of this room ask of their arguments."""

from typing import Final, Literal

import numpy as np
import numpy.typing as npt

Direction = Literal["maximize", "minimize"]
_SIGN: Final = {"maximize": 1.0, "minimize": -1.0}


def finite_vector(name: str, values: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Return ``values`` as a vector of floats, or say what is wrong with them.

    Args:
        name: What the caller calls these values; the error message starts with it.
        values: Shape ``(n,)`` with n >= 1, all finite.

    Raises:
        ValueError: If ``values`` is not one-dimensional, is empty, or holds a NaN or an infinity.
    """
    vector = np.asarray(values, dtype=np.float64)
    if vector.ndim != 1:
        raise ValueError(f"{name}: shape {vector.shape}; expected a vector, one score for a seed")
    if vector.size == 0:
        raise ValueError(f"{name}: empty; expected the score of at least one seed")
    strange = np.flatnonzero(~np.isfinite(vector))
    if strange.size:
        raise ValueError(
            f"{name}[{strange[0]}] is {vector[strange[0]]} ({strange.size} of {vector.size} are "
            "not finite); leave failed runs out and report their number, or score them yourself"
        )
    return vector


def finite_matrix(name: str, values: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Return ``values`` as a matrix of floats, or say what is wrong with them.

    Args:
        name: What the caller calls these values; the error message starts with it.
        values: Shape ``(runs, tasks)`` with at least one of each, all finite.

    Raises:
        ValueError: If ``values`` is not two-dimensional, is empty, or holds a NaN or an infinity.
    """
    matrix = np.asarray(values, dtype=np.float64)
    if matrix.ndim != 2:
        raise ValueError(f"{name}: shape {matrix.shape}; expected (runs, tasks), one column for a task")
    if matrix.size == 0:
        raise ValueError(f"{name}: shape {matrix.shape} is empty; expected at least one run of one task")
    strange = np.argwhere(~np.isfinite(matrix))
    if len(strange):
        run, task = strange[0]
        raise ValueError(
            f"{name}[{run}, {task}] is {matrix[run, task]} ({len(strange)} of {matrix.size} are not finite); "
            "every task needs as many finished runs: leave runs out, or score failed ones yourself"
        )
    return matrix


def check_level(level: float) -> None:
    """Refuse a confidence level that is not a probability strictly between 0 and 1.

    Raises:
        ValueError: If it is not.
    """
    if not 0.0 < level < 1.0:
        raise ValueError(f"level: {level}; expected between 0 and 1, such as 0.95")


def sign_of(direction: Direction) -> float:
    """Return what to multiply values by so that higher is better.

    Raises:
        ValueError: If the direction is unknown.
    """
    if direction not in _SIGN:
        raise ValueError(f"direction: {direction!r}; expected one of {', '.join(_SIGN)}")
    return _SIGN[direction]


def finite_values(values: npt.ArrayLike, ndim: int) -> npt.NDArray[np.float64]:
    """Return the values of one learning curve (``ndim`` is 1) or of several as floats, or say what is wrong with them.

    Args:
        values: Shape ``(p,)`` or ``(n_seeds, p)``, none of them 0, all finite.
        ndim: 1 or 2.

    Raises:
        ValueError: If ``values`` has another shape, or holds a NaN or an infinity.
    """
    curves = np.asarray(values, dtype=np.float64)
    if curves.ndim != ndim or curves.size == 0:
        expected = "(p,), one curve" if ndim == 1 else "(n_seeds, p), one curve for a row"
        raise ValueError(f"values: shape {curves.shape}; expected {expected}")
    strange = np.argwhere(~np.isfinite(curves))
    if len(strange):
        where = ", ".join(str(index) for index in strange[0])
        raise ValueError(
            f"values[{where}] is {curves[tuple(strange[0])]} ({len(strange)} of {curves.size} are not finite); leave "
            "failed runs out and report their number, or score them yourself"
        )
    return curves


def learning_curves(
    env_steps: npt.ArrayLike, values: npt.ArrayLike, *, ndim: int = 2, at_least: int = 1
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return the environment steps and the values of learning curves, or say what is wrong with them.

    Args:
        env_steps: Shape ``(p,)``, finite, 0 or more, strictly increasing.
        values: See :func:`finite_values`.
        ndim: Of the values.
        at_least: How many evaluations are needed.

    Raises:
        ValueError: If they are not so.
    """
    steps, curves = np.asarray(env_steps, dtype=np.float64), finite_values(values, ndim)
    if steps.shape != curves.shape[-1:]:
        raise ValueError(f"env_steps: shape {steps.shape}; expected {curves.shape[-1:]}, one for each evaluation")
    if steps.size < at_least:
        raise ValueError(f"env_steps: {steps.size} evaluations; expected at least {at_least}")
    if not (np.all(np.isfinite(steps)) and steps[0] >= 0.0 and np.all(np.diff(steps) > 0.0)):
        raise ValueError("env_steps: expected finite steps, 0 or more, each above the one before")
    return steps, curves
