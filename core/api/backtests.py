"""Backtests for programs: the Backtest page's own engine, with its checks on request."""

from __future__ import annotations

import dataclasses
import threading
from typing import Annotated, Any, Literal

import msgspec
import polars as pl
from msgspec import Meta
from starlette.responses import Response

from core.api.answers import TimeFormat, json_answer, keyed, rows_json, written_time, written_times
from core.api.calls import Call
from core.api.parameters import PairAsked, Points
from core.api.problems import Problem, bad_parameter
from core.api.subjects import pair_of, subject_of
from core.backtest import BacktestSettings, Execution, Money, Rules
from core.backtest.honesty import Honesty
from core.backtests import BacktestResult, BacktestRun, first_result, load_traded
from core.backtests.running import CANCELLED, FAILED, RUNNING
from core.errors import DataError
from core.live.traded import traded_range

# A check that is not done by then is reported as not done.
MOST_S = 120.0
_one_at_a_time = threading.Semaphore(1)

_MOST, _MOST_BARS = 1e12, 10_000_000
Number = Annotated[float, Meta(ge=-_MOST, le=_MOST)]
Above = Annotated[float, Meta(gt=0, le=_MOST)]
Bars = Annotated[int, Meta(ge=0, le=_MOST_BARS)]
SomeBars = Annotated[int, Meta(ge=1, le=_MOST_BARS)]
Cost = Annotated[float, Meta(ge=0, lt=10_000)]


class BacktestBody(PairAsked, kw_only=True):
    """A pair and the rules of the Backtest page, under their names in core.backtest.settings."""

    regression: Annotated[
        Literal["ols", "rolling", "refit", "tls", "kalman"],
        Meta(description="ols and tls are fitted on the very bars that are traded: in-sample."),
    ] = "refit"
    range: Annotated[
        Literal["15m", "1h", "6h", "1d", "7d", "30d", "90d", "1y", "all"],
        Meta(description="The stretch up to the newest bar."),
    ] = "1d"
    enter: Annotated[Above, Meta(description="In at |z| beyond it.")] = 2.0
    exit: Annotated[Number, Meta(description="Out when z comes back to it.")] = 0.0
    stop: Annotated[Above | None, Meta(description="Out at |z| beyond it.")] = None
    time_stop_bars: SomeBars | None = None
    time_stop_half_lives: Above | None = None
    sides: Literal["both", "long", "short"] = "both"
    cooldown_bars: Bars = 0
    reentry: Literal["level", "cross"] = "level"
    rebalance_bars: SomeBars | None = None
    fill: Literal["vwap", "open"] = "vwap"
    is_maker: bool = False
    taker_bps: Cost = 5.0
    maker_bps: Annotated[float, Meta(gt=-100, lt=10_000)] = 2.0
    slippage: Cost = 1.0
    slippage_kind: Literal["bps", "ticks", "range"] = "bps"
    least_ticks: Annotated[float, Meta(ge=0, le=_MOST)] = 1.0
    apart_bars: Bars = 1
    capital: Above = 10_000.0
    leverage: Above = 1.0
    sizing: Literal["beta", "dollar", "volatility"] = "beta"
    target_volatility: Above = 0.2
    gate: Number | None = None
    checks: Annotated[
        bool,
        Meta(description="Also run what speaks against it: noise, look-ahead audit, walking "
             "forward, sweep. Takes seconds."),
    ] = False  # fmt: skip
    limit: Points = 500
    ts_format: Annotated[Literal["iso", "ms"], Meta(description="How times are written.")] = "iso"


