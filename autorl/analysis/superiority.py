"""How likely one configuration beats another on a fresh seed."""

import numpy as np
import numpy.typing as npt
from scipy import special

from autorl.analysis.checks import Direction, check_level, finite_vector
from autorl.analysis.estimate import Estimate, Statistic


def probability_better(
    a: npt.ArrayLike, b: npt.ArrayLike, *, higher_is_better: bool = True, level: float = 0.95
) -> Estimate:
    """Estimate the probability that ``a`` beats ``b`` when each is trained on one fresh seed.

    The estimand is theta = P(A > B) + P(A = B) / 2 for independent seeds: 0.5 says that they are
    as good, 1 that ``a`` always wins. The estimate is Mann and Whitney's U / (mn), which Agarwal
    et al. (2021, arXiv 2108.13264, section 4.3) call the probability of improvement.

    The interval is Jeffreys' for a proportion theta observed in N independent pairs, the quantiles
    of a beta distribution with theta N + 1/2 and (1 - theta) N + 1/2; where one side always wins it
    is Clopper and Pearson's (Brown, Cai and DasGupta 2001, Statistical Science 16, 101-133, section
    4.1). N is the effective number that gives the estimate's variance V: N = theta (1 - theta) / V
    with V of DeLong et al. (1988, Biometrics 44, 837-845; it is Brunner and Munzel's). Korn and
    Graubard (1998, Survey Methodology 24, 193-201) do so for survey proportions, Mee (1990, JASA
    85, 793-800) for this one. V is poorly known with few seeds, so N is kept between two bounds:

    - at least min(m, n): U / (mn) is an average of means of that many disjoint pairs, so its
      variance is at most theta (1 - theta) / min(m, n), ties included (van Dantzig 1951). This
      N is taken where the seeds show no spread: one side always wins, or all scores tie.
    - at most 3mn / (m + n + 1): what two equal continuous distributions have.

    Measured least coverage of nominal 95 % intervals and, in brackets, mean width, over normal
    scores (means 0 to 3 standard deviations apart; standard deviations 1:5), 0/500 mixtures with
    and without noise, scores tied at a ceiling, and narrow scores between a mixture's two modes
    (``benchmarks/calibration.py`` draws them again):

    =================================  ===========  ===========  ===========  ===========
    method                             n = 3        n = 5        n = 10       n = 20
    =================================  ===========  ===========  ===========  ===========
    this one                           0.98 (0.73)  0.95 (0.59)  0.95 (0.43)  0.94 (0.31)
    Clopper-Pearson with the same N    0.98 (0.81)  0.98 (0.67)  0.97 (0.48)  0.96 (0.34)
    Wilson with the same N             0.86 (0.65)  0.90 (0.55)  0.92 (0.41)  0.92 (0.30)
    logit Brunner-Munzel, t            0.75 (0.78)  0.91 (0.65)  0.89 (0.44)  0.93 (0.30)
    Newcombe 2006, method 5            0.75 (0.61)  0.83 (0.50)  0.77 (0.38)  0.85 (0.27)
    =================================  ===========  ===========  ===========  ===========

    With sides of unequal size and spread it is least: 0.91 for 10 steady seeds against 3 whose
    standard deviation is five times theirs. Samples of 3 that do not overlap give (0.29, 1), of 5
    (0.48, 1), of 10 (0.69, 1). That is not timid: had ``b`` beaten a steady ``a`` on half of its
    seeds, 5 of 5 would still go to ``a`` one time in 32.

    Args:
        a: Shape ``(m,)``, one finite score for each seed.
        b: Shape ``(n,)``, the same for the configuration it is compared with; seeds are not
            paired and m may differ from n.
        higher_is_better: Whether the higher score wins; else the lower one does.
        level: Two-sided confidence level, in (0, 1).

    Returns:
        The estimate, a probability; only the order of the scores matters. The ends are NaN if
        either side has one seed, which says nothing about the spread between seeds.

    Raises:
        ValueError: If a side is empty or has a score that is not finite (the message says which),
            or ``level`` is not in (0, 1).
    """
    check_level(level)
    theta, pairs = effective_pairs(a, b, higher_is_better=higher_is_better)
    won, lost = theta * pairs, (1.0 - theta) * pairs
    if min(won, lost) == 0.0:
        return Estimate(theta, lower_limit(won, lost, level), 1.0 - lower_limit(lost, won, level), level)
    tail = (1.0 - level) / 2.0
    low, high = special.betaincinv(won + 0.5, lost + 0.5, [tail, 1.0 - tail])
    return Estimate(theta, float(low), float(high), level)


def probability_on_a_fresh_seed(
    a: npt.ArrayLike,
    b: npt.ArrayLike,
    *,
    statistic: Statistic,
    direction: Direction,
    level: float = 0.95,
) -> Estimate:
    """Estimate the probability that ``a`` beats ``b`` on one fresh seed, in what an objective is about.

    One seed has a score and no spread. Where the objective is the standard deviation over seeds, what is compared is
    how far a seed's score lies from its configuration's median, the z of Brown and Forsythe (1974, JASA 69, 364-367);
    else it is `probability_better` of the scores. That the medians are estimated is left out of the interval.

    Args:
        a: Shape ``(m,)``, one finite score for each seed.
        b: Shape ``(n,)``, the same for the configuration it is compared with.
        statistic: how the objective makes one number of the scores.
        direction: what is better in that number.
        level: two-sided confidence level, in (0, 1).
    """
    left, right = finite_vector("a", a), finite_vector("b", b)
    if statistic == "std":
        left, right = np.abs(left - np.median(left)), np.abs(right - np.median(right))
    return probability_better(left, right, higher_is_better=direction == "maximize", level=level)


def effective_pairs(a: npt.ArrayLike, b: npt.ArrayLike, *, higher_is_better: bool) -> tuple[float, float]:
    """Return theta, and how many independent pairs would know it as well as the scores do; NaN where a side has one."""
    better, worse = finite_vector("a", a), finite_vector("b", b)
    if not higher_is_better:
        better, worse = worse, better
    wins = np.greater.outer(better, worse) + 0.5 * np.equal.outer(better, worse)
    theta = float(np.mean(wins))
    m, n = wins.shape
    fewest = min(m, n)
    if fewest < 2:
        return theta, float("nan")
    of_each_better, of_each_worse = np.mean(wins, axis=1), np.mean(wins, axis=0)
    variance = np.var(of_each_better, ddof=1) / m + np.var(of_each_worse, ddof=1) / n
    if variance == 0.0:
        return theta, float(fewest)
    return theta, float(np.clip(theta * (1.0 - theta) / variance, fewest, 3.0 * m * n / (m + n + 1)))


def lower_limit(won: float, lost: float, level: float) -> float:
    """Return Clopper and Pearson's lower limit of a proportion, for counts that need not be whole."""
    if won == 0.0:
        return 0.0
    return float(special.betaincinv(won, lost + 1.0, (1.0 - level) / 2.0))
