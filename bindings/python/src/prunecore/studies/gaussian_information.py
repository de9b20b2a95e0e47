# SPDX-License-Identifier: Apache-2.0
"""How much of one embedding another one determines: Gaussian information, in closed form.

Plain maths. Information sufficiency is the proxy for the deficiency of one task to another in arXiv
2503.05491: IS(U -> V) = H(Z_V) - H(Z_V | Z_U), for embeddings Z of the same inputs. Of Gaussians it
is closed: 1/2 log det C_V - 1/2 log det C_(V|U). That number is the same both ways, and infinite
where Z_U determines a part of Z_V; so Z_V is taken as seen through noise of some variance, the
floor. It is then finite, and as asymmetric as inclusion is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from prunecore.errors import ArgumentError

Values = npt.NDArray[np.float64]
MOST_FOLDS = 5
_NO_VARIANCE = 1e-12  # of the largest: directions below have no variance, only rounding


def conditional_covariance(joint: npt.ArrayLike, n_given: int) -> Values:
    """C_(V|U) = C_V - C_VU C_U^-1 C_UV, of the covariance of (U, V).

    Parameters
    ----------
    joint : array of float, shape (n, n)
        Covariance of (U, V). Where C_U has no inverse, the pseudo-inverse stands for it.
    n_given : int
        Size of U.
    """
    table = np.asarray(joint, dtype=np.float64)
    cross = table[:n_given, n_given:]
    found: Values = table[n_given:, n_given:] - cross.T @ _solved(table[:n_given, :n_given], cross)
    return found


def information_gain(before: npt.ArrayLike, after: npt.ArrayLike, floor: float = 0.0) -> float:
    """1/2 log det (before + floor) - 1/2 log det (after + floor), in nats.

    Parameters
    ----------
    before, after : array of float, shape (n, n)
        Covariances of Z_V, and of what is left of it when Z_U is known.
    floor : float
        Variance of the noise in every direction.
    """
    return _half_log_det(before, floor) - _half_log_det(after, floor)


def information_sufficiency(joint: npt.ArrayLike, n_given: int, floor: float = 0.0) -> float:
    """IS(U -> V) in nats, of the covariance of (U, V).

    With floor 0 it is the mutual information, -1/2 sum log(1 - rho^2) over the canonical
    correlations rho.

    Parameters
    ----------
    joint, n_given
        As for `conditional_covariance`.
    floor : float
        Variance of the noise that V is seen through.
    """
    table = np.asarray(joint, dtype=np.float64)
    return information_gain(
        table[n_given:, n_given:], conditional_covariance(table, n_given), floor
    )


@dataclass(frozen=True, eq=False)
class SufficiencyEstimate:
    """Information sufficiency between T embeddings, estimated from samples.

    Attributes
    ----------
    nats : array of float, shape (T, T)
        IS(U -> V), row U and column V, in nats.
    shares : array of float, shape (T, T)
        The same over what a full knowledge of Z_V would give: 1 where Z_U determines Z_V.
    errors : array of float, shape (T, T)
        Standard errors of the shares.
    gap_errors : array of float, shape (T, T)
        Standard errors of share [a, b] - share [b, a].
    """

    nats: Values
    shares: Values
    errors: Values
    gap_errors: Values

    @property
    def gaps(self) -> Values:
        """Share [a, b] - share [b, a]: above 0 where a determines more of b than b of a."""
        found: Values = self.shares - self.shares.T
        return found


def estimate_sufficiency(
    samples: Sequence[npt.ArrayLike],
    groups: npt.ArrayLike,
    weights: npt.ArrayLike | None = None,
    *,
    floor: float = 0.01,
    step: Callable[[int, int], object] | None = None,
) -> SufficiencyEstimate:
    """Information sufficiency between several embeddings of the same samples.

    The covariance of Z_V, and what is left of it when Z_U is known, are those of predictions of
    samples that the prediction did not see: groups are dealt out to at most 5 folds, and each fold
    is predicted from the others, once by the mean and once by regression on Z_U. So an embedding
    explains nothing by chance: with few samples the estimate is too small, not too large, and can
    be below 0. Errors are those of the jackknife over groups.

    Parameters
    ----------
    samples : sequence of array of float, shape (n, width)
        One embedding per task; widths may differ.
    groups : array of int, shape (n,)
        Which samples belong together, such as the tokens of one sequence: 0 .. G - 1, each at least
        once, G at least 2.
    weights : array of float, shape (n,), optional
        Weights of the samples. Default: all 1.
    floor : float
        Variance of the noise, over the mean variance of Z_V's directions; above 0.
    step : callable, optional
        Called as `step(done, total)` after each round of the jackknife; what it raises ends the
        call.
    """
    tables = [np.asarray(table, dtype=np.float64) for table in samples]
    members = np.asarray(groups)
    count = int(members.max(initial=-1)) + 1
    if count < 2:
        raise ArgumentError(f"2 groups of samples are needed at least, but there are {count}")
    if not floor > 0:
        raise ArgumentError(f"the floor is {floor}, but must be above 0")
    worth = np.ones(len(members)) if weights is None else np.asarray(weights, dtype=np.float64)
    edges = np.cumsum([0, *(table.shape[1] for table in tables)])
    parts = [slice(a, b) for a, b in pairwise(edges.tolist())]
    rows = np.concatenate(tables, axis=1)
    moments = np.array(
        [_moments(rows[members == group], worth[members == group]) for group in range(count)]
    )
    folds = np.arange(count) % min(MOST_FOLDS, count)
    nats, shares = _estimate(moments, folds, parts, floor)
    if count < 3:  # without one of two groups there is nothing to predict it from
        unknown = np.full_like(shares, np.nan)
        return SufficiencyEstimate(nats=nats, shares=shares, errors=unknown, gap_errors=unknown)
    without = np.empty((count, *shares.shape))
    for group in range(count):
        kept = np.arange(count) != group
        without[group] = _estimate(moments[kept], folds[kept], parts, floor)[1]
        if step is not None:
            step(group + 1, count)
    return SufficiencyEstimate(
        nats=nats,
        shares=shares,
        errors=_jackknife(without),
        gap_errors=_jackknife(without - without.transpose(0, 2, 1)),
    )


def _moments(rows: Values, weights: Values) -> Values:
    """Weighted sums of (1, z) (1, z)^T: weight, means and products in one matrix."""
    one = np.concatenate([np.ones((len(rows), 1)), rows], axis=1)
    found: Values = (one * weights[:, None]).T @ one
    return found


def _estimate(
    moments: Values, folds: npt.NDArray[np.int64], parts: Sequence[slice], floor: float
) -> tuple[Values, Values]:
    """Nats and shares from the moments of each group."""
    whole = moments.sum(axis=0)
    total = whole[0, 0]
    n_tasks = len(parts)
    alone = [np.zeros((part.stop - part.start,) * 2) for part in parts]
    given = [[np.zeros_like(alone[target]) for target in range(n_tasks)] for _ in range(n_tasks)]
    for fold in np.unique(folds):
        seen = moments[folds != fold].sum(axis=0)
        # Around the mean of the seen samples; the unseen ones are judged around it, too.
        mean = seen[0, 1:] / seen[0, 0]
        fitted = _centred(seen, mean)
        unseen = _centred(whole - seen, mean)
        for target, part in enumerate(parts):
            alone[target] += unseen[part, part] / total
        for source, own in enumerate(parts):
            slopes = _solved(fitted[own, own], fitted[own])
            for target, part in enumerate(parts):
                slope = slopes[:, part]
                cross = unseen[part, own] @ slope
                left = unseen[part, part] - cross - cross.T + slope.T @ unseen[own, own] @ slope
                given[source][target] += left / total
    nats, shares = np.empty((n_tasks, n_tasks)), np.empty((n_tasks, n_tasks))
    for target in range(n_tasks):
        noise = floor * float(np.trace(alone[target])) / len(alone[target])
        if noise <= 0:
            raise ArgumentError(f"embedding {target} is the same for all samples")
        most = information_gain(alone[target], np.zeros_like(alone[target]), noise)
        for source in range(n_tasks):
            nats[source, target] = information_gain(alone[target], given[source][target], noise)
            shares[source, target] = nats[source, target] / most
    return nats, shares


def _centred(moments: Values, mean: Values) -> Values:
    """Sums of products around a mean, from the moments of samples."""
    weight, sums = moments[0, 0], moments[0, 1:]
    shift = np.outer(sums, mean)
    found: Values = moments[1:, 1:] - shift - shift.T + weight * np.outer(mean, mean)
    return found


def _jackknife(without: Values) -> Values:
    """Standard errors of an estimate from its values without each group."""
    count = len(without)
    spread = ((without - without.mean(axis=0)) ** 2).sum(axis=0)
    found: Values = np.sqrt((count - 1) / count * spread)
    return found


def _solved(covariance: Values, cross: Values) -> Values:
    """C^-1 cross for a covariance; directions without variance are left out."""
    values, vectors = np.linalg.eigh((covariance + covariance.T) / 2)
    kept = values > _NO_VARIANCE * max(float(values[-1]), 0.0)
    basis = vectors[:, kept]
    found: Values = basis @ ((basis.T @ cross) / values[kept, None])
    return found


def _half_log_det(covariance: npt.ArrayLike, floor: float) -> float:
    table = np.asarray(covariance, dtype=np.float64)
    values = np.linalg.eigvalsh((table + table.T) / 2) + floor
    if not values[0] > 0:
        return -np.inf  # a direction without variance, seen without noise
    return float(np.log(values).sum()) / 2
