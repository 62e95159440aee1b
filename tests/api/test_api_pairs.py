"""A pair's analysis, its file and the matrix: the pages' numbers, and those of other libraries."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from statsmodels.tsa.stattools import coint

from core import queries
from core.api import pairs as pairs_route
from core.backtest.classic import classic
from core.exporting import csv_bytes, pair_columns
from core.matrix import panel_correlation, read_panel
from core.pair_spec import METHODS, PairSpec
from core.pairs import PairAnalysis, analyse_pair, extended
from core.store import Store
from tests.api.conftest import Api, assert_problem

PAIR = {"y": "arbusdt", "x": "opusdt"}
FAR = datetime(2200, 1, 1)


def time_of(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=None)


def again(store: Store, told: dict[str, Any], spec: PairSpec) -> tuple[PairAnalysis, pl.DataFrame]:
    """Return the analysis of the range that an answer names, and its rows up to the newest bar."""
    start, end = time_of(told["range"]["start"]), time_of(told["range"]["end"])
    analysis = analyse_pair(store, spec, start, end)
    since = analysis.series["ts"][-1] - timedelta(seconds=spec.carry_bars * spec.bar_s)
    with store.read() as con:
        closes = queries.load_closes(con, (spec.y, spec.x), spec.timeframe, since, FAR)
    return analysis, pl.concat([analysis.series, extended(analysis, closes)])


def keyed(rows: pl.DataFrame, name: str) -> dict[str, float | None]:
    times = rows["ts"].dt.strftime("%Y-%m-%dT%H:%M:%S%.3fZ")
    return dict(zip(times, rows[name], strict=True))


@pytest.mark.parametrize("scale", ["log", "raw"])
@pytest.mark.parametrize("method", METHODS)
def test_everything_is_as_the_pages_functions_have_it(
    api: Api, pairs: Store, method: Any, scale: str
) -> None:
    asked = {**PAIR, "regression": method, "price_scale": scale, "roll_window": 90, "burn_in": 300}
    told = api.found("/analytics/pair", **asked)
    spec = PairSpec(
        "arbusdt", "opusdt", "1s", scale == "log", method, 90, burn_in_bars=300
    )  # fmt: skip
    found, rows = again(pairs, told, spec)
    assert told["range"]["rows"] == rows.height
    tail = rows.tail(500)
    for name in ("spread", "zscore", "corr"):
        assert told[name] == keyed(tail, name), name
    last = rows.row(-1, named=True)
    assert told["last"]["zscore"] == last["zscore"]
    assert told["last"]["spread"] == last["spread"]
    hedge, fit = told["hedge"], {"ols": found.ols, "tls": found.tls}.get(method)
    assert (hedge["beta"], hedge["intercept"]) == (last["beta"], last["alpha"])
    assert hedge["rsq"] == (fit.value.r_squared if fit and fit.value else None)
    assert hedge["is_in_sample"] is (method in ("ols", "tls"))
    assert hedge["rsq"] is not None or "r squared" in hedge["note"]
    adf, life = found.adf.value, found.half_life.value
    assert adf is not None
    assert life is not None
    names = ("stat", "pvalue", "nobs", "lags")
    assert [told["adf"][name] for name in names] == [
        adf.statistic, adf.p_value, adf.n_obs, adf.lag,
    ]  # fmt: skip
    assert told["half_life"]["bars"] == life.bars == told["half_life"]["seconds"]
    for name, one in (("y_on_x", found.y_on_x), ("x_on_y", found.x_on_y)):
        assert one.value is not None
        assert [told["cointegration"][name][key] for key in (*names, "beta", "intercept")] == [
            one.value.statistic, one.value.p_value, one.value.n_obs, one.value.lag,
            one.value.beta, one.value.alpha,
        ]  # fmt: skip
    assert told["verdict"]["kind"] == "cointegrated"


def test_the_classic_backtest_is_of_the_rows_told(api: Api, pairs: Store) -> None:
    told = api.found("/analytics/pair", **PAIR, limit=100_000)
    zscore = np.array([np.nan if z is None else z for z in told["zscore"].values()])
    done, times = classic(zscore), list(told["zscore"])
    assert list(told["backtest"]["equity"].values()) == done.equity.tolist()
    expected = [
        (times[row["entry_row"]], times[row["exit_row"]], row["side"], row["gain"])
        for row in done.trades.iter_rows(named=True)
    ]
    assert len(expected) > 20
    names = ("entry_ts", "exit_ts", "side", "gain")
    assert [tuple(one[name] for name in names) for one in told["backtest"]["trades"]] == expected


def closes(api: Api, symbol: str, told: dict[str, Any]) -> np.ndarray:
    span = {name: told["range"][name] for name in ("start", "end")}
    return np.array([one["close"] for one in api.found(f"/resampled/{symbol}", **span)["data"]])


@pytest.mark.parametrize("scale", ["log", "raw"])
def test_numbers_are_those_of_other_libraries(api: Api, pairs: Store, scale: str) -> None:
    told = api.found("/analytics/pair", **PAIR, limit=100_000, price_scale=scale)
    y, x = (closes(api, name, told) for name in ("arbusdt", "opusdt"))
    returns = np.diff(np.log(y)), np.diff(np.log(x))
    if scale == "log":
        y, x = np.log(y), np.log(x)
    (beta, alpha), rest, *_ = np.polyfit(x, y, 1, full=True)
    near: dict[str, Any] = {"rel": 1e-9}
    assert told["hedge"]["beta"] == pytest.approx(beta, **near)
    assert told["hedge"]["intercept"] == pytest.approx(alpha, **near)
    assert told["hedge"]["rsq"] == pytest.approx(1 - rest[0] / (y.var() * len(y)), rel=1e-8)
    for name, one, other in (("y_on_x", y, x), ("x_on_y", x, y)):
        both = told["cointegration"][name]
        slope, level = np.polyfit(other, one, 1)
        assert both["beta"] == pytest.approx(slope, **near)
        assert both["intercept"] == pytest.approx(level, **near)
        statistic, pvalue, _ = coint(one, other, maxlag=both["lags"], autolag=None)
        assert both["stat"] == pytest.approx(statistic, rel=1e-6)
        assert both["pvalue"] == pytest.approx(pvalue, rel=1e-4)
    spread = y - alpha - beta * x
    rows = len(spread)
    np.testing.assert_allclose(list(told["spread"].values())[:rows], spread, atol=1e-9)
    at = rows - 1
    window = spread[at - 59 : at + 1]
    zscore = (spread[at] - window.mean()) / window.std(ddof=1)
    assert list(told["zscore"].values())[at] == pytest.approx(zscore, rel=1e-6)
    corr = np.corrcoef(returns[0][at - 60 : at], returns[1][at - 60 : at])[0, 1]
    assert list(told["corr"].values())[at] == pytest.approx(corr, rel=1e-6)


def test_what_is_not_known_is_null_with_a_reason(api: Api, pairs: Store) -> None:
    told = api.found("/analytics/pair", **PAIR, limit=100_000, roll_window=100_000)
    assert set(told["zscore"].values()) == {None}
    assert told["last"]["zscore"] is None
    assert "window" in told["last"]["note"]
    short = api.found("/analytics/pair", **PAIR, timeframe="15min", range="all")
    assert short["adf"]["stat"] is None
    assert short["adf"]["note"]
    assert short["half_life"]["bars"] is short["half_life"]["seconds"] is None


def test_the_newest_500_by_default_and_times_as_asked(api: Api, pairs: Store) -> None:
    told = api.found("/analytics/pair", **PAIR)
    for series in (told["spread"], told["zscore"], told["corr"], told["backtest"]["equity"]):
        assert len(series) == 500
    assert list(told["spread"])[-1] == told["last"]["ts"]
    few = api.found("/analytics/pair", **PAIR, limit=7, ts_format="ms")
    assert list(few["spread"].values()) == list(told["spread"].values())[-7:]
    at = few["last"]["ts"]
    assert list(few["spread"])[-1] == str(at)
    assert at == round(datetime.fromisoformat(told["last"]["ts"]).timestamp() * 1000)
    assert type(few["range"]["start"]) is type(few["adf"]["stands_on"]["end"]) is int


def test_parameters_change_what_is_looked_at(api: Api, pairs: Store) -> None:
    plain = api.found("/analytics/pair", **PAIR)
    minutes = api.found("/analytics/pair", **PAIR, timeframe="1m", range="all")
    assert minutes["pair"]["timeframe"] == "1min"
    assert minutes["last"]["ts"].endswith(":00.000Z")
    turnover = 10 * float(np.median(closes(api, "opusdt", plain)))
    some = api.found("/analytics/pair", **PAIR, min_volume=turnover)
    assert some["range"]["rows"] < plain["range"]["rows"]
    carried = api.found("/analytics/pair", **PAIR, min_volume=turnover, carry=5)
    assert carried["adf"]["stands_on"]["stale_share"] > 0
    quarter = api.found("/analytics/pair", **PAIR, range="15m")
    assert 850 < quarter["range"]["rows"] < 960
    swapped = api.found("/analytics/pair", y="opusdt", x="arbusdt")
    slope = plain["cointegration"]["x_on_y"]["beta"]
    assert swapped["hedge"]["beta"] == pytest.approx(slope, rel=1e-12)


def test_the_file_has_the_pages_rows(api: Api, pairs: Store) -> None:
    asked = {**PAIR, "regression": "rolling", "range": "15m"}
    spec = PairSpec("arbusdt", "opusdt", "1s", method="rolling")
    _, rows = again(pairs, api.found("/analytics/pair", **asked), spec)
    expected = pair_columns(rows).select("ts", "spread", "zscore", "corr")
    saved = api.get("/analytics/pair_export", **asked)
    assert saved.headers["content-disposition"] == (
        'attachment; filename="perpduck-arbusdt-opusdt-1s.csv"'
    )
    assert saved.content == csv_bytes(expected)
    parquet = api.get("/analytics/pair_export", **asked, format="parquet").content
    assert pl.read_parquet(parquet).equals(expected)
    arrow = api.get("/analytics/pair_export", **asked, format="arrow").content
    with pa.ipc.open_stream(arrow) as stream:
        found = pl.from_arrow(stream.read_all())
    assert isinstance(found, pl.DataFrame)
    assert found.equals(expected)


def test_a_pair_s_file_is_sent_piece_by_piece(
    api: Api, pairs: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = {**PAIR, "regression": "rolling", "range": "15m"}
    whole = api.get("/analytics/pair_export", **asked).content
    monkeypatch.setattr(pairs_route, "_PART_ROWS", 100)
    assert api.get("/analytics/pair_export", **asked).content == whole
    arrow = api.get("/analytics/pair_export", **asked, format="arrow").content
    with pa.ipc.open_stream(arrow) as stream:
        assert len(list(stream)) == -(-(whole.count(b"\n") - 1) // 100) > 5


@pytest.mark.parametrize("kind", ["pearson", "spearman"])
@pytest.mark.parametrize("on", ["returns", "levels"])
def test_the_matrix_is_the_pages(api: Api, pairs: Store, on: Any, kind: Any) -> None:
    symbols = ["btcusdt", "arbusdt", "opusdt"]
    told = api.found("/analytics/corr_matrix", symbols="BTCUSDT, arbusdt,opusdt", on=on, kind=kind)
    assert told["symbols"] == symbols
    start, end = (time_of(told[name]) for name in ("start", "end"))
    panel = read_panel(pairs, symbols, "1min", start, end)
    expected = panel_correlation(panel, on=on, kind=kind).values
    assert told["matrix"] == expected.tolist()
    minutes = [
        pl.DataFrame(api.found(f"/resampled/{name}", timeframe="1m", start=told["start"],
                               end=told["end"])["data"])["close"].log().to_numpy()
        for name in symbols
    ]  # fmt: skip
    if on == "returns" and kind == "pearson":
        np.testing.assert_allclose(
            expected, np.corrcoef([np.diff(one) for one in minutes]), atol=1e-12
        )
    in_ms = api.found("/analytics/corr_matrix", symbols=",".join(symbols), ts_format="ms")
    assert in_ms["end"] == round(datetime.fromisoformat(told["end"]).timestamp() * 1000)


def test_a_correlation_that_is_not_known_is_null(api: Api, pairs: Store) -> None:
    told = api.found("/analytics/corr_matrix", symbols="arbusdt,opusdt", min_volume=1e12)
    assert told["matrix"][0][1] is told["matrix"][1][0] is None


def test_too_little_data_is_422(api: Api, pairs: Store) -> None:
    none = api.get("/analytics/pair", **PAIR, timeframe="1d")
    assert "1d" in assert_problem(none, 422)["detail"]
    few = api.get("/analytics/pair", **PAIR, min_volume=1e12)
    assert "share 0" in assert_problem(few, 422)["detail"]
    early = api.get("/analytics/pair_export", **PAIR, regression="kalman", burn_in=100_000)
    assert "Kalman" in assert_problem(early, 422)["detail"]
    assert_problem(api.get("/analytics/corr_matrix", symbols="arbusdt,opusdt", timeframe="1d"), 422)
