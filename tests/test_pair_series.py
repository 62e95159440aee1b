"""The pair over time: alignment, windows against direct computation, nothing of the future."""

from __future__ import annotations

from datetime import timedelta
from itertools import pairwise

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pair_bars import START, closes

from core.errors import DataError
from core.pair_series import aligned, origin_of, pair_series
from core.pair_spec import METHODS, PairSpec
from core.stats.hedge import ols
from core.stats.rolling import rolling_ols

TRAILING = ("rolling", "refit", "kalman")
FEW = settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))


def prices(seed: int = 1, n: int = 600, scale: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """A pair that comes back: y about 0.9 of x in logs."""
    rng = np.random.default_rng(seed)
    x = np.cumsum(rng.normal(0, 5e-4, n))
    spread = np.zeros(n)
    for i in range(1, n):
        spread[i] = 0.95 * spread[i - 1] + rng.normal(0, 1e-3)
    return scale * 3_000 * np.exp(0.9 * x + spread), scale * 60_000 * np.exp(x)


def spec_of(method: str, **more: object) -> PairSpec:
    options: dict[str, object] = {"window_bars": 40, "refit_bars": 15, "burn_in_bars": 200}
    return PairSpec("yusdt", "xusdt", method=method, **(options | more))  # type: ignore[arg-type]


def rows_of(spec: PairSpec, bars: pl.DataFrame) -> pl.DataFrame:
    frame = aligned(spec, bars)
    origin = origin_of(spec, frame)
    fit = ols(*origin.legs(frame)) if spec.is_in_sample else None
    return pair_series(spec, frame, origin, fit).rows


def array(rows: pl.DataFrame, name: str) -> np.ndarray:
    return rows[name].fill_null(np.nan).to_numpy()


# -- alignment --


def test_only_bars_that_both_legs_have_are_kept() -> None:
    y, x = prices(n=10)
    frame = aligned(spec_of("ols"), closes(y, x, without=((2, 5), (7,))))
    assert frame["ts"].to_list() == [
        START + timedelta(minutes=i) for i in range(10) if i not in (2, 5, 7)
    ]
    assert not frame["is_stale"].any()


def test_a_last_price_is_carried_no_further_than_asked_and_marked() -> None:
    y, x = prices(n=12)
    frame = aligned(spec_of("ols", carry_bars=2), closes(y, x, without=((4, 5, 6, 7), ())))
    minutes = [(at - START).seconds // 60 for at in frame["ts"]]
    assert minutes == [0, 1, 2, 3, 4, 5, 8, 9, 10, 11]
    assert frame["price_y"].to_list()[4:6] == [y[3], y[3]]
    assert [m for m, stale in zip(minutes, frame["is_stale"], strict=True) if stale] == [4, 5]


def test_a_bar_in_which_neither_leg_traded_does_not_exist_even_when_carrying() -> None:
    y, x = prices(n=8)
    frame = aligned(spec_of("ols", carry_bars=5), closes(y, x, without=((3,), (3,))))
    assert frame.height == 7


def test_bars_below_the_least_turnover_are_left_out_of_both_legs() -> None:
    y, x = prices(n=6)
    bars = closes(y, x).with_columns(
        volume=pl.when((pl.col("symbol") == "yusdt") & (pl.col("ts") == START))
        .then(0.001)
        .otherwise(1.0)
    )
    assert aligned(spec_of("ols", min_turnover=100.0), bars).height == 5
    assert aligned(spec_of("ols", min_turnover=1.0), bars).height == 6
    assert aligned(spec_of("ols", min_turnover=4_000.0), bars).height == 0


def test_one_symbol_against_itself_is_a_defined_answer() -> None:
    y, x = prices(n=100)
    spec = PairSpec("yusdt", "yusdt", method="rolling", window_bars=20)
    rows = rows_of(spec, closes(y, x))
    assert rows.height == 100
    assert rows["zscore"].null_count() == 100
    assert array(rows, "corr")[-1] == pytest.approx(1.0)


# -- the windows --


@pytest.mark.parametrize("scale", [1.0, 1e-8 / 3_000, 1e8 / 60_000])
@pytest.mark.parametrize("is_log", [True, False])
def test_rolling_ols_in_sql_is_a_refit_of_every_window(is_log: bool, scale: float) -> None:
    spec = spec_of("rolling", is_log=is_log)
    bars = closes(*prices(scale=scale))
    frame = aligned(spec, bars)
    rows = rows_of(spec, bars)
    origin = origin_of(spec, frame)
    direct = rolling_ols(*origin.legs(frame), 40)
    for name, values in (("zscore", direct.zscore), ("beta", direct.beta * origin.beta_scale),
                         ("se_beta", direct.se_beta * origin.beta_scale)):  # fmt: skip
        assert np.isnan(array(rows, name)[:39]).all()
        np.testing.assert_allclose(array(rows, name), values, rtol=1e-8, atol=0)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("is_log", [True, False])
def test_price_alpha_and_beta_give_the_spread_back(method: str, is_log: bool) -> None:
    rows = rows_of(spec_of(method, is_log=is_log), closes(*prices()))
    y, x = array(rows, "price_y"), array(rows, "price_x")
    y, x = (np.log(y), np.log(x)) if is_log else (y, x)
    spread = y - array(rows, "alpha") - array(rows, "beta") * x
    known = ~np.isnan(spread)
    assert known.sum() >= 350
    tolerance = 1e-12 if is_log else 1e-8
    np.testing.assert_allclose(spread[known], array(rows, "spread")[known], atol=tolerance)


@pytest.mark.parametrize("method", METHODS)
def test_the_z_score_is_the_charted_spread_over_its_charted_deviation(method: str) -> None:
    rows = rows_of(spec_of(method), closes(*prices())).drop_nulls("zscore")
    again = (rows["spread"] - rows["spread_mean"]) / rows["spread_sd"]
    np.testing.assert_allclose(rows["zscore"], again, rtol=1e-12)


def test_a_held_fit_is_measured_against_its_own_trailing_window() -> None:
    rows = rows_of(spec_of("ols"), closes(*prices()))
    spread = array(rows, "spread")
    for at in (39, 200, 599):
        part = spread[at - 39 : at + 1]
        expected = (part[-1] - part.mean()) / part.std(ddof=1)
        assert rows["zscore"][at] == pytest.approx(expected, rel=1e-9)
    assert rows["zscore"].head(39).null_count() == 39


def test_rolling_correlation_is_of_log_returns_between_neighbouring_bars_alone() -> None:
    y, x = prices(n=200)
    missing = (50, 51, 90)
    rows = rows_of(spec_of("ols", is_log=False), closes(y, x, without=(missing, ())))
    kept = [i for i in range(200) if i not in missing]
    steps = [(b, np.log(y[b] / y[a]), np.log(x[b] / x[a]))
             for a, b in pairwise(kept) if b == a + 1]  # fmt: skip
    corr = dict(zip(kept, array(rows, "corr"), strict=True))
    for end in range(39, len(steps), 30):
        part = steps[end - 39 : end + 1]
        expected = np.corrcoef([p[1] for p in part], [p[2] for p in part])[0, 1]
        assert corr[part[-1][0]] == pytest.approx(expected, rel=1e-9)
    assert np.isnan(corr[52])
    assert np.isnan(corr[91])


def test_rolling_correlation_of_levels_matches_numpy() -> None:
    y, x = prices(n=120)
    rows = rows_of(spec_of("ols"), closes(y, x))
    expected = np.corrcoef(np.log(y[80:]), np.log(x[80:]))[0, 1]
    assert rows["corr_levels"][-1] == pytest.approx(expected, rel=1e-9)


def test_refits_happen_at_times_of_the_clock() -> None:
    y, x = prices(n=300)
    whole = rows_of(spec_of("refit"), closes(y, x))
    bars = closes(y, x).filter(pl.col("ts") >= START + timedelta(minutes=7))
    later = rows_of(spec_of("refit"), bars)
    both = whole.join(later, on="ts", suffix="_later").drop_nulls("beta_later").tail(200)
    np.testing.assert_allclose(both["beta"], both["beta_later"], rtol=1e-9)
    changed = both.filter(pl.col("beta") != pl.col("beta").shift(1))["ts"]
    assert {at.minute % 15 for at in changed} == {0}


# -- nothing from the future --


@FEW
@given(cut=st.integers(260, 599), seed=st.integers(0, 50), method=st.sampled_from(TRAILING),
       is_log=st.booleans(), carry=st.sampled_from((0, 3)))  # fmt: skip
def test_cutting_off_the_future_changes_no_earlier_value_bit_for_bit(
    cut: int, seed: int, method: str, is_log: bool, carry: int
) -> None:
    y, x = prices(seed)
    missing = tuple(np.random.default_rng(seed).integers(1, 599, 30).tolist())
    bars = closes(y, x, without=(missing, ()))
    spec = spec_of(method, is_log=is_log, carry_bars=carry)
    whole = rows_of(spec, bars)
    until = START + timedelta(minutes=cut)
    short = rows_of(spec, bars.filter(pl.col("ts") <= until))
    assert short.equals(whole.filter(pl.col("ts") <= until), null_equal=True)


@pytest.mark.parametrize("cut", [5_000, 17_001])
def test_long_windows_do_not_look_ahead_either(cut: int) -> None:
    """Long enough that DuckDB shares a window's work between threads and tree nodes."""
    y, x = prices(3, 20_000)
    spec = spec_of("rolling", window_bars=500)
    whole = rows_of(spec, closes(y, x))
    short = rows_of(spec, closes(y[:cut], x[:cut]))
    assert short.equals(whole.head(cut), null_equal=True)


def test_the_trailing_columns_of_a_held_fit_do_not_look_ahead() -> None:
    y, x = prices(2, 5_000)
    spec = spec_of("ols")
    bars = closes(y, x)
    frame = aligned(spec, bars)
    origin = origin_of(spec, frame)
    fit = ols(*origin.legs(frame))
    whole = pair_series(spec, frame, origin, fit).rows
    short = pair_series(spec, frame.head(3_001), origin, fit).rows
    assert short.equals(whole.head(3_001), null_equal=True)


# -- what cannot be known is null --


@FEW
@given(shift=st.floats(0.01, 100), seed=st.integers(0, 20), method=st.sampled_from(METHODS))
def test_a_z_score_of_logs_knows_no_price_unit(shift: float, seed: int, method: str) -> None:
    y, x = prices(seed, 400)
    first = rows_of(spec_of(method), closes(y, x))
    second = rows_of(spec_of(method), closes(y * shift, x / shift))
    np.testing.assert_allclose(
        array(first, "zscore"), array(second, "zscore"), rtol=1e-6, atol=1e-8
    )


@pytest.mark.parametrize("method", ["rolling", "refit"])
def test_a_leg_that_stands_still_gives_nulls_and_no_nan(method: str) -> None:
    y, x = prices(n=300)
    x[100:200] = x[100]
    rows = rows_of(spec_of(method, is_log=True), closes(y, x))
    for name in ("spread", "zscore", "beta", "corr", "se_beta", "alpha"):
        assert rows[name].is_nan().sum() == 0, name
    assert rows["corr"][150] is None
    assert rows["zscore"][160] is None


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"window_bars": 2}, "window of 2"),
        ({"burn_in_bars": 50}, "burn-in of 50"),
        ({"carry_bars": -1}, "carry of -1"),
        ({"min_turnover": float("nan")}, "turnover"),
        ({"timeframe": "7min"}, "7min"),
        ({"method": "magic"}, "magic"),
    ],
)
def test_what_cannot_be_computed_is_refused_in_words(
    options: dict[str, object], words: str
) -> None:
    with pytest.raises(DataError, match=words):
        PairSpec("a", "b", **options)  # type: ignore[arg-type]
