"""The ingest worker as a command: parse arguments, run `core.ingest`, handle signals."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import logging
import os
import signal
import sys
import time
from collections.abc import Coroutine
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from core.config import (
    BINANCE_REST_URL,
    BINANCE_VENUE,
    BINANCE_WS_URL,
    PRACTICE_SEED,
    Settings,
    history_settings,
    load_settings,
    parse_duration_s,
    parse_keep_days,
)
from core.errors import (
    FeedError,
    PerpduckError,
    StoreBusy,
    StoreFull,
    StoreMissing,
    WorkerRunning,
)
from core.feed.practice_child import PracticeChild, start_practice
from core.feed.rest import RestClient
from core.ingest import Worker
from core.store import open_store
from core.supervisor import WorkerLock
from core.trade_writer import utc_now
from core.worker_check import check

logger = logging.getLogger("perpduck.worker")

T = TypeVar("T")

SPARE_WEIGHT = 150


def main(arguments: list[str] | None = None) -> int:
    """Run the command; returns the exit status: 0 ended as asked, 1 failed, 2 not understood."""
    options = _parser().parse_args(arguments)
    _set_up_logging(options.log_json)
    try:
        settings = _settings(options)
        if options.check:
            is_healthy, lines = check(settings)
            print("\n".join(lines))
            return 0 if is_healthy else 1
        lock = WorkerLock(settings.db)
        lock.take()
        started_at = utc_now()
    except WorkerRunning as error:
        print(f"perpduck worker: {error}", file=sys.stderr)
        return 1
    except PerpduckError as error:
        print(f"perpduck worker: {error}", file=sys.stderr)
        return 2
    try:
        symbols = [s.strip().lower() for s in options.symbols.split(",") if s.strip()]
        asyncio.run(_run(settings, symbols, started_at))
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
    add("--history", help="1-minute bars that a new symbol gets, as in 30d (default 7d; 0: none)")
    add("--keep-days", help="move the trades of older finished days to the lake (default: never)")
    add("--lake", help="the lake's folder (default: PERPDUCK_LAKE, or <database>-lake)")
    add("--log-json", action="store_true", help="one JSON object a log line")
    add(
        "--check",
        action="store_true",
        help="print the status; exit 0 if healthy, 1 if not; "
        "without a worker, look at the alert rules on it and deliver what waits",
    )
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
        retention_days=options.keep_days and parse_keep_days("--keep-days", options.keep_days),
        lake=options.lake,
        **(history_settings(options.history) if options.history is not None else {}),
    )
    if options.practice and options.db is None:
        return settings.practised()
    return settings


async def _run(settings: Settings, symbols: list[str], started_at: datetime) -> None:
    stopping = asyncio.Event()
    _on_signals(asyncio.get_running_loop(), stopping)
    child: PracticeChild | None = None
    try:
        if settings.practice:
            child = await _unless_stopped(
                start_practice(seed=settings.practice_seed, rate=settings.practice_rate), stopping
            )
            if child is None:
                return
            settings = replace(settings, ws_url=child.ws_url, rest_url=child.rest_url)
        # A newcomer's days of bars cost a weight of 70: they need not wait for a long backfill.
        rest = RestClient(
            settings.rest_url, weight_per_minute=settings.weight_per_minute, spare=SPARE_WEIGHT
        )
        try:
            venue = child.venue if child else await _venue(settings, rest, stopping)
            if venue is not None and await _prepared(settings.db, venue, stopping):
                worker = Worker(
                    replace(settings, venue=venue),
                    open_store(settings.db),
                    rest,
                    started_at=started_at,
                )
                logger.info("worker started on %s (%s)", settings.db, venue)
                await _work(worker, symbols, stopping, child)
        finally:
            await rest.aclose()
    finally:
        if child is not None:
            await child.stop()


async def _work(
    worker: Worker, symbols: list[str], stopping: asyncio.Event, child: PracticeChild | None
) -> None:
    """Run the worker until it is asked to stop, or its practice exchange is gone."""
    running = asyncio.create_task(worker.run(symbols))
    ends: list[asyncio.Task[Any]] = [running, asyncio.create_task(stopping.wait())]
    if child is not None:
        ends.append(asyncio.create_task(child.process.wait()))
    await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
    gone = child is not None and child.process.returncode is not None and not stopping.is_set()
    worker.stop("The practice exchange ended; start the worker again." if gone else "")
    for end in ends[1:]:
        end.cancel()
    await running


async def _unless_stopped(job: Coroutine[Any, Any, T], stopping: asyncio.Event) -> T | None:
    """Wait for a job, or for the stop: then the job is cancelled and None returned."""
    working, stop = asyncio.create_task(job), asyncio.create_task(stopping.wait())
    await asyncio.wait([working, stop], return_when=asyncio.FIRST_COMPLETED)
    stop.cancel()
    if not working.done():
        working.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await working
        return None
    return await working


async def _prepared(db: Path, venue: str, stopping: asyncio.Event) -> bool:
    """Make the file ours, however long somebody else holds it; False when asked to stop."""
    while not stopping.is_set():
        try:
            await asyncio.to_thread(open_store(db).prepare, venue, wait_s=1.0)
            return True
        except (StoreBusy, StoreFull) as error:
            logger.warning("waiting for the file: %s", error)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stopping.wait(), 1.0)
    return False


async def _venue(settings: Settings, rest: RestClient, stopping: asyncio.Event) -> str | None:
    """Ask whose ids these are. A file that exists already says so when the exchange cannot."""
    if (settings.ws_url, settings.rest_url) == (BINANCE_WS_URL, BINANCE_REST_URL):
        return BINANCE_VENUE
    # A test network or a copy of the exchange has ids of its own, whatever it says.
    unnamed = f"{BINANCE_VENUE}@{urlsplit(settings.ws_url).netloc}"
    while not stopping.is_set():
        try:
            named = await _unless_stopped(rest.fetch_identity(), stopping)
            return None if stopping.is_set() else named or unnamed
        except FeedError as error:
            with contextlib.suppress(StoreMissing, StoreBusy):
                if stamped := await asyncio.to_thread(open_store(settings.db).venue):
                    logger.warning("the exchange does not answer yet (%s)", error)
                    return stamped
            logger.warning("waiting for the exchange, to know whose ids these are: %s", error)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stopping.wait(), 2.0)
    return None


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


def _leave(status: int) -> None:
    """End the process at once: all is stored, closed and let go of.

    Taking the interpreter apart made DuckDB's binding write of leaked objects into the log, once
    in some hundred ends, where a thread was still about.
    """
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


if __name__ == "__main__":
    _leave(main())
