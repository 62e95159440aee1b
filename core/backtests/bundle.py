"""A backtest in one ZIP: its bars, funding, contracts, parameters and results; the same anywhere.

``manifest.json`` says what was asked and holds the sha256 of the other members: ``bars.parquet``
(both legs'), ``rates.parquet`` (their settlements), ``ledger.parquet``, ``account.parquet`` (a row
a bar) and ``results.json`` (the measures, floats in hexadecimal). Opened, it is run again from
the bars, and what is not the same to the last digit is named.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

import msgspec
import polars as pl
import pyarrow as pa

from core.backtest import BacktestSettings, Contract
from core.backtests.charts import series
from core.backtests.loading import BARS, RATES, Inputs
from core.backtests.running import BacktestResult
from core.bundle_members import (
    FORMAT,
    MANIFEST,
    MOST_ROWS,
    Time,
    Word,
    demand_hashes,
    demand_symbols,
    differences,
    json_bytes,
    packed,
    parquet_bytes,
    parquet_table,
    plain,
    read_manifest,
    zip_members,
)
from core.errors import BadFile
from core.models import CoverageSummary
from core.pair_spec import PairSpec

BARS_MEMBER, RATES_MEMBER = "bars.parquet", "rates.parquet"
LEDGER, ACCOUNT, RESULTS = "ledger.parquet", "account.parquet", "results.json"
BACKTEST_MEMBERS = {MANIFEST, BARS_MEMBER, RATES_MEMBER, LEDGER, ACCOUNT, RESULTS}
_PRICES = ("open", "high", "low", "close")


@dataclass(frozen=True, slots=True)
class BacktestManifest:
    """What was asked, when and by what; UTC. ``sha256`` of the other members by name."""

    format: int
    made_at: Time
    made_by: Word
    spec: PairSpec
    settings: BacktestSettings
    range: Word
    start: Time
    end: Time
    contracts: tuple[Contract, Contract]
    coverage: tuple[CoverageSummary, ...]
    sha256: dict[str, str]


@dataclass(frozen=True, slots=True, eq=False)
class BacktestBundle:
    """What a ZIP holds: what was asked, what it stands on, and the results as they were."""

    manifest: BacktestManifest
    inputs: Inputs
    results: dict[str, Any]
    sha256: dict[str, str]


def write_backtest_bundle(result: BacktestResult, range_name: str) -> bytes:
    """Return the ZIP of a backtest that was run."""
    found, done = result.traded.inputs, result.done
    members = {
        BARS_MEMBER: parquet_bytes(found.bars),
        RATES_MEMBER: parquet_bytes(found.rates),
        LEDGER: parquet_bytes(done.books.trades),
        ACCOUNT: parquet_bytes(series(done)),
        RESULTS: json_bytes(_results(result)),
    }
    manifest = BacktestManifest(
        format=FORMAT,
        made_at=datetime.now(UTC).replace(tzinfo=None),
        made_by=f"perpduck {version('perpduck')}",
        spec=found.spec,
        settings=done.settings,
        range=range_name,
        start=found.start,
        end=found.end,
        contracts=found.contracts,
        coverage=found.coverage,
        sha256={name: hashlib.sha256(data).hexdigest() for name, data in members.items()},
    )
    return packed(manifest, members)


def read_backtest_bundle(data: bytes) -> BacktestBundle:
    """Return what a ZIP holds; raises BadFile for anything that is not a whole bundle."""
    members = zip_members(data, BACKTEST_MEMBERS, "a backtest")
    manifest = read_manifest(members[MANIFEST], BacktestManifest)
    spec = manifest.spec
    demand_symbols(spec)
    demand_hashes(manifest.sha256, members)
    bars_asked = (manifest.end - manifest.start).total_seconds() / spec.bar_s
    if not 2 <= bars_asked <= MOST_ROWS:
        raise BadFile(f"the bundle's range is {manifest.start} to {manifest.end}: no backtest")
    for contract in manifest.contracts:
        values = (contract.tick_size, contract.step_size, contract.min_notional)
        if not all(0 <= value < math.inf for value in values):
            raise BadFile(f"a contract in the bundle has {values}; they should be 0 or more")
    try:
        results = msgspec.json.decode(members[RESULTS], type=dict[str, Any])
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise BadFile(f"{RESULTS} in the bundle cannot be read ({error})") from error
    inputs = Inputs(
        spec, manifest.start, manifest.end, _bars(members[BARS_MEMBER], manifest),
        _rates(members[RATES_MEMBER], spec), manifest.contracts, manifest.coverage,
    )  # fmt: skip
    return BacktestBundle(manifest, inputs, results, manifest.sha256)


def bundle_differences(bundle: BacktestBundle, again: BacktestResult) -> tuple[str, ...]:
    """Return the names of what another run of the bundle's bars has otherwise, to the bit."""
    return tuple(differences(msgspec.json.decode(json_bytes(_results(again))), bundle.results))


