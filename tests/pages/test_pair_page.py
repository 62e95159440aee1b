"""The Pair page in the browserless runner: verdict, cards, every picker, the download."""

from __future__ import annotations

import io
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from stats.series import cointegrated, independent
from streamlit.testing.v1 import AppTest

from core.commands import write_symbols, write_watchlist, write_worker_status
from core.models import TRADE_SCHEMA, SymbolInfo
from core.store import Store, open_store
from core.trade_writer import write_trades
from tests.pages.conftest import worker_row
from tests.pages.test_pages import words

PAIR = "pages/market/pair.py"
App = Callable[..., AppTest]
SYMBOLS = ("arbusdt", "opusdt", "btcusdt")


def second_by_second(symbol: str, logs: np.ndarray, end_ms: int, base: float) -> pl.DataFrame:
    """One trade a second, so that a bar's close is its price."""
    n = len(logs)
    return pl.DataFrame(
        {
            "symbol": [symbol] * n,
            "agg_id": np.arange(n) + 1,
            "ts": end_ms - (n - np.arange(n)) * 1000,
            "price": np.round(base * np.exp(logs), 8),
            "size": np.full(n, 10.0),
            "buyer_is_maker": np.arange(n) % 2 == 0,
            "source": ["ws"] * n,
        },
        schema={**TRADE_SCHEMA, "ts": pl.Int64},
    ).with_columns(pl.col("ts").cast(pl.Datetime("ms")))


def pair_store(home: Path, seconds: int) -> Store:
    """A stopped worker's file: ARB and OP come back to each other, BTC goes its own way."""
    store = open_store(home / "practice-7.duckdb")
    store.prepare("practice:7")
    end_ms = int(time.time()) * 1000 - 30_000
    count = max(9_000, seconds)
    y, x = cointegrated(3, count, half_life=20.0, sigma=0.002, vol=2e-4)
    z, _ = independent(14, count, vol=2e-4)
    with store.write() as con:
        for symbol, logs, base in zip(SYMBOLS, (y, x, z), (1.0, 2.0, 60_000.0), strict=True):
            part = second_by_second(symbol, logs[-seconds:], end_ms, base)
            write_trades(con, part, now_ms=end_ms)
        write_watchlist(con, list(SYMBOLS))
        write_symbols(
            con,
            [SymbolInfo(s, "TRADING", "PERPETUAL", s[:-4].upper(), "USDT", 1e-4, 0.1, 5.0)
             for s in SYMBOLS],
        )  # fmt: skip
        write_worker_status(con, worker_row("stopped"), [])
    return store


@pytest.fixture
def pairs(home: Path) -> Store:
    """Two hours of seconds."""
    return pair_store(home, 7_200)


def cards(page: AppTest) -> dict[str, str]:
    return {metric.label: metric.value for metric in page.metric}


def below(page: AppTest) -> dict[str, str]:
    return {metric.label: metric.delta for metric in page.metric}


def shown(page: AppTest) -> pl.DataFrame:
    view = page.session_state["_pair_shown"]["view"]
    frame: pl.DataFrame = view.shown()
    return frame


def test_a_newcomer_sees_the_pair_that_comes_back_on_seconds(app: App, pairs: Store) -> None:
    page = app(PAIR)
    state = page.session_state
    assert (state["y"], state["x"], state["tf"], state["span"]) == (
        "arbusdt", "opusdt", "1s", "1h",
    )  # fmt: skip
    text = words(page)
    assert "Cointegrated at 1% over the last 60 min" in text
    assert "reverts by half in about" in text
    assert "z = " in text
    assert "hedge in-sample" in text
    assert "coverage 100%" in text
    assert not page.error


def test_every_card_is_there_with_its_tooltip(app: App, pairs: Store) -> None:
    page = app(PAIR)
    assert list(cards(page)) == [
        "β", "α", "R²", "ADF", "EG p (y|x · x|y)", "Half-life", "ρ returns", "z now",
    ]  # fmt: skip
    assert all(value != "–" for value in cards(page).values())
    for metric in page.metric:
        assert "bars" in metric.help
        assert "stale 0.0%" in metric.help
    assert below(page)["β"].endswith("in-sample")
    assert "±" in below(page)["β"]
    assert "asymptotic" in below(page)["EG p (y|x · x|y)"]
    assert "bars" in cards(page)["Half-life"]
    assert float(cards(page)["β"]) == pytest.approx(0.9, abs=0.1)


