# SPDX-License-Identifier: Apache-2.0
"""Gaussian information: analytic covariances, canonical correlations, and what few samples do."""

from __future__ import annotations

import numpy as np
import prunecore as pc
import pytest
from prunecore.studies.gaussian_information import (
    conditional_covariance,
    estimate_sufficiency,
    information_gain,
    information_sufficiency,
)


def random_covariance(size: int, seed: int) -> np.ndarray:
    root = np.random.default_rng(seed).normal(size=(size, 2 * size))
    return root @ root.T / size


def test_two_correlated_numbers_share_the_information_of_their_correlation() -> None:
    for rho in (0.0, 0.3, 0.9, -0.99):
        joint = np.array([[4.0, 2 * 3 * rho], [2 * 3 * rho, 9.0]])
        wanted = -0.5 * np.log(1 - rho**2)
        assert information_sufficiency(joint, 1) == pytest.approx(wanted, abs=1e-12)
        assert conditional_covariance(joint, 1)[0, 0] == pytest.approx(9 * (1 - rho**2))


def test_without_a_floor_it_is_that_of_the_canonical_correlations() -> None:
    joint = random_covariance(7, 1)
    roots = [np.linalg.cholesky(part) for part in (joint[:3, :3], joint[3:, 3:])]
    whitened = np.linalg.solve(roots[0], joint[:3, 3:]) @ np.linalg.inv(roots[1]).T
    rho = np.linalg.svd(whitened, compute_uv=False)
    wanted = -0.5 * np.log(1 - rho**2).sum()
    assert information_sufficiency(joint, 3) == pytest.approx(wanted, rel=1e-10)
    order = [3, 4, 5, 6, 0, 1, 2]  # mutual information is the same both ways
    swapped = information_sufficiency(joint[np.ix_(order, order)], 4)
    assert swapped == pytest.approx(wanted, rel=1e-10)


def test_it_agrees_with_scikit_learns_canonical_correlations_of_samples() -> None:
    decomposition = pytest.importorskip("sklearn.cross_decomposition")
    draw = np.random.default_rng(2)
    u = draw.normal(size=(500, 3))
    v = u @ draw.normal(size=(3, 2)) + draw.normal(size=(500, 2))
    cca = decomposition.CCA(n_components=2, max_iter=20000, tol=1e-12).fit(u, v)
    pairs = zip(*(scores.T for scores in cca.transform(u, v)), strict=True)
    rho = np.array([np.corrcoef(one, two)[0, 1] for one, two in pairs])
    joint = np.cov(np.concatenate([u, v], axis=1).T)
    wanted = -0.5 * np.log(1 - rho**2).sum()
    assert information_sufficiency(joint, 3) == pytest.approx(wanted, rel=1e-6)


def test_a_floor_is_noise_added_to_what_is_explained() -> None:
    joint = random_covariance(6, 3)
    noisy = joint.copy()
    noisy[2:, 2:] += 0.7 * np.eye(4)
    wanted = information_sufficiency(noisy, 2)
    assert information_sufficiency(joint, 2, 0.7) == pytest.approx(wanted, rel=1e-12)


def test_what_is_determined_without_noise_is_infinite_and_with_it_is_all_there_is() -> None:
    joint = np.array([[2.0, 4.0], [4.0, 8.0]])  # V = 2 U
    assert information_sufficiency(joint, 1) == np.inf
    wanted = 0.5 * np.log((8 + 0.5) / 0.5)
    assert information_sufficiency(joint, 1, 0.5) == pytest.approx(wanted)
    assert information_gain([[8.0]], [[0.0]], 0.5) == pytest.approx(wanted)


