"""What the functions of this room ask of their arguments."""

import numpy as np
import numpy.typing as npt


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


def check_level(level: float) -> None:
    """Refuse a confidence level that is not a probability strictly between 0 and 1.

    Raises:
        ValueError: If it is not.
    """
    if not 0.0 < level < 1.0:
        raise ValueError(f"level: {level}; expected between 0 and 1, such as 0.95")