@pytest.mark.parametrize("scale", ["log", "raw"])
def test_the_distance_is_told_in_ticks_and_against_its_cost(
    app: App, pairs: Store, scale: str
) -> None:
    page = app(PAIR, tf="1s", span="1h", scale=scale)
    view = page.session_state["_pair_shown"]["view"]
    row = view.series.row(-1, named=True)
    away = abs(row["spread"] - row["spread_mean"])
    share = away if scale == "log" else away / row["price_y"]
    hedge = row["beta"] * (1 if scale == "log" else row["price_x"] / row["price_y"])
    cost = 2 * ((5 + 1 / row["price_y"]) + abs(hedge) * (5 + 1 / row["price_x"]))
    words = page.metric[7].help
    assert f"{share * row['price_y'] / 1e-4:,.1f} ticks of ARBUSDT" in words
    assert f"{share * 1e4 / cost:.2f} times a round trip's cost of {cost:.1f} bps" in words
    assert f"{share * 1e4 / cost:.1f}× cost" in page.metric[7].delta


def test_independent_legs_are_noise(app: App, pairs: Store) -> None:
    page = app(PAIR, y="BTCUSDT", x="OPUSDT", tf="1s", span="1h")
    assert "Indistinguishable from noise" in words(page)
    assert "reverts" not in words(page)


def test_too_short_data_say_so(app: App, home: Path) -> None:
    pair_store(home, 90)
    page = app(PAIR, tf="1s", span="1h")
    assert "Too short to say" in words(page)
    assert not page.exception


def test_hardly_any_data_is_an_answer_too(app: App, home: Path) -> None:
    pair_store(home, 6)
    page = app(PAIR, tf="1m", span="1d")
    assert not page.exception
    assert "No closed bar" in words(page) or "share" in words(page)


@pytest.mark.parametrize(
    ("query", "marked"),
    [
        ({"hedge": "OLS"}, True),
        ({"hedge": "TLS"}, True),
        ({"hedge": "Rolling"}, False),
        ({"hedge": "Refit", "hold": "30"}, False),
        ({"hedge": "Kalman", "burn": "300"}, False),
    ],
)
def test_every_regression_answers_and_in_sample_is_marked(
    app: App, pairs: Store, query: dict[str, str], marked: bool
) -> None:
    page = app(PAIR, tf="1s", span="1h", **query)
    assert not page.error, [e.value for e in page.error]
    assert ("hedge in-sample" in words(page)) is marked
    assert ("in-sample" in below(page)["β"]) is marked
    assert cards(page)["z now"] != "–"
    assert shown(page)["beta"].n_unique() == (1 if marked else shown(page)["beta"].n_unique())
    assert (shown(page)["beta"].n_unique() > 1) is not marked


def analysis(page: AppTest) -> object:
    return page.session_state["_pair_shown"]["view"].analysis


def test_each_picker_changes_what_it_says(app: App, pairs: Store) -> None:
    first = app(PAIR, tf="1s", span="1h")
    base = shown(first)
    minutes = shown(app(PAIR, tf="1m", span="1h"))
    assert set(minutes["ts"].dt.second()) == {0}
    short = shown(app(PAIR, tf="1s", span="15m"))
    assert short.height == pytest.approx(900, abs=60)
    assert base.height == pytest.approx(3600, abs=60)
    raw = app(PAIR, tf="1s", span="1h", scale="raw")
    assert cards(raw)["α"] != cards(first)["α"]
    assert "raw prices" in words(raw)
    wide = shown(app(PAIR, tf="1s", span="1h", window="600"))
    assert wide["zscore"][-1] != base["zscore"][-1]
    assert wide["corr"][-1] != base["corr"][-1]
    other = app(PAIR, y="BTCUSDT", x="OPUSDT", tf="1s", span="1h")
    assert cards(other)["β"] != cards(first)["β"]
    none = app(PAIR, tf="1s", span="1h", min="1000000000")
    assert "share 0" in words(none)


def test_bars_below_the_least_volume_are_left_out(app: App, pairs: Store) -> None:
    least = round(float(shown(app(PAIR, tf="1s", span="1h"))["price_x"].median()) * 10, 2)
    kept = shown(app(PAIR, tf="1s", span="1h", min=str(least)))
    assert 0 < kept.height < 3_000
    assert (kept["price_x"] * 10 >= least).all()


def test_swap_exchanges_the_legs_and_fits_anew(app: App, pairs: Store) -> None:
    page = app(PAIR, tf="1s", span="1h")
    before = float(cards(page)["β"])
    page.button(key="swap").click().run()
    assert (page.session_state["y"], page.session_state["x"]) == ("opusdt", "arbusdt")
    after = float(cards(page)["β"])
    assert after != pytest.approx(1 / before, rel=1e-6)
    assert page.session_state["tf"] == "1s"