def test_a_part_is_determined_by_the_whole_but_not_the_whole_by_the_part() -> None:
    draw = np.random.default_rng(4)
    whole = draw.normal(size=(4000, 6))
    part = whole[:, :3] @ draw.normal(size=(3, 3))
    other = draw.normal(size=(4000, 5))
    found = estimate_sufficiency([whole, part, other], np.arange(4000) // 100)
    np.testing.assert_allclose(np.diag(found.shares), 1, atol=1e-9)
    assert found.shares[0, 1] == pytest.approx(1, abs=1e-9)
    # Half of the whole's directions, all of one variance, are unknown: half of its information.
    assert found.shares[1, 0] == pytest.approx(0.5, abs=0.01)
    assert found.gaps[0, 1] == pytest.approx(0.5, abs=0.01) == -found.gaps[1, 0]
    assert found.gaps[0, 1] > 20 * found.gap_errors[0, 1]
    np.testing.assert_allclose(found.shares[[0, 1, 2, 2], [2, 2, 0, 1]], 0, atol=0.005)


def test_estimates_of_many_samples_come_to_the_analytic_value() -> None:
    joint = random_covariance(6, 5)
    rows = np.random.default_rng(6).multivariate_normal(np.zeros(6), joint, 60000) + 3
    found = estimate_sufficiency([rows[:, :2], rows[:, 2:]], np.arange(60000) // 1000)
    noise = 0.01 * np.trace(joint[2:, 2:]) / 4
    wanted = information_sufficiency(joint, 2, noise)
    most = information_gain(joint[2:, 2:], np.zeros((4, 4)), noise)
    assert found.nats[0, 1] == pytest.approx(wanted, rel=0.02)
    assert found.shares[0, 1] == pytest.approx(wanted / most, rel=0.02)


def test_few_samples_do_not_explain_by_chance() -> None:
    """30 samples of 10 independent directions: the plain estimate finds what is not there."""
    plain, crossed = [], []
    for seed in range(20):
        rows = np.random.default_rng(seed).normal(size=(30, 20))
        covariance = np.cov(rows.T, bias=True)
        noise = 0.01 * np.trace(covariance[10:, 10:]) / 10
        gain = information_sufficiency(covariance, 10, noise)
        most = information_gain(covariance[10:, 10:], np.zeros((10, 10)), noise)
        plain.append(gain / most)
        found = estimate_sufficiency([rows[:, :10], rows[:, 10:]], np.arange(30))
        crossed.append(found.shares[0, 1])
    assert np.mean(plain) > 0.08
    assert -0.3 < np.mean(crossed) < 0 and np.max(crossed) < 0.02


def test_errors_are_the_spread_of_estimates_from_other_samples() -> None:
    joint = random_covariance(4, 7)
    found = []
    for seed in range(30):
        rows = np.random.default_rng(seed).multivariate_normal(np.zeros(4), joint, 600)
        found.append(estimate_sufficiency([rows[:, :2], rows[:, 2:]], np.arange(600) // 20))
    spread = np.std([each.shares[0, 1] for each in found], ddof=1)
    told = np.mean([each.errors[0, 1] for each in found])
    assert 0.7 < told / spread < 1.4
    spread = np.std([each.gaps[0, 1] for each in found], ddof=1)
    told = np.mean([each.gap_errors[0, 1] for each in found])
    assert 0.7 < told / spread < 1.4


def test_weights_stand_for_samples_that_come_several_times() -> None:
    rows = np.random.default_rng(8).normal(size=(40, 5)) @ random_covariance(5, 8)
    groups, counts = np.arange(40) // 4, np.random.default_rng(9).integers(1, 4, 40)
    weighted = estimate_sufficiency([rows[:, :2], rows[:, 2:]], groups, counts)
    several = np.repeat(rows, counts, axis=0)
    again = estimate_sufficiency([several[:, :2], several[:, 2:]], np.repeat(groups, counts))
    np.testing.assert_allclose(weighted.shares, again.shares, rtol=1e-9)
    np.testing.assert_allclose(weighted.errors, again.errors, rtol=1e-6, atol=1e-12)


def test_two_groups_give_no_errors_and_one_gives_nothing() -> None:
    rows = np.random.default_rng(10).normal(size=(40, 4))
    found = estimate_sufficiency([rows[:, :2], rows[:, 2:]], np.arange(40) % 2)
    assert np.isfinite(found.shares).all() and np.isnan(found.errors).all()
    with pytest.raises(pc.ArgumentError, match="2 groups of samples are needed"):
        estimate_sufficiency([rows, rows], np.zeros(40, dtype=int))
    with pytest.raises(pc.ArgumentError, match="floor is 0"):
        estimate_sufficiency([rows, rows], np.arange(40), floor=0)
    with pytest.raises(pc.ArgumentError, match="embedding 1 is the same for all samples"):
        estimate_sufficiency([rows, np.ones((40, 2))], np.arange(40))
