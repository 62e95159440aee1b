"""Stores for the pages: none, a full one, a busy one; and the app on top of them."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from streamlit.testing.v1 import AppTest

from core.commands import write_symbols, write_watchlist, write_worker_status
from core.models import TRADE_SCHEMA, SymbolInfo, SymbolStatus, WorkerStatus
from core.store import Store, open_store
from core.supervisor import WorkerLock
from core.trade_writer import utc_now, write_trades

ROOT = Path(__file__).resolve().parent.parent.parent
TICKS = {"btcusdt": 0.1, "ethusdt": 0.01, "solusdt": 0.001}
PRICES = {"btcusdt": 64_000.0, "ethusdt": 3_400.0, "solusdt": 150.0}


def trades_until(symbol: str, end_ms: int, minutes: int, *, skip: int = 0) -> pl.DataFrame:
    """Two trades a second up to ``end_ms``, a slow wave on the tick grid; ``skip`` ids missing."""
    count = minutes * 120
    index = np.arange(count)
    tick = TICKS[symbol]
    price = PRICES[symbol] * (1 + 0.002 * np.sin(index / 300)) + tick * (index * 37 % 11)
    frame = pl.DataFrame(
        {
            "symbol": [symbol] * count,
            "agg_id": index + 1000,
            "ts": end_ms - (count - index) * 500,
            "price": np.round(price / tick) * tick,
            "size": (index % 29 + 1) / 1000,
            "buyer_is_maker": index % 3 == 0,
            "source": ["ws"] * count,
        },
        schema={**TRADE_SCHEMA, "ts": pl.Int64},
    ).with_columns(pl.col("ts").cast(pl.Datetime("ms")))
    hole = (pl.col("agg_id") >= 1100) & (pl.col("agg_id") < 1100 + skip)
    return frame.filter(~hole)


def worker_row(state: str = "running", note: str = "") -> WorkerStatus:
    now = utc_now()
    return WorkerStatus(
        os.getpid(), socket.gethostname(), "0", "practice:7", state, now, now,
        0, 0, 0.02, 0.05, 6.0, 1, 0, 0, 3, note,
    )  # fmt: skip


def fill(store: Store, *, minutes: int = 30, skip: int = 0, state: str = "stopped") -> None:
    """Fill the store as a worker would have."""
    now_ms = int(time.time() * 1000)
    with store.write() as con:
        for symbol in TICKS:
            trades = trades_until(symbol, now_ms, minutes, skip=skip if symbol == "btcusdt" else 0)
            write_trades(con, trades, now_ms=now_ms)
        write_watchlist(con, list(TICKS))
        write_symbols(
            con,
            [
                SymbolInfo(s, "TRADING", "PERPETUAL", s[:-4].upper(), "USDT", tick, 0.001, 5.0)
                for s, tick in [*TICKS.items(), ("arbusdt", 0.0001)]
            ],
        )
        rows = [
            SymbolStatus(s, "live", PRICES[s], utc_now(), 0.4, 2.0, 3600, 0,
                         int(bool(skip) and s == "btcusdt"), skip, "")
            for s in TICKS
        ]  # fmt: skip
        write_worker_status(con, worker_row(state), rows)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home without any file; the app looks for its files here."""
    monkeypatch.setenv("PERPDUCK_DB", str(tmp_path / "perpduck.duckdb"))
    return tmp_path


@pytest.fixture
def full(home: Path) -> Store:
    """The practice exchange's file with half an hour of trades of a worker that was stopped."""
    store = open_store(home / "practice-7.duckdb")
    store.prepare("practice:7")
    fill(store)
    return store


@pytest.fixture
def living(home: Path) -> Iterator[Store]:
    """The same with a worker alive, as far as anybody can see from outside."""
    store = open_store(home / "practice-7.duckdb")
    store.prepare("practice:7")
    lock = WorkerLock(store.path)
    lock.take()
    fill(store, skip=20, state="running")
    yield store
    lock.release()


@pytest.fixture
def app() -> Callable[..., AppTest]:
    """Return a runner of the whole app: ``app(page=None, **query)``."""

    def run(page: str | None = None, **query: str) -> AppTest:
        test = AppTest.from_file(str(ROOT / "streamlit_app.py"), default_timeout=30)
        for key, value in query.items():
            test.query_params[key] = value
        test.run()
        if page:
            test.switch_page(page).run()
        assert not test.exception, test.exception
        return test

    return run


HOLDER = """
import sys, duckdb
con = duckdb.connect(sys.argv[1])
con.execute("begin")
print("held", flush=True)
sys.stdin.read()
"""


@contextlib.contextmanager
def held(path: Path) -> Iterator[None]:
    """Hold the file from another process, as a forgotten DuckDB shell would."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stdin is not None
    try:
        assert process.stdout.readline() == b"held\n"
        yield
    finally:
        process.stdin.close()
        process.wait(10)
        process.stdout.close()
