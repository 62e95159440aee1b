"""A backtest's bundle: the same numbers anywhere, and nothing taken on trust."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest
from backtest.results import inputs, result
from backtest.test_backtest_stored import kept, load, spec_of  # noqa: F401

from core.backtest import BacktestSettings, Execution, Money, Rules
from core.backtests import BacktestResult, first_result, traded_of
from core.backtests.bundle import (
    BACKTEST_MEMBERS,
    BacktestBundle,
    bundle_differences,
    read_backtest_bundle,
    write_backtest_bundle,
)
from core.bundle import read_bundle
from core.bundle_kept import bundle_folder, bundle_kind, keep, kept_backtest
from core.errors import BadFile
from core.pair_spec import METHODS
from core.store import Store

SETTINGS = BacktestSettings(
    Rules(enter=1.7, stop=4.0, time_stop_half_lives=3.0), Execution(slippage=0.5), Money(gate=0.5)
)


@pytest.fixture(scope="module")
def made() -> bytes:
    return write_backtest_bundle(result(settings=SETTINGS), "1d")


def again(bundle: BacktestBundle) -> BacktestResult:
    return first_result(traded_of(bundle.inputs), bundle.manifest.settings)


def rewritten(data: bytes, change: dict[str, bytes], *, sign: bool = True) -> bytes:
    """The ZIP with other members, their hashes made to fit unless told not to."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()} | change
    if sign:
        manifest = json.loads(members["manifest.json"])
        manifest["sha256"] = {
            name: hashlib.sha256(member).hexdigest()
            for name, member in members.items()
            if name != "manifest.json"
        }
        members["manifest.json"] = json.dumps(manifest).encode()
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, member in members.items():
            archive.writestr(name, member)
    return out.getvalue()


def told(data: bytes, **changed: object) -> bytes:
    manifest = json.loads(zipfile.ZipFile(io.BytesIO(data)).read("manifest.json"))
    return rewritten(data, {"manifest.json": json.dumps(manifest | changed).encode()})


def bars_changed(data: bytes, how: Callable[[pl.DataFrame], pl.DataFrame]) -> bytes:
    bars = pl.read_parquet(io.BytesIO(zipfile.ZipFile(io.BytesIO(data)).read("bars.parquet")))
    out = io.BytesIO()
    how(bars).write_parquet(out)
    return rewritten(data, {"bars.parquet": out.getvalue()})


@pytest.mark.parametrize("method", METHODS)
def test_run_again_it_is_the_same_to_the_last_digit(method: str) -> None:
    data = write_backtest_bundle(result(method=method, settings=SETTINGS), "1d")
    bundle = read_backtest_bundle(data)
    found = again(bundle)
    assert found.measures.trades > 5
    assert bundle_differences(bundle, found) == ()


def test_what_the_file_gave_is_in_it(kept: Store) -> None:  # noqa: F811
    before = first_result(load(kept), SETTINGS)
    bundle = read_backtest_bundle(write_backtest_bundle(before, "7d"))
    assert bundle_differences(bundle, again(bundle)) == ()
    assert bundle.manifest.spec == before.traded.spec
    assert bundle.manifest.range == "7d"
    assert bundle.inputs.bars.equals(before.traded.inputs.bars)
    assert bundle.inputs.rates.equals(before.traded.inputs.rates)
    assert bundle.manifest.settings == before.done.settings
    assert bundle.manifest.settings.contract_y.tick_size == 0.01


def test_another_result_is_named(made: bytes) -> None:
    bundle = read_backtest_bundle(made)
    other = first_result(
        traded_of(bundle.inputs), replace(SETTINGS, execution=Execution(slippage=0.6))
    )
    assert "equity" in bundle_differences(bundle, other)
    assert any(one.startswith("measures.") for one in bundle_differences(bundle, other))


def test_the_ledger_and_the_account_are_members(made: bytes) -> None:
    with zipfile.ZipFile(io.BytesIO(made)) as archive:
        assert set(archive.namelist()) == BACKTEST_MEMBERS
        ledger = pl.read_parquet(io.BytesIO(archive.read("ledger.parquet")))
        account = pl.read_parquet(io.BytesIO(archive.read("account.parquet")))
    found = result(settings=SETTINGS)
    assert ledger.equals(found.done.books.trades)
    assert account["equity"].to_list() == found.done.books.equity.tolist()


