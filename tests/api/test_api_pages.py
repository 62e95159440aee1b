"""What a program gets is what the pages' own downloads hold, byte for byte."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from streamlit.testing.v1 import AppTest

from core.store import Store
from tests.api.conftest import Api
from tests.pages.conftest import app as app
from tests.pages.conftest import full as full
from tests.pages.test_downloads import CORRELATION, PRICES
from tests.pages.test_downloads import made as made
from tests.pages.test_pair_page import PAIR, cards, pair_store

App = Callable[..., AppTest]
Made = dict[str, Callable[[], bytes]]


@pytest.mark.parametrize("timeframe", ["1s", "1m"])
def test_bars_are_those_of_the_prices_download(
    api: Api, app: App, full: Store, made: Made, timeframe: str
) -> None:
    page = app(PRICES, source="practice", symbols="btcusdt", range="15m", timeframe=timeframe)
    shown = page.session_state["_prices_shown"]["view"].shown()
    name = next(name for name in made if name.endswith(".csv"))
    asked = {
        "timeframe": timeframe, "start": f"{shown['ts'][0].isoformat()}Z",
        "end": f"{shown['ts'][-1].isoformat(timespec='milliseconds')[:-3]}001Z",
    }  # fmt: skip
    saved = api.get("/export/btcusdt", **asked)
    assert saved.content == made[name]()
    assert saved.content.count(b"\n") == shown.height + 1 > 10
    parquet = api.get("/export/btcusdt", **asked, format="parquet").content
    assert pl.read_parquet(parquet).equals(pl.read_parquet(made[name.replace("csv", "parquet")]()))
    told = pl.DataFrame(api.found("/resampled/btcusdt", **asked)["data"])
    assert told["close"].to_list() == shown["close"].to_list()


@pytest.mark.parametrize(
    ("query", "asked"),
    [
        ({}, {}),
        ({"hedge": "Rolling", "scale": "raw"}, {"regression": "rolling", "price_scale": "raw"}),
        ({"hedge": "Kalman", "burn": "300"}, {"regression": "kalman", "burn_in": 300}),
        ({"hedge": "Refit", "hold": "30", "window": "90"},
         {"regression": "refit", "hold": 30, "roll_window": 90}),
        ({"hedge": "TLS", "carry": "2"}, {"regression": "tls", "carry": 2}),
    ],
)  # fmt: skip
def test_a_pair_s_rows_and_statistics_are_those_of_the_pair_page(
    api: Api, app: App, home: Path, made: Made, query: dict[str, str], asked: dict[str, Any]
) -> None:
    pair_store(home, 3_600)
    page = app(PAIR, source="practice", y="ARBUSDT", x="OPUSDT", tf="1s", span="15m", **query)
    pair = {"y": "ARBUSDT", "x": "OPUSDT", "timeframe": "1s", "range": "15m", **asked}
    saved = api.get("/analytics/pair_export", **pair)
    mine = made["perpduck-arbusdt-opusdt.csv"]().decode().split()
    assert mine[0].startswith("ts,spread,zscore,corr,")
    assert saved.text.split() == [",".join(line.split(",")[:4]) for line in mine]
    told = api.found("/analytics/pair", **pair)
    table = pl.read_csv(io.BytesIO(made["perpduck-arbusdt-opusdt-statistics.csv"]()))
    numbers = dict(table.select("name", "value").iter_rows())
    expected = {
        "adf.statistic": told["adf"]["stat"], "adf.p_value": told["adf"]["pvalue"],
        "y_on_x.statistic": told["cointegration"]["y_on_x"]["stat"],
        "y_on_x.beta": told["cointegration"]["y_on_x"]["beta"],
        "x_on_y.alpha": told["cointegration"]["x_on_y"]["intercept"],
        "johansen.trace_statistic.0": told["cointegration"]["johansen"]["trace"][0],
        "half_life.bars": told["half_life"]["bars"],
    }  # fmt: skip
    assert {name: numbers[name] for name in expected} == expected
    beta = float(cards(page)["β"].replace("−", "-"))
    assert beta == pytest.approx(told["hedge"]["beta"], rel=1e-3)
    assert cards(page)["z now"] == f"{told['last']['zscore']:+.2f}".replace("-", "−")


def test_the_matrix_is_that_of_the_correlation_page(
    api: Api, app: App, full: Store, made: Made
) -> None:
    page = app(CORRELATION, source="practice")
    choice = page.session_state["_matrix_shown"]["view"].choice
    told = api.found(
        "/analytics/corr_matrix", symbols=",".join(choice.symbols), timeframe=choice.timeframe,
        range=choice.range_name, on=choice.on, kind=choice.kind, min_volume=choice.min_turnover,
    )  # fmt: skip
    square = pl.read_csv(io.BytesIO(made["perpduck-correlation-matrix.csv"]()))
    for row, symbol in zip(told["matrix"], told["symbols"], strict=True):
        mine = square.filter(pl.col("symbol") == symbol).row(0, named=True)
        assert {name: mine[name] for name in told["symbols"]} == dict(
            zip(told["symbols"], row, strict=True)
        )
    assert len(told["symbols"]) == 3
