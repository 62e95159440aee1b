"""The worker and the watchlist: start, stop, how it fares."""

from __future__ import annotations

import dataclasses
from typing import Annotated, Any, Literal

from msgspec import Meta, Struct
from starlette.responses import Response

from core.api.answers import TimeFormat, json_answer, written_time
from core.api.calls import Call
from core.api.parameters import Symbol
from core.api.problems import Problem, bad_parameter
from core.api.subjects import source_of
from core.commands import add_to_watchlist
from core.errors import DataError
from core.live import sources
from core.live.feeder import feeder
from core.live.pulse import WRITING, Pulse
from core.supervisor import WorkerLock, is_stopping, stop_worker

MOST_SYMBOLS = 200


class StartBody(Struct, kw_only=True, forbid_unknown_fields=True):
    """What to follow."""

    symbols: Annotated[
        list[Symbol],
        Meta(description="Added to the watchlist.", max_length=MOST_SYMBOLS,
             examples=[["arbusdt", "opusdt"]]),
    ]  # fmt: skip
    mode: Annotated[
        Literal["ws"], Meta(description="How trades come: over the exchange's WebSocket streams.")
    ] = "ws"


def start(call: Call) -> Response:
    """Add to the watchlist, and start the worker where none runs."""
    body: StartBody = call.body
    source, form = source_of(call.query.source), call.query.ts_format
    if WorkerLock(source.store.path).is_held():
        if is_stopping(source.store.path):
            raise Problem(
                409, "The worker is stopping; start it when it has ended.",
                headers={"Retry-After": "5"},
            )  # fmt: skip
        _follow(source, body.symbols)
        feeder(source.store).refresh()
        return json_answer({"started": False, **_status(source, form)})
    sources.prepare(source)
    _follow(source, body.symbols)
    pid = source.start()
    feeder(source.store).refresh()
    return json_answer({"started": True, "pid": pid, **_status(source, form)}, 202)


def _follow(source: sources.Source, symbols: list[str]) -> None:
    try:
        add_to_watchlist(source.store, symbols)
    except DataError as error:
        raise bad_parameter("symbols", str(error)) from error


def stop(call: Call) -> Response:
    """Ask the worker to write what it has and end."""
    source = source_of(call.query.source)
    if not WorkerLock(source.store.path).is_held():
        raise Problem(409, f"No worker runs on {source.store.path.name}; there is none to stop.")
    stop_worker(source.store)
    return json_answer({"stopping": True, **_status(source, call.query.ts_format)}, 202)


def status(call: Call) -> Response:
    """Answer with the worker, its symbols and their lag."""
    return json_answer(_status(source_of(call.query.source), call.query.ts_format))


def health(call: Call) -> Response:
    """Answer with whether trades are being written; 200 as long as the app answers."""
    source = source_of(call.query.source)
    pulse = feeder(source.store).pulse()
    found = pulse.health
    is_well = found.is_healthy and pulse.error is None
    return json_answer(
        {
            "status": "ok" if is_well else "degraded",
            "source": source.name,
            "worker": found.state,
            "reason": str(pulse.error) if pulse.error else found.reason,
            "remedy": found.remedy,
        }
    )


def _status(source: sources.Source, ts_format: TimeFormat) -> dict[str, Any]:
    pulse: Pulse = feeder(source.store).pulse()
    worker = pulse.status
    return {
        "source": source.name,
        "running": pulse.health.state in (*WRITING, "stuck"),
        "state": pulse.health.state,
        "reason": pulse.health.reason,
        "remedy": pulse.health.remedy,
        "watchlist": list(pulse.watchlist),
        "worker": None if worker is None else {
            **dataclasses.asdict(worker),
            "started_at": written_time(worker.started_at, ts_format),
            "updated_at": written_time(worker.updated_at, ts_format),
        },
        "symbols": [
            {**row, "last_trade_ts": written_time(row["last_trade_ts"], ts_format)}
            for row in pulse.symbols.iter_rows(named=True)
        ],
        "error": str(pulse.error) if pulse.error else None,
    }  # fmt: skip
