"""Hayashi-Yoshida against the sum over overlapping intervals written out, and the Epps effect."""

from __future__ import annotations

import numpy as np
import pytest

from core.errors import DataError, NotEnoughData
from core.stats.asynchronous import hayashi_yoshida, signature, ticks

Leg = tuple[np.ndarray, np.ndarray]


def walks(
    seed: int, *, hours: float = 6.0, rho: float = 0.8, noise: float = 0.0
) -> tuple[Leg, Leg]:
    """Two correlated walks on a 100 ms grid, each seen at random moments of its own."""
    rng = np.random.default_rng(seed)
    n = int(hours * 36_000)
    shocks = rng.normal(0, 2e-5, (2, n))
    paths = np.cumsum([shocks[0], rho * shocks[0] + np.sqrt(1 - rho**2) * shocks[1]], axis=1)
    legs = []
    for path, count in zip(paths, (int(n * 0.12), int(n * 0.07)), strict=True):
        at = np.sort(rng.choice(n, count, replace=False))
        bounce = rng.choice((-1.0, 1.0), count) * noise
        legs.append((at * 100, np.exp(path[at] + bounce)))
    return legs[0], legs[1]


def written_out(a: Leg, b: Leg) -> float:
    """The definition: every product of increments whose intervals overlap."""
    total = 0.0
    steps_a, steps_b = np.diff(np.log(a[1])), np.diff(np.log(b[1]))
    for i in range(len(steps_a)):
        for j in range(len(steps_b)):
            if min(a[0][i + 1], b[0][j + 1]) > max(a[0][i], b[0][j]):
                total += steps_a[i] * steps_b[j]
    return total / np.sqrt((steps_a @ steps_a) * (steps_b @ steps_b))


@pytest.mark.parametrize("seed", range(6))
def test_it_is_the_sum_over_overlapping_intervals(seed: int) -> None:
    rng = np.random.default_rng(seed)
    legs = [
        (np.unique(rng.integers(0, 3_000, 80)) + shift, None) for shift in (0, 400 * (seed % 3))
    ]
    a, b = ((at, np.exp(np.cumsum(rng.normal(0, 0.01, len(at))))) for at, _ in legs)
    assert hayashi_yoshida(*a, *b).correlation == pytest.approx(written_out(a, b), abs=1e-12)


def test_it_recovers_the_correlation_that_one_second_bars_miss() -> None:
    found = [signature(*a, *b) for a, b in (walks(seed) for seed in range(5))]
    references = np.array([one.reference.correlation for one in found])
    assert abs(references.mean() - 0.8) < 0.02
    assert np.mean([one.correlation[0] for one in found]) < 0.65
    for one in found:
        assert one.correlation[6] > one.correlation[0]
        assert one.recommended_s is not None
        assert one.recommended_s >= 10


def test_bid_ask_bounce_is_taken_out_of_the_variances() -> None:
    a, b = walks(3, noise=4e-5)
    found = hayashi_yoshida(*a, *b)
    assert found.correlation < 0.5
    assert found.noise_corrected == pytest.approx(0.8, abs=0.08)
    assert found.reference == found.noise_corrected


def test_bounce_that_lasts_for_trades_is_taken_out_as_well() -> None:
    rng = np.random.default_rng(5)
    a, b = walks(5)
    sides = [np.repeat(rng.choice((-1.0, 1.0), len(leg[0]) // 8 + 1), 8)[: len(leg[0])]
             for leg in (a, b)]  # fmt: skip
    noisy = [
        (at, price * np.exp(6e-5 * side)) for (at, price), side in zip((a, b), sides, strict=True)
    ]
    assert hayashi_yoshida(*noisy[0], *noisy[1]).noise_corrected == pytest.approx(0.8, abs=0.12)


def test_where_one_leg_follows_later_the_long_bars_are_the_target() -> None:
    a, b = walks(4)
    late = (b[0] + 5_000, b[1])
    found = signature(*a, *late)
    assert found.reference.reference < 0.3
    assert found.is_late
    assert found.target > 0.7
    assert found.recommended_s is not None
    assert found.recommended_s >= 30


def test_noise_is_not_taken_for_a_leg_that_follows() -> None:
    """By the long bars' median alone, 22 of these 60 pairs would be said to be late."""
    late = [signature(*a, *b).is_late for a, b in (walks(seed, hours=2.0) for seed in range(60))]
    assert sum(late) <= 1


def test_one_series_with_itself_is_one() -> None:
    a, _ = walks(1, hours=0.2)
    assert hayashi_yoshida(*a, *a).correlation == pytest.approx(1.0, abs=1e-12)


def test_trades_of_one_millisecond_count_as_the_last() -> None:
    times, prices = ticks([1, 1, 2, 5, 5, 5], [1.0, 2.0, 3.0, 4.0, 5.0, 6.0])
    assert times.tolist() == [1, 2, 5]
    assert prices.tolist() == [2.0, 3.0, 6.0]


@pytest.mark.parametrize("scale", [1e-8, 1e8])
def test_the_price_s_size_does_not_matter(scale: float) -> None:
    a, b = walks(2, hours=0.5)
    first = hayashi_yoshida(*a, *b).correlation
    assert hayashi_yoshida(a[0], a[1] * scale, *b).correlation == pytest.approx(first, rel=1e-9)


@pytest.mark.parametrize(
    ("leg", "error", "words"),
    [
        (([1], [2.0]), NotEnoughData, "1 and 4 ticks"),
        (([], []), NotEnoughData, "0 bars"),
        (([3, 2, 1], [1.0, 2.0, 3.0]), DataError, "order"),
        (([1, 2, 3], [1.0, -2.0, 3.0]), DataError, "price"),
        (([1, 2, 3], [1.0, np.nan, 3.0]), DataError, "row 1"),
        (([1, 2, 3], [1.0, 1.0, 1.0]), DataError, "never moves"),
        (([100, 200, 300], [1.0, 2.0, 3.0]), NotEnoughData, "overlap"),
    ],
)
def test_what_allows_no_answer_is_refused_in_words(
    leg: tuple[list[int], list[float]], error: type[Exception], words: str
) -> None:
    other = ([1, 2, 3, 4], [1.0, 2.0, 1.0, 3.0])
    with pytest.raises(error, match=words):
        hayashi_yoshida(leg[0], leg[1], *other)


def test_too_short_a_range_recommends_nothing_and_says_why() -> None:
    a, b = walks(1, hours=0.004)
    found = signature(*a, *b)
    assert found.recommended_s is None
    assert "30 returns" in found.reason


def test_bars_that_never_read_the_reference_recommend_nothing() -> None:
    a, b = walks(1)
    found = signature(*a, *b, bars_s=(1, 2))
    assert found.recommended_s is None
    assert "even 2 s bars read" in found.reason


def test_bars_are_ours_joined_on_their_start_without_returns_across_gaps() -> None:
    at = np.arange(0, 200_000, 1_000)
    rng = np.random.default_rng(1)
    a, b = (np.exp(np.cumsum(rng.normal(0, 1e-3, 200))) for _ in range(2))
    kept = np.r_[0:80, 90:200]
    found = signature(at[kept], a[kept], at, b, bars_s=(1,))
    want_a, want_b = np.diff(np.log(a[kept])), np.diff(np.log(b[kept]))
    near = np.diff(kept) == 1
    assert found.counts[0] == near.sum() == 188
    assert found.correlation[0] == pytest.approx(np.corrcoef(want_a[near], want_b[near])[0, 1])
