"""What the app asks of the worker, and what the worker tells: rows in the file."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import astuple, dataclass, fields
from datetime import datetime

from core.errors import DataError
from core.models import SymbolInfo, SymbolStatus, WorkerStatus
from core.sql import sql
from core.store import Connection, Store
from core.trade_writer import bump_versions, utc_now

STOP = "stop"
WATCHLIST = "watchlist"
SYMBOLS = "symbols"


def add_to_watchlist(store: Store, symbols: Sequence[str]) -> None:
    """Ask the worker to follow the symbols; those already on the list are left alone."""
    with store.write() as con:
        write_watchlist(con, symbols)


def write_watchlist(con: Connection, symbols: Sequence[str]) -> None:
    """Put the symbols on the watchlist inside the caller's transaction."""
    wanted = [_key(symbol) for symbol in symbols]
    con.execute(
        "insert into watchlist select distinct name, $now::timestamp "
        "from unnest($names) as t(name) where name not in (select symbol from watchlist)",
        {"names": wanted, "now": utc_now()},
    )
    bump_versions(con, [WATCHLIST])


def remove_from_watchlist(store: Store, symbols: Sequence[str]) -> None:
    """Ask the worker to let go of the symbols; what is stored of them stays."""
    with store.write() as con:
        con.execute(
            "delete from watchlist where symbol in (select unnest($names))",
            {"names": [_key(symbol) for symbol in symbols]},
        )
        bump_versions(con, [WATCHLIST])


def request_stop(store: Store) -> None:
    """Ask the running worker to write what it has and end (Windows has no SIGTERM)."""
    with store.write() as con:
        con.execute("insert into worker_commands values (?, ?)", [STOP, utc_now()])


@dataclass(frozen=True, slots=True)
class Wishes:
    """What the app wants: the version of the watchlist, and whether to stop."""

    watchlist_version: int
    stop: bool


def take_wishes(con: Connection, since: datetime) -> Wishes:
    """Read what is wanted; requests to stop made after ``since`` are used up by reading."""
    version, stops = con.execute(sql("wishes"), {"since": since}).fetchall()[0]
    if stops:
        con.execute("delete from worker_commands")
    return Wishes(version, bool(stops))


def write_symbols(con: Connection, symbols: Iterable[SymbolInfo]) -> None:
    """Replace the stored list of the exchange's contracts."""
    columns = list(zip(*(astuple(symbol) for symbol in symbols), strict=True))
    if not columns:
        return
    con.execute("delete from symbols")
    con.execute(
        "insert into symbols select unnest($a), unnest($b), unnest($c), unnest($d), unnest($e), "
        "unnest($f), unnest($g), unnest($h)",
        {name: list(column) for name, column in zip("abcdefgh", columns, strict=True)},
    )
    bump_versions(con, [SYMBOLS])


def write_worker_status(
    con: Connection, status: WorkerStatus, symbols: Sequence[SymbolStatus]
) -> None:
    """Replace the worker's own row and those of its symbols."""
    names = [field.name for field in fields(WorkerStatus)]
    if con.execute("select 1 from worker_status").fetchall():
        sets = ", ".join(f"{name} = ?" for name in names)
        con.execute(f"update worker_status set {sets}", list(astuple(status)))  # noqa: S608 - field names
    else:
        marks = ", ".join("?" for _ in names)
        con.execute(f"insert into worker_status values ({marks})", list(astuple(status)))  # noqa: S608 - question marks
    columns = list(zip(*(astuple(symbol) for symbol in symbols), strict=True))
    if columns:
        con.execute(
            sql("merge_symbol_status"),
            {name: list(column) for name, column in zip("abcdefghijk", columns, strict=True)},
        )
    else:
        con.execute("delete from symbol_status")


def _key(symbol: str) -> str:
    key = symbol.strip().lower()
    if not key or any(character.isspace() or character in "/@?&\0" for character in key):
        raise DataError(f"{symbol!r} cannot be a symbol; write it as the exchange does: BTCUSDT")
    return key
