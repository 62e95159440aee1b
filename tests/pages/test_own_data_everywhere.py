"""Uploaded datasets and bars, and the exchange's klines, on the pages of the market."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

import pytest
from streamlit.testing.v1 import AppTest

from core.live.pulse import Pulse, Span, dataset_of
from core.store import Store
from core.trade_writer import utc_now
from tests.pages.test_pages import words
from tests.pages.test_pair_page import PAIR

App = Callable[..., AppTest]
CORRELATION = "pages/market/correlation.py"
DATASET = "mine"
_COPY = """
insert into {table} select symbol || '@mine', * exclude (symbol) from {table}
where symbol in ('btcusdt', 'ethusdt')
"""


def add_dataset(store: Store) -> None:
    """Two of the stored symbols once more, as a dataset of its own."""
    with store.write() as con:
        for table in ("bars_1s", "bars_1min"):
            con.execute(_COPY.format(table=table))
        con.execute(
            "insert into dataset_symbols select 'mine', symbol, 1, min(first_ts), max(last_ts) "
            "from coverage where symbol in ('btcusdt', 'ethusdt') group by symbol"
        )
        con.execute("insert into datasets values ('mine', now()::timestamp)")
        con.execute("insert into versions values ('datasets', 1)")


def add_klines(store: Store, minutes: int) -> None:
    """Minutes of the exchange before our first trade."""
    with store.write() as con:
        con.execute(
            "insert into klines select symbol, date_trunc('minute', first_ts) - to_minutes(i), "
            "100 + i % 7, 110, 90, 101 + i % 5, 5, 500, 9, 2 "
            "from (select symbol, min(first_ts) as first_ts from coverage group by symbol), "
            "range(1, ? + 1) as r(i)",
            [minutes],
        )


def chosen(shown: AppTest) -> list[str]:
    """The symbols in the controls, and in the words below them."""
    lists = [name for box in shown.multiselect for name in box.value or []]
    singles = [box.value for box in shown.selectbox if box.key != "dataset"]
    return [str(name).upper() for name in (*lists, *singles, words(shown))]


@pytest.mark.parametrize("page", [None, PAIR, CORRELATION])
def test_a_dataset_can_be_looked_at_on_every_page(app: App, full: Store, page: str | None) -> None:
    add_dataset(full)
    shown = app(page, source="practice", dataset=DATASET)
    assert shown.selectbox(key="dataset").value == DATASET
    assert any("@MINE" in name for name in chosen(shown)), chosen(shown)
    back = shown.selectbox(key="dataset").set_value(None).run()
    assert not back.exception
    assert not any("@MINE" in name for name in chosen(back)), chosen(back)


def test_without_a_dataset_there_is_nothing_to_choose(app: App, full: Store) -> None:
    assert not [box for box in app(source="practice").selectbox if box.key == "dataset"]


def test_what_was_brought_a_moment_ago_is_there(app: App, full: Store) -> None:
    """A link to it comes sooner than the next look at the file."""
    assert app(source="practice").metric
    add_dataset(full)
    shown = app(source="practice", dataset=DATASET)
    assert shown.selectbox(key="dataset").value == DATASET
    assert any("@MINE" in name for name in chosen(shown)), chosen(shown)


def test_an_unknown_dataset_falls_back_to_the_exchange(app: App, full: Store) -> None:
    add_dataset(full)
    shown = app(source="practice", dataset="nosuch")
    assert "BTCUSDT@MINE" not in words(shown).upper()
    assert shown.metric


@pytest.mark.parametrize("page", [None, PAIR, CORRELATION])
def test_where_only_datasets_are_they_are_offered(app: App, full: Store, page: str | None) -> None:
    add_dataset(full)
    with full.write() as con:
        for table in ("bars_1s", "bars_1min", "trades", "coverage"):
            con.execute(f"delete from {table} where not contains(symbol, '@')")
    shown = app(page, source="practice")
    assert "Or look at a dataset of your own" in words(shown)
    assert shown.button(key="start-practice")
    shown = shown.button(key=f"look-{DATASET}").click().run()
    assert not shown.exception
    assert shown.selectbox(key="dataset").value == DATASET
    assert any("@MINE" in name for name in chosen(shown)), chosen(shown)
    assert not [button for button in shown.button if button.key == "start-practice"]


def test_minutes_reach_back_to_the_klines_and_say_so(app: App, full: Store) -> None:
    add_klines(full, 600)
    shown = app(source="practice", timeframe="1m", range="6h")
    assert "bars are exchange klines" in words(shown)
    seconds = app(source="practice", timeframe="1s", range="15m")
    assert "exchange klines" not in words(seconds)


def test_pair_says_what_it_stands_on(app: App, full: Store) -> None:
    add_klines(full, 600)
    shown = app(PAIR, source="practice", y="btcusdt", x="ethusdt", tf="1m", span="6h")
    assert "bars are exchange klines in the range analysed" in words(shown)


def test_uploaded_bars_are_shown_in_place_of_ours_and_named(app: App, full: Store) -> None:
    first = utc_now().replace(second=0, microsecond=0) - timedelta(minutes=20)
    with full.write() as con:
        con.execute(
            "insert into uploaded_bars select 'btcusdt', '1min', ?::timestamp + to_minutes(i), "
            "5, 6, 4, 5, 1 from range(30) as r(i)",
            [first],
        )
        con.execute(
            "insert into uploaded_bar_sets values "
            "('btcusdt', '1min', 'mine.csv', 'h', 30, ?, ?, ?)",
            [first, first + timedelta(minutes=29), first],
        )
    shown = app(source="practice", timeframe="1m", range="15m")
    assert "uploaded bars" in words(shown)
    assert {m.label: m.value for m in shown.metric}["Low"].startswith("4")


def test_a_span_gives_the_timeframes_it_can_be_made_of() -> None:
    at = datetime(2026, 1, 1)
    trades, minutes, own = (
        Span("trades", "1s", at, at + timedelta(hours=1)),
        Span("klines", "1min", at - timedelta(days=7), at + timedelta(minutes=5)),
        Span("upload", "1d", at - timedelta(days=400), at),
    )
    pulse = Pulse(
        health=None,  # type: ignore[arg-type]
        stored=("a", "b@x"),
        spans={"a": (trades, minutes, own), "b@x": (trades,)},
    )
    assert pulse.bounds("a", "1s") == (trades.first, trades.last)
    assert pulse.bounds("a", "5min") == (minutes.first, trades.last)
    assert pulse.bounds("a", "1d") == (own.first, trades.last)
    assert pulse.bounds("nosuch", "1d") is None
    assert pulse.datasets == ("x",)
    assert pulse.of("x").stored == ("b@x",)
    assert pulse.of("").stored == ("a",)
    assert dataset_of("a") == ""
    assert dataset_of("b@x") == "x"
