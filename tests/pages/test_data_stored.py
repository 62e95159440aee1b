"""What the Data page says of everything that the file holds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from streamlit.testing.v1 import AppTest

from core import stored
from core.sql import sql
from core.store import Store
from tests.pages.test_pages import words

DATA = "pages/operate/data.py"
App = Callable[..., AppTest]


def see(app: App) -> AppTest:
    return app(DATA, section="Stored")


def table(page: AppTest, column: str) -> Any:
    return next(one.value for one in page.dataframe if column in one.value.columns)


def run(store: Store, *statements: str) -> None:
    with store.write() as con:
        for statement in statements:
            con.execute(statement)
        con.execute(sql("bump_versions"), {"names": ["datasets", "btcusdt"]})


def test_without_a_file_it_says_what_to_do(app: App, home: object) -> None:
    page = see(app)
    assert "start the worker, or bring data" in words(page)


def test_empty_lists_say_how_they_get_filled(app: App, full: Store) -> None:
    text = words(see(app))
    assert "Ticks and raw trades that you bring become a dataset" in text
    assert "Bars that you bring" in text
    assert "The worker fetches the last days of 1-minute bars" in text
    assert "The worker keeps the rates" in text


DATASET = (
    "insert into datasets values ('mine', '2026-03-01'), ('empty', '2026-03-02')",
    "insert into dataset_symbols values ('mine', 'btcusdt', 12, '2026-01-01', '2026-01-02'), "
    "('mine', 'ethusdt', 30, '2026-01-01', '2026-01-03')",
)


def test_datasets_are_listed_and_deleted_after_a_question(app: App, full: Store) -> None:
    run(full, *DATASET)
    page = see(app)
    found = table(page, "created_at")
    assert found[["symbol", "dataset", "trades"]].astype(object).where(
        found["symbol"].notna(), None
    ).values.tolist()[1:] == [["BTCUSDT", "mine", 12], ["ETHUSDT", "mine", 30]]
    assert found["dataset"][0] == "empty"
    choice = page.selectbox(key="delete-dataset")
    assert choice.options == ["empty · 0.00 trades", "mine · 42.00 trades"]
    assert page.button(key="delete-dataset-sure").disabled
    choice.select_index(1).run()
    page.button(key="delete-dataset-sure").click().run()
    assert not page.exception
    with full.read() as con:
        assert con.execute("select dataset from datasets").fetchall() == [("empty",)]
        assert con.execute("select count(*) from dataset_symbols").fetchall() == [(0,)]


KLINES = (
    "insert into klines select symbol, ts, open, high, low, close, volume, quote_volume, trades, "
    "taker_buy_volume from bars_1min where symbol = 'btcusdt'"
)


def test_equal_bars_are_called_equal(app: App, full: Store) -> None:
    run(full, KLINES)
    page = see(app)
    found = table(page, "compared")
    [(held, compared, equal)] = found[["rows", "compared", "equal"]].values.tolist()
    assert compared == equal
    assert 25 <= compared < held
    assert f"All {compared} minutes that can be compared equal" in words(page)


def test_one_other_price_is_found_and_measured(app: App, full: Store) -> None:
    run(
        full,
        KLINES,
        "update klines set high = high * 1.0002 where ts = (select min(ts) from klines) "
        "+ interval 5 minute",
        "update klines set volume = volume + 1 where ts = (select min(ts) from klines) "
        "+ interval 7 minute",
    )
    page = see(app)
    found = table(page, "compared")
    assert found[["different_price", "different_volume"]].values.tolist() == [[1, 1]]
    assert abs(found["worst_bps"][0] - 2) < 0.01
    assert "2 differences in" in words(page)


def test_funding_shows_the_newest_rate_and_the_next_settlement(app: App, full: Store) -> None:
    run(
        full,
        "insert into funding_rates values ('btcusdt', '2026-01-01 00:00', 0.0001, null), "
        "('btcusdt', '2026-01-01 08:00', -0.0003, 64000), ('ethusdt', '2026-01-01', 0.0002, 1)",
    )
    found = table(see(app), "rates").set_index("symbol")
    assert found["rate"].round(6).to_dict() == {"BTCUSDT": -0.03, "ETHUSDT": 0.02}
    assert str(found["next_ts"]["BTCUSDT"]) == "2026-01-01 16:00:00"
    assert found["next_ts"].isna()["ETHUSDT"]
    assert found["rates"].to_dict() == {"BTCUSDT": 2, "ETHUSDT": 1}


def test_the_lake_is_listed_with_its_size(app: App, full: Store) -> None:
    part = full.path.parent / "part-0.parquet"
    part.write_bytes(b"x" * 2048)
    day = "'2026-01-01', '2026-01-02', 'c', '2026-02-01', null, null"
    run(
        full,
        f"insert into lake_files values ('btcusdt', '2026-01-01', '{part}', 7, 1, 7, {day}), "
        f"('btcusdt', '2026-01-02', '/no/such', 5, 8, 12, {day}), "
        f"('ethusdt', '2026-01-02', 's3://bucket/part', 5, 8, 12, {day})",
    )
    found = table(see(app), "first_day").set_index("symbol")
    assert found[["days", "trades"]].values.tolist() == [[2, 12], [1, 5]]
    assert found["size"].to_dict() == {"BTCUSDT": "2.05kB", "ETHUSDT": "–"}


def test_imported_files_are_listed_the_newest_first(app: App, full: Store) -> None:
    run(
        full,
        "insert into imported_files values "
        "('', 'aggTrades', 'a.zip', 'ab', 10, 9, 1, 0, '2026-01-01'), "
        "('mine', 'ticks', 'b.csv', 'cd', 10, 0, 8, 2, '2026-01-02')",
    )
    found = table(see(app), "rows_kept")
    assert list(found["name"]) == ["b.csv", "a.zip"]
    assert found[["rows_read", "rows_kept", "rows_duplicate", "rows_rejected"]].values.tolist() == [
        [10, 0, 8, 2],
        [10, 9, 1, 0],
    ]


def test_the_file_is_named_with_its_rows(app: App, full: Store) -> None:
    page = see(app)
    assert f"`{full.path}`" in words(page)
    assert dict(table(page, "table")[["table", "rows"]].values.tolist())["trades"] == 3 * 3600


def test_a_dataset_has_no_coverage_to_speak_of(app: App, full: Store) -> None:
    run(full, *DATASET)
    page = app(DATA)
    assert list(table(page, "Coverage")["Symbol"]) == ["BTCUSDT", "ETHUSDT", "SOLUSDT"]


def test_the_lists_of_an_empty_file_have_their_columns(home: object, full: Store) -> None:
    with full.read() as con:
        assert stored.load_datasets(con).columns == [
            "dataset", "symbol", "trades", "first_ts", "last_ts", "created_at",
        ]  # fmt: skip
        assert stored.load_bar_sets(con).height == 0
        assert stored.load_klines_held(con).columns == ["symbol", "rows", "first_ts", "last_ts"]
        assert stored.load_lake(con).height == stored.load_imported_files(con).height == 0
