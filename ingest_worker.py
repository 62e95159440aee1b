"""The ingest worker as a command: parse arguments, run `core.ingest`, handle signals."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import logging
import signal
import sys
import time
from dataclasses import replace
from pathlib import Path

from core import queries
from core.config import (
    BINANCE_REST_URL,
    BINANCE_VENUE,
    PRACTICE_SEED,
    Settings,
    load_settings,
    parse_duration_s,
)
from core.errors import FeedError, PerpduckError, StoreMissing, WorkerRunning
from core.feed.practice_child import PracticeChild, start_practice
from core.feed.rest import RestClient
from core.ingest import Worker
from core.store import open_store
from core.supervisor import WorkerLock, worker_health

logger = logging.getLogger("perpduck.worker")


def main(arguments: list[str] | None = None) -> int:
    """Run the command; returns the exit status: 0 ended as asked, 1 failed, 2 not understood."""
    options = _parser().parse_args(arguments)
    _set_up_logging(options.log_json)
    try:
        settings = _settings(options)
        if options.check:
            return _check(settings)
        lock = WorkerLock(settings.db)
        lock.take()
    except WorkerRunning as error:
        print(f"perpduck worker: {error}", file=sys.stderr)
        return 1
    except PerpduckError as error:
        print(f"perpduck worker: {error}", file=sys.stderr)
        return 2
    try:
        symbols = [s.strip().lower() for s in options.symbols.split(",") if s.strip()]
        asyncio.run(_run(settings, symbols))
    except PerpduckError as error:
        logger.error("%s", error)
        return 1
    finally:
        lock.release()
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="ingest_worker.py",
        description="Writes live trades of Binance perpetuals (or of the practice exchange) "
        "to one DuckDB file, without loss, until it is stopped.",
    )
    add = parser.add_argument
    add("--symbols", default="", help="comma-separated, added to the watchlist: btcusdt,ethusdt")
    add("--db", type=Path, help="the DuckDB file (default: PERPDUCK_DB, or data/perpduck.duckdb)")
    add("--ws-url", help="scheme, host and port only, as in wss://fstream.binance.com")
    add("--rest-url", help="scheme, host and port only, as in https://fapi.binance.com")
    add("--practice", action="store_true", help="start a practice exchange and follow that")
    add("--practice-seed", type=int, default=PRACTICE_SEED)
    add("--practice-rate", type=float, help="its mean trades a second over all symbols")
    add("--flush-interval", type=float, help="seconds between writes (default 0.5)")
    add("--backfill", default=None, help="trades before the start, as in 30min or 2h")
    add("--log-json", action="store_true", help="one JSON object a log line")
    add("--check", action="store_true", help="print the status; exit 0 if healthy, 1 if not")
    return parser


def _settings(options: argparse.Namespace) -> Settings:
    settings = load_settings(
        db=options.db,
        ws_url=options.ws_url,
        rest_url=options.rest_url,
        practice=options.practice or None,
        practice_seed=options.practice_seed,
        practice_rate=options.practice_rate,
        flush_interval_s=options.flush_interval,
        backfill_s=None if options.backfill is None else parse_duration_s(options.backfill),
    )
    if options.practice and options.db is None:
        return replace(settings, db=settings.practice_db())
    return settings


async def _run(settings: Settings, symbols: list[str]) -> None:
    stopping = asyncio.Event()
    _on_signals(asyncio.get_running_loop(), stopping)
    child: PracticeChild | None = None
    try:
        if settings.practice:
            child = await start_practice(seed=settings.practice_seed, rate=settings.practice_rate)
            settings = replace(settings, ws_url=child.ws_url, rest_url=child.rest_url)
        rest = RestClient(settings.rest_url, weight_per_minute=settings.weight_per_minute)
        try:
            venue = child.venue if child else await _venue(settings, rest, stopping)
            if venue is not None:
                await _work(replace(settings, venue=venue), rest, symbols, stopping)
        finally:
            await rest.aclose()
    finally:
        if child is not None:
            await child.stop()


async def _work(
    settings: Settings, rest: RestClient, symbols: list[str], stopping: asyncio.Event
) -> None:
    store = open_store(settings.db)
    await asyncio.to_thread(store.prepare, settings.venue, wait_s=60.0)
    worker = Worker(settings, store, rest)
    logger.info("worker started on %s (%s)", settings.db, settings.venue)
    running = asyncio.create_task(worker.run(symbols))
    stop = asyncio.create_task(stopping.wait())
    await asyncio.wait([running, stop], return_when=asyncio.FIRST_COMPLETED)
    worker.stop()
    stop.cancel()
    await running


async def _venue(settings: Settings, rest: RestClient, stopping: asyncio.Event) -> str | None:
    """Ask whose ids these are. A file that exists already says so when the exchange cannot."""
    if settings.rest_url == BINANCE_REST_URL:
        return BINANCE_VENUE
    while not stopping.is_set():
        try:
            return await rest.fetch_identity() or BINANCE_VENUE
        except FeedError as error:
            with contextlib.suppress(StoreMissing):
                if stamped := await asyncio.to_thread(open_store(settings.db).venue):
                    logger.warning("the exchange does not answer yet (%s)", error)
                    return stamped
            logger.warning("waiting for the exchange, to know whose ids these are: %s", error)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stopping.wait(), 2.0)
    return None


def _check(settings: Settings) -> int:
    """Print what the file and the process table say of the worker."""
    store = open_store(settings.db)
    status = None
    if store.exists():
        with store.read() as con:
            status = queries.load_worker_status(con)
            symbols = queries.load_symbol_status(con)
    health = worker_health(settings.db, status)
    print(f"{health.state}: {health.reason} {health.remedy}".strip())
    if status is not None:
        print(
            f"pid {status.pid} on {status.host}, venue {status.venue}, version {status.version}, "
            f"last sign of life {status.updated_at:%Y-%m-%d %H:%M:%S} UTC, "
            f"{status.trades_per_s:g} trades/s, buffer {status.buffered_trades}, "
            f"flush {status.flush_s * 1000:.0f} ms"
        )
        for row in symbols.iter_rows(named=True):
            print(
                f"{row['symbol']}: {row['state']}, last {row['last_price']}, lag {row['lag_s']} s, "
                f"{row['trades_per_s']:g} trades/s, {row['open_gaps']} open gaps {row['note']}"
            )
    return 0 if health.is_healthy else 1


def _on_signals(loop: asyncio.AbstractEventLoop, stopping: asyncio.Event) -> None:
    def stop(*_: object) -> None:
        loop.call_soon_threadsafe(stopping.set)

    # signal.signal works on every system; loop.add_signal_handler does not on Windows.
    for name in ("SIGINT", "SIGTERM", "SIGBREAK"):
        if (number := getattr(signal, name, None)) is not None:
            signal.signal(number, stop)


class _JsonFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "ts": round(record.created, 3),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


def _set_up_logging(as_json: bool) -> None:
    handler = logging.StreamHandler(sys.stderr)
    formatter: logging.Formatter = _JsonFormatter()
    if not as_json:
        formatter = logging.Formatter(
            "%(asctime)sZ %(levelname)s %(name)s: %(message)s", "%Y-%m-%dT%H:%M:%S"
        )
        formatter.converter = time.gmtime
    handler.setFormatter(formatter)
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    for noisy in ("httpx", "httpcore", "websockets"):
        logging.getLogger(noisy).setLevel(logging.WARNING)


if __name__ == "__main__":
    sys.exit(main())