def test_it_is_kept_and_found_as_what_it_is(made: bytes, tmp_path: Path) -> None:
    db = tmp_path / "elsewhere.duckdb"
    name = keep(db, made, "backtest")
    path = bundle_folder(db) / f"{name}.zip"
    assert bundle_kind(path) == "backtest"
    assert kept_backtest(db, name).inputs.bars.height == 4_000
    with pytest.raises(BadFile, match="a bundle of a pair holds"):
        read_bundle(made)
    with pytest.raises(BadFile, match="is kept here"):
        kept_backtest(db, "../x")
    other = tmp_path / "other.zip"
    other.write_bytes(b"no zip")
    assert bundle_kind(other) is None


@pytest.mark.parametrize(
    ("what", "change", "words"),
    [
        ("a price of 0", lambda one: one.with_columns(close=pl.lit(0.0)), "prices that are none"),
        ("a close above high", lambda one: one.with_columns(high=pl.col("low")), "are none"),
        ("twice", lambda one: pl.concat([one, one]), "bars twice"),
        ("another symbol", lambda one: one.with_columns(symbol=pl.lit("zusdt")), "other symbols"),
        ("NaN", lambda one: one.with_columns(open=pl.lit(float("nan"))), "are none"),
        ("other types", lambda one: one.with_columns(close=pl.lit(1)), "it should be Float64"),
        ("other columns", lambda one: one.drop("origin"), "it should have at most"),
        ("no time", lambda one: one.with_columns(ts=pl.lit(5)), "should be a time"),
        ("another origin", lambda one: one.with_columns(origin=pl.lit("x")), "are none"),
        ("a later bar", lambda one: one.with_columns(ts=pl.col("ts").dt.offset_by("9d")), "none"),
    ],
)
def test_bars_that_cannot_be_are_refused(
    made: bytes, what: str, change: Callable[[pl.DataFrame], pl.DataFrame], words: str
) -> None:
    with pytest.raises(BadFile, match=words):
        read_backtest_bundle(bars_changed(made, change))


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"format": 7}, "format 7"),
        ({"start": "2026-01-02T00:00:00", "end": "2026-01-01T00:00:00"}, "no backtest"),
        ({"start": "1990-01-01T00:00:00"}, "no backtest"),
        ({"range": "<b>1d</b>"}, "cannot be used"),
        ({"made_by": "![x](y)"}, "cannot be used"),
        ({"settings": {"rules": {"enter": -1.0}}}, "cannot be used"),
        ({"spec": {"y": "a b", "x": "c"}}, "no symbol"),
        ({"contracts": [{"tick_size": -1.0}, {}]}, "should be 0 or more"),
    ],
)
def test_a_manifest_that_cannot_be_is_refused(
    made: bytes, changed: dict[str, object], words: str
) -> None:
    with pytest.raises(BadFile, match=words):
        read_backtest_bundle(told(made, **changed))


@pytest.mark.parametrize(
    ("column", "value"), [("rate", 2.0), ("rate", float("nan")), ("mark_price", -1.0)]
)
def test_rates_that_cannot_be_are_refused(made: bytes, column: str, value: float) -> None:
    rates = inputs().rates.with_columns(pl.lit(value).alias(column))
    out = io.BytesIO()
    rates.write_parquet(out)
    with pytest.raises(BadFile, match="rates that are none"):
        read_backtest_bundle(rewritten(made, {"rates.parquet": out.getvalue()}))


def test_a_member_that_was_changed_is_named(made: bytes) -> None:
    with pytest.raises(BadFile, match=r"results\.json in the bundle is not as it was written"):
        read_backtest_bundle(rewritten(made, {"results.json": b"{}"}, sign=False))
    with pytest.raises(BadFile, match=r"results\.json in the bundle cannot be read"):
        read_backtest_bundle(rewritten(made, {"results.json": b"[1"}))
    with pytest.raises(BadFile, match="no whole ZIP"):
        read_backtest_bundle(made[: len(made) // 2])
    with pytest.raises(BadFile, match="no whole Parquet file"):
        read_backtest_bundle(rewritten(made, {"bars.parquet": b"PAR1"}))
