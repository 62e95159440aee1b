"""A backtest over time: linked panels of prices, z-score, account and drawdown."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from core.backtest import Backtest
from core.backtest.ledger import ENTRY, EXIT, REBALANCE
from core.backtest.market import Floats, Ints
from core.backtest.signals import OPEN
from core.charts import Spec
from core.downsample import thinned
from core.line_panels import Label, LinePanel, Rows, labels, line, newest, panels_figure

POINTS = 2400
_LEAST_PX = (130, 130)
# More marks than this in one figure hide each other.
MOST_MARKS = 4000
_SIGNS = {"up": "$up", "down": "$down", "exit": "$ink", "stop": "$in_sample"}


def backtest_chart(
    done: Backtest,
    *,
    y: str,
    x: str,
    decimals: tuple[int, int],
    begin: int = 0,
    end: int | None = None,
    points: int = POINTS,
) -> Spec:
    """Return four linked panels of the rows [begin, end): prices, z-score, equity, drawdown.

    Prices are changes against the range's first close, with every fill on its leg; the z-score
    has the levels and what was decided where. ``decimals`` are those of y's and of x's price.
    """
    frame = series(done)
    part = frame[begin:end]
    columns = [part[name].to_numpy() for name in _SHAPES]
    chosen = thinned(columns, points)
    rows = Rows(
        part[chosen],
        part["at"].to_numpy()[chosen],
        np.zeros(len(chosen), dtype=bool),
    )
    reach = (begin, begin + part.height)
    panels = [
        _prices(done, rows, (y, x), decimals, reach),
        _zscore(done, rows, reach),
        _equity(done, rows),
        _drawdown(rows),
    ]
    spec = panels_figure(
        panels, rows.at, timeframe_s=done.market.bar_s, least_px=_LEAST_PX, forming_from_ms=None
    )
    spec["layout"]["meta"]["name"] = "backtest"
    return spec


_SHAPES = ("close_y", "close_x", "zscore", "equity", "drawdown")


def series(done: Backtest) -> pl.DataFrame:
    """Return the rows over time: ``ts`` (UTC, bar start), closes, z-score, account, drawdown.

    ``at`` is the start in epoch ms; the account and the drawdown (a share ≤ 0) are those at the
    bar's close; ``position_y`` and ``position_x`` what is held by then.
    """
    market, books = done.market, done.books
    at = market.start_s.astype(np.float64) * 1000.0
    peak = np.maximum(np.maximum.accumulate(books.equity), books.start)
    return pl.DataFrame(
        {
            "ts": pl.Series(market.start_s * 1000, dtype=pl.Int64).cast(pl.Datetime("ms")),
            "at": at,
            "close_y": market.close_y,
            "close_x": market.close_x,
            "zscore": done.signals.zscore,
            "beta": done.signals.beta,
            "position_y": books.position_y,
            "position_x": books.position_x,
            "equity": books.equity,
            "drawdown": books.equity / peak - 1.0,
        }
    )


def _marks(
    at: NDArray[Any], values: Floats, signs: NDArray[np.str_], reach_ms: tuple[float, float]
) -> list[Spec]:
    """Return one trace a sign of what was done at those times; the last ones where too many."""
    found: list[Spec] = []
    inside = (at >= reach_ms[0]) & (at <= reach_ms[1]) & np.isfinite(values)
    for sign, colour in _SIGNS.items():
        rows = np.flatnonzero(inside & (signs == sign))[-MOST_MARKS:]
        rows = rows[np.argsort(at[rows], kind="stable")]
        found.append(
            {
                "type": "marks",
                "name": sign,
                "x": at[rows],
                "y": values[rows].astype(np.float64),
                "marker": {"color": colour, "sign": sign},
                "meta": {"silent": True},
            }
        )
    return found


def _reach_ms(done: Backtest, reach: tuple[int, int]) -> tuple[float, float]:
    start_s = done.market.start_s
    return float(start_s[reach[0]]) * 1000, float(start_s[reach[1] - 1]) * 1000


def _prices(
    done: Backtest,
    rows: Rows,
    names: tuple[str, str],
    decimals: tuple[int, int],
    reach: tuple[int, int],
) -> LinePanel:
    traces: list[Spec] = []
    marks: list[Spec] = []
    ends: tuple[Label, ...] = ()
    books = done.books
    legs = zip(names, "yx", (books.fills_y, books.fills_x), decimals, strict=True)
    for name, leg, fills, places in legs:
        base = float((done.market.close_y if leg == "y" else done.market.close_x)[0])
        change = 100.0 * (rows.column(f"close_{leg}") / base - 1.0)
        colour = f"$leg_{leg}"
        traces.append(
            line(rows, change, colour, label=name.upper(), base=base, base_decimals=places)
        )
        ends += labels(change, colour, 2, unit="%")
        bought = np.where(fills.size > 0, "up", "down")
        signs = np.where(fills.kind == EXIT, "exit", bought)
        marks += _marks(
            fills.at_s * 1000.0, 100.0 * (fills.paid / base - 1.0), signs, _reach_ms(done, reach)
        )
    return LinePanel(
        share=0.3,
        traces=traces + marks,
        facts={
            "title": "Prices", "unit": "%", "decimals": 2, "signed": True,
            "note": "▲ bought ▼ sold ○ out",
        },
        axis={"ticksuffix": "%", "nticks": 6, "zeroline": True, "zerolinecolor": "$line"},
        labels=ends,
    )  # fmt: skip


def _zscore(done: Backtest, rows: Rows, reach: tuple[int, int]) -> LinePanel:
    zscore = rows.column("zscore")
    rules, fills, trades = done.settings.rules, done.books.fills_y, done.books.trades
    side = np.where(trades["side"].to_numpy() == "long", "up", "down")
    stopped = ~np.isin(trades["reason"].to_numpy(), ("exit", OPEN))
    decided = fills.decided[fills.kind != REBALANCE]
    trade, kind = fills.trade[fills.kind != REBALANCE], fills.kind[fills.kind != REBALANCE]
    signs = np.where(kind == ENTRY, side[trade], np.where(stopped[trade], "stop", "exit"))
    at = done.market.start_s[decided] * 1000.0
    levels = {rules.enter, -rules.enter, rules.exit, -rules.exit}
    if rules.stop is not None:
        levels |= {rules.stop, -rules.stop}
    return LinePanel(
        share=0.26,
        traces=[
            line(rows, zscore, "$spread"),
            *_marks(at, done.signals.zscore[decided], signs, _reach_ms(done, reach)),
        ],
        facts={
            "title": "z-score",
            "note": "▲ long ▼ short the spread ○ out ✕ stopped",
            "decimals": 2,
            "signed": True,
            "include": [-rules.enter, rules.enter],
        },
        axis={"nticks": 5},
        labels=labels(zscore, "$spread", 2),
        levels=tuple(sorted(levels)),
        is_hatched=done.signals.is_in_sample,
    )


def _equity(done: Backtest, rows: Rows) -> LinePanel:
    equity, start = rows.column("equity"), done.books.start
    last = newest(equity)
    colour = "$up" if last >= start else "$down"
    return LinePanel(
        share=0.26,
        traces=[line(rows, equity, colour)],
        facts={
            "title": "Account",
            "note": "open trade marked",
            "decimals": 2,
            "include": [start],
            "min_span": 0.001 * start,
        },
        axis={"nticks": 4, "tickformat": ",.0f" if np.ptp(equity) > 5 else ",.2f"},
        labels=(Label(last, f"{last:,.2f}", colour),),
        levels=(start,),
        is_hatched=done.signals.is_in_sample,
    )


def _drawdown(rows: Rows) -> LinePanel:
    fall = 100.0 * rows.column("drawdown")
    ends = labels(fall, "$down", 2, unit="%")
    area = {
        "type": "band",
        "name": "below its peak",
        "x": rows.at,
        "low": fall.astype(np.float32),
        "high": np.zeros(len(fall), dtype=np.float32),
        "fillcolor": "$down",
        "opacity": 0.2,
        "meta": {"label": "", "silent": True},
    }
    return LinePanel(
        share=0.18,
        traces=[area, line(rows, fall, "$down", width=1.2)],
        facts={
            "title": "Drawdown", "unit": "%", "decimals": 2, "signed": True, "min_span": 0.1,
            "include": [0.0],
        },
        axis={"ticksuffix": "%", "nticks": 3},
        labels=ends,
    )  # fmt: skip


def chart_rows(done: Backtest, start_ms: float, end_ms: float) -> tuple[int, int]:
    """Return the rows [begin, end) that start within [start, end), at least two."""
    start_s: Ints = done.market.start_s
    begin = int(np.searchsorted(start_s * 1000, start_ms))
    end = int(np.searchsorted(start_s * 1000, end_ms))
    begin = min(begin, len(start_s) - 2)
    return begin, max(end, begin + 2)