def _results(result: BacktestResult) -> dict[str, Any]:
    done = result.done
    return {
        "measures": plain(result.measures),
        "ledger": {name: plain(done.books.trades[name].to_list())
                   for name in ("net", "gross", "fees", "slippage", "funding")},
        "equity": done.books.end.hex(),
        "refused": plain(done.refused),
        "assumptions": plain(done.assumptions),
    }  # fmt: skip


def _bars(data: bytes, manifest: BacktestManifest) -> pl.DataFrame:
    table = parquet_table(BARS_MEMBER, data, list(BARS), words=["symbol", "origin"])
    bars = pl.DataFrame(pl.from_arrow(table)).with_columns(
        pl.col("symbol", "origin").cast(pl.String)
    )
    floats = (*_PRICES, "volume", "quote_volume")
    wanted = {"symbol": pl.String, "origin": pl.String, **dict.fromkeys(floats, pl.Float64)}
    for name, kind in wanted.items():
        if bars.schema[name] != kind:
            raise BadFile(f"{BARS_MEMBER}: {name} is {bars.schema[name]}; it should be {kind}")
    if bars.schema["ts"].base_type() != pl.Datetime:
        raise BadFile(f"{BARS_MEMBER}: ts is {bars.schema['ts']}; it should be a time")
    legs = {manifest.spec.y, manifest.spec.x}
    usable = bars.select(
        good=pl.all_horizontal(
            pl.col("symbol").is_in(sorted(legs)).all(),
            pl.col("origin").is_in(["trades", "klines", "upload", "mixed"]).all(),
            pl.col("ts").is_not_null().all(),
            pl.col(_PRICES).is_not_null().all(),
            (pl.col(_PRICES).is_finite() & (pl.col(_PRICES) > 0)).all(),
            (pl.col("volume").is_not_null() & (pl.col("volume") >= 0)).all(),
            (pl.col("high") >= pl.max_horizontal("open", "close", "low")).all(),
            (pl.col("low") <= pl.min_horizontal("open", "close")).all(),
            (pl.col("ts") < manifest.end).all(),
        )
    ).item()
    if not usable or bars.select(pl.struct("symbol", "ts").is_duplicated().any()).item():
        raise BadFile(f"{BARS_MEMBER} has bars twice, of other symbols, or prices that are none")
    return bars.sort("symbol", "ts")


def _rates(data: bytes, spec: PairSpec) -> pl.DataFrame:
    table = parquet_table(RATES_MEMBER, data, list(RATES), words=["symbol"])
    if not (pa.types.is_timestamp(table.schema.field("ts").type)):
        raise BadFile(f"{RATES_MEMBER}: ts is {table.schema.field('ts').type}, no time")
    rates = pl.DataFrame(pl.from_arrow(table)).with_columns(
        pl.col("symbol").cast(pl.String), pl.col("rate", "mark_price").cast(pl.Float64)
    )
    usable = rates.select(
        good=pl.all_horizontal(
            pl.col("symbol").is_in(sorted({spec.y, spec.x})).all(),
            pl.col("ts").is_not_null().all(),
            (pl.col("rate").is_not_null() & (pl.col("rate").abs() < 1)).all(),
            (pl.col("mark_price").is_null() | (pl.col("mark_price") > 0)).all(),
        )
    ).item()
    if not usable:
        raise BadFile(f"{RATES_MEMBER} has other symbols, or rates that are none")
    return rates.sort("symbol", "ts")
