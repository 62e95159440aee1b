"""`python -m core.feed.practice`: serve the practice exchange, or write its archives."""

import argparse
import asyncio
import json
import logging
import os
import signal
import sys
import threading
from dataclasses import asdict
from datetime import date
from pathlib import Path

from core.feed.practice.archive import write_archives
from core.feed.practice.delivery import SendReport
from core.feed.practice.faults import FaultSettings, parsed
from core.feed.practice.limits import LimitSettings
from core.feed.practice.market import DEFAULT_RATE, Market
from core.feed.practice.server import PracticeExchange
from core.feed.practice.symbols import SYMBOLS


def main(arguments: list[str] | None = None) -> int:
    """Run the command; returns the exit status."""
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr)
    words = sys.argv[1:] if arguments is None else arguments
    if words[:1] == ["archive"]:
        return _archive(words[1:])
    options = _serve_parser().parse_args(words)
    try:
        exchange = _exchange(options)
    except ValueError as error:
        print(f"practice exchange: {error}", file=sys.stderr)
        return 2
    asyncio.run(_serve(exchange, options.exit_with_parent))
    return 0


def _serve_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m core.feed.practice", description=__doc__)
    add = parser.add_argument
    add("--port", type=int, default=0, help="0 takes a free port")
    add("--seed", type=int, default=7)
    add("--rate", type=float, default=DEFAULT_RATE, help="mean trades a second, all symbols")
    add("--speed", default="1", help='market seconds a second, or "max" for a preload')
    add("--start-ms", type=int, help="where the market clock begins (default: now)")
    add("--preload", type=int, default=1_000_000, help="trades to prepare with --speed max")
    add("--loop", action="store_true", help="send the preload again and again")
    add("--history-hours", type=float, default=48.0, help="how far aggTrades reach back")
    add("--weight-limit", type=int, default=2_400, help="REST weight a minute")
    add("--retry-after", action="store_true", help="send Retry-After with 429")
    add("--close-after-s", type=float, default=86_400.0, help="life of a connection")
    add("--ping-interval-s", type=float, default=180.0)
    add(
        "--fault",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="a setting of FaultSettings; may be repeated (see also GET /practice/faults)",
    )
    add("--exit-with-parent", action="store_true", help="stop when standard input ends")
    return parser


def _exchange(options: argparse.Namespace) -> PracticeExchange:
    faults = dict(text.partition("=")[::2] for text in options.fault)
    return PracticeExchange(
        seed=options.seed,
        rate=options.rate,
        speed=None if options.speed == "max" else float(options.speed),
        port=options.port,
        start_ms=options.start_ms,
        preload_trades=options.preload,
        loop_preload=options.loop,
        history_hours=options.history_hours,
        close_after_s=options.close_after_s,
        ping_interval_s=options.ping_interval_s,
        limits=LimitSettings(options.weight_limit, retry_after=options.retry_after),
        fault_settings=FaultSettings(**parsed(faults)),
        on_report=_print_report,
    )


async def _serve(exchange: PracticeExchange, exit_with_parent: bool) -> None:
    loop = asyncio.get_running_loop()
    stopped = asyncio.Event()
    _on_signals(loop, stopped)
    if exit_with_parent:
        _watch_parent(loop, stopped)
    async with exchange:
        _print_line(
            {
                "ws_url": exchange.ws_url,
                "rest_url": exchange.rest_url,
                "venue": exchange.market.identity,
                "pid": os.getpid(),
            }
        )
        await stopped.wait()
    if exchange.reports:
        sending = exchange.reports
        seconds = sum(report.seconds for report in sending)
        busy = sum(report.seconds * report.cpu_share for report in sending)
        frames = sum(report.frames for report in sending)
        _print_line({"event": "exit", **asdict(SendReport(frames, seconds, busy / seconds))})


def _on_signals(loop: asyncio.AbstractEventLoop, stopped: asyncio.Event) -> None:
    def stop(*_: object) -> None:
        loop.call_soon_threadsafe(stopped.set)

    # signal.signal works on every system; add_signal_handler does not on Windows.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)


def _watch_parent(loop: asyncio.AbstractEventLoop, stopped: asyncio.Event) -> None:
    def wait_for_end() -> None:
        # os.read, not sys.stdin: a thread blocked in a buffered reader upsets interpreter exit.
        while os.read(0, 4_096):
            pass
        loop.call_soon_threadsafe(stopped.set)

    threading.Thread(target=wait_for_end, name="parent", daemon=True).start()


def _print_line(value: dict[str, object]) -> None:
    sys.stdout.write(json.dumps(value) + "\n")
    sys.stdout.flush()


def _print_report(report: SendReport) -> None:
    _print_line({"event": "preload_sent", **asdict(report)})


def _archive(words: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m core.feed.practice archive")
    add = parser.add_argument
    add("--seed", type=int, default=7)
    add("--rate", type=float, default=DEFAULT_RATE)
    add("--symbols", required=True, help="comma-separated, lower case; or all")
    add("--from", dest="first", type=date.fromisoformat, required=True)
    add("--to", dest="last", type=date.fromisoformat, required=True, help="included")
    add("--out", type=Path, required=True)
    add("--kinds", default="aggTrades,klines")
    add("--no-header", action="store_true", help="as older files: no row of column names")
    options = parser.parse_args(words)
    symbols = list(SYMBOLS) if options.symbols == "all" else options.symbols.split(",")
    unknown = sorted(set(symbols) - set(SYMBOLS))
    if unknown:
        parser.error(f"unknown symbols {unknown}: there are {', '.join(SYMBOLS)}")
    written = write_archives(
        Market(options.seed, options.rate),
        symbols,
        options.first,
        options.last,
        options.out,
        kinds=options.kinds.split(","),
        header=not options.no_header,
    )
    _print_line({"files": [str(path) for path in written]})
    return 0


if __name__ == "__main__":
    sys.exit(main())