def test_one_symbol_against_itself_is_called_the_same_asset(app: App, pairs: Store) -> None:
    page = app(PAIR, y="OPUSDT", x="OPUSDT", tf="1s", span="1h")
    assert "same asset" in words(page)
    assert cards(page)["z now"] == "–"
    assert not page.exception


def test_the_download_has_exactly_the_columns_and_rows_of_the_screen(
    app: App, pairs: Store
) -> None:
    page = app(PAIR, tf="1s", span="15m", hedge="Rolling")
    frame = shown(page)
    assert frame.columns == [
        "ts", "spread", "zscore", "corr", "price_y", "price_x", "beta", "alpha",
    ]  # fmt: skip
    z = frame["zscore"][-1]
    assert cards(page)["z now"] == f"{z:+.2f}".replace("-", "−")
    spread = frame["price_y"].log() - frame["alpha"] - frame["beta"] * frame["price_x"].log()
    np.testing.assert_allclose(spread.to_numpy(), frame["spread"].to_numpy(), atol=1e-12)
    saved = io.BytesIO(frame.write_csv().encode())
    assert pl.read_csv(saved).height == frame.height


def test_statistics_table_and_sql_are_a_click_away(app: App, pairs: Store) -> None:
    page = app(PAIR, tf="1s", span="1h")
    page.segmented_control(key="pair_behind").set_value("Statistics").run()
    table = page.dataframe[0].value
    names = list(table["Statistic"])
    for name in ("β OLS", "β dynamic OLS", "β TLS", "β Johansen", "ADF", "KPSS",
                 "Engle-Granger y on x", "Engle-Granger x on y", "Wild bootstrap", "Half-life",
                 "Hurst exponent", "ρ returns", "ρ levels", "z now"):  # fmt: skip
        assert name in names
    assert set(table["Coverage"]) == {"100%"}
    page.segmented_control(key="pair_behind").set_value("SQL").run()
    assert any("regr_slope" in code.value or "stddev_samp" in code.value for code in page.code)
    page.segmented_control(key="pair_behind").set_value("Table").run()
    assert list(page.dataframe[0].value.columns)[:4] == ["ts", "spread", "zscore", "corr"]


def test_nonsense_in_the_url_falls_back(app: App, pairs: Store) -> None:
    page = app(PAIR, y="NOSUCH", x="1", tf="7w", span="-3", window="1", hedge="magic", scale="?")
    assert not page.exception
    state = page.session_state
    assert (state["y"], state["x"], state["span"]) == ("arbusdt", "opusdt", "1h")
    assert state["window"] >= 3


def test_a_first_visit_is_written_whole_into_the_address(app: App, pairs: Store) -> None:
    page = app(PAIR)
    asked = {key: page.query_params[key] for key in ("y", "x", "tf", "span")}
    assert asked == {"y": "ARBUSDT", "x": "OPUSDT", "tf": "1s", "span": "1h"}
    again = app(PAIR, **asked)
    assert cards(again)["β"] == cards(page)["β"]


def test_carrying_fills_bars_and_says_how_many_are_stale(app: App, pairs: Store) -> None:
    least = str(round(float(shown(app(PAIR, tf="1s", span="1h"))["price_x"].median()) * 10, 2))
    joined = shown(app(PAIR, tf="1s", span="1h", min=least))
    page = app(PAIR, tf="1s", span="1h", min=least, carry="5")
    assert shown(page).height > joined.height
    assert "stale 0.0%" not in words(page)
    assert analysis(page).provenance.stale_share > 0.001  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("query", "one", "other"),
    [
        ({"hedge": "Refit"}, {"hold": "10"}, {"hold": "900"}),
        ({"hedge": "Kalman"}, {"burn": "300"}, {"burn": "900"}),
    ],
)
def test_what_stands_behind_more_changes_the_signal(
    app: App, pairs: Store, query: dict[str, str], one: dict[str, str], other: dict[str, str]
) -> None:
    first = shown(app(PAIR, tf="1s", span="1h", **query, **one))
    second = shown(app(PAIR, tf="1s", span="1h", **query, **other))
    both = first.join(second, on="ts", suffix="_other").drop_nulls("zscore")
    assert both.height > 3_000
    assert not np.allclose(both["zscore"], both["zscore_other"], rtol=1e-6)