def backtest(call: Call) -> Response:
    """Answer with a backtest of the pair; one at a time, since it takes all cores."""
    body: BacktestBody = call.body
    # Other routes take it in the query, whatever they are asked with.
    form: TimeFormat = "ms" if "ms" in (body.ts_format, call.query.ts_format) else "iso"
    subject = subject_of(body.source or call.query.source)
    spec = pair_of(subject, body)
    settings = _settings(body)
    start, end = traded_range(subject.pulse, spec, body.range)
    store = subject.source.store
    if not _one_at_a_time.acquire(timeout=0.2):
        raise Problem(
            503, "Another backtest is running; try again when it is done.",
            headers={"Retry-After": "2"},
        )  # fmt: skip
    try:
        if body.checks:
            result = _run(BacktestRun(lambda: load_traded(store, spec, start, end), settings))
        else:
            result = first_result(load_traded(store, spec, start, end), settings)
    finally:
        _one_at_a_time.release()
    return json_answer(
        {
            "pair": {**dataclasses.asdict(spec), "is_in_sample": spec.is_in_sample},
            "range": {
                "start": written_time(start, form),
                "end": written_time(end, form),
                "bars": result.traded.rows.height,
                "klines_share": result.traded.klines_share,
            },
            "settings": dataclasses.asdict(result.done.settings),
            **_told(result, body.limit, form),
            "checks": _checks(result.honesty, is_asked=body.checks),
        }
    )


def _settings(body: BacktestBody) -> BacktestSettings:
    def some(kind: Any) -> Any:
        names = {one.name for one in dataclasses.fields(kind)}
        held = {name for name in body.__struct_fields__ if name in names}
        return kind(**{name: getattr(body, name) for name in held})

    try:
        return BacktestSettings(some(Rules), some(Execution), some(Money))
    except DataError as error:
        # What one number may be is said above; these two must also agree with ``enter``.
        name = "stop" if abs(body.exit) < body.enter else "exit"
        raise bad_parameter(name, str(error)) from error


def _run(run: BacktestRun) -> BacktestResult:
    """Return the backtest with its checks, as many of them as there is time for."""
    standing = run.start().wait(MOST_S)
    if standing.state == RUNNING:
        run.cancel()
        standing = run.wait(MOST_S)
    if standing.state == FAILED and standing.error is not None:
        raise standing.error
    if standing.result is None:
        words = "cancelled" if standing.state == CANCELLED else "not done in time"
        raise Problem(422, f"The backtest was {words}; choose a shorter range.")
    return standing.result


def _told(result: BacktestResult, limit: int, ts_format: TimeFormat) -> dict[str, Any]:
    done = result.done
    times = written_times(result.traded.rows["ts"], ts_format)
    equity = pl.Series(done.books.equity)
    return {
        "measures": dataclasses.asdict(result.measures),
        "trades": _rows(done.books.trades.tail(limit), ts_format),
        "equity": keyed(times.tail(limit).to_list(), equity.tail(limit)),
        "open_mark": done.books.open_mark,
        "refused": done.refused,
        "assumptions": list(done.assumptions),
        "classic": {
            "trades": result.classic.trades.height,
            "gain": float(result.classic.trades["gain"].sum()),
            "note": "The field's mini backtest in units of z: no costs, filled at the signal.",
        },
    }


def _rows(frame: pl.DataFrame, ts_format: TimeFormat) -> Any:
    return msgspec.Raw(rows_json(frame, ts_format))


def _checks(found: Honesty, *, is_asked: bool) -> dict[str, Any]:
    """Return what speaks against the result; a check that was not done says so."""
    if not is_asked:
        return {"done": False, "note": "Not examined: ask with checks=true before believing it."}
    return {
        "done": True,
        "noise": found.noise and {
            "runs": len(found.noise.returns),
            "better_than": found.noise.better_than,
            "traded": found.noise.traded,
            "block_bars": found.noise.block_bars,
        },
        "audit": found.audit and {"cuts": found.audit.cuts, "is_clean": found.audit.is_clean},
        "costs": found.costs and {
            "net_by_cost_factor": {f"{k:g}": v for k, v in found.costs.nets.items()},
            "break_even_bps": found.costs.break_even_bps,
            "paid_bps": found.costs.paid_bps,
            "capture": found.costs.capture,
        },
        "walk_forward": None if found.folds is None else {
            "folds": [dataclasses.asdict(one) for one in found.folds],
            "out_of_sample": found.out_of_sample,
        },
        "sweep": found.sweep and {
            "entries": list(found.sweep.entries),
            "windows": list(found.sweep.windows),
            "best": found.sweep.best,
            "deflated_sharpe": found.sweep.deflated,
            "tried": found.sweep.tried,
        },
        "reasons": found.reasons,
    }  # fmt: skip
