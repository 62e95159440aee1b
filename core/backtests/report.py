"""A backtest as one HTML file that needs nothing else: verdict, checks, charts and ledger."""

from __future__ import annotations

import json
from dataclasses import fields
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import plotly.graph_objects as go
import plotly.io as pio
import polars as pl
from jinja2 import Environment, StrictUndefined
from plotly.offline import get_plotlyjs

from core.backtests.charts import backtest_chart
from core.backtests.check_charts import noise_chart, reversion_chart, sensitivity_chart
from core.backtests.running import BacktestResult
from core.backtests.words import check_words, judgement, percent, percent_plain, weaknesses
from core.charts import Spec, price_decimals
from core.palette import PALETTE, themed
from core.verdict import span_words

MOST_TRADES = 2000
# More marks than this are drawn small.
CROWD = 150
_TEMPLATE = Path(__file__).with_suffix(".html")
_CHECKS = {
    "noise": "Against noise",
    "audit": "Look-ahead audit",
    "folds": "Out of sample",
    "costs": "Costs",
    "sweep": "Sensitivity",
}
_MARKS = {
    "up": "triangle-up",
    "down": "triangle-down",
    "exit": "circle-open",
    "stop": "x-thin-open",
}


def report_html(result: BacktestResult, *, now: datetime | None = None) -> str:
    """Return the report, in light colours, with its scripts inside."""
    found, market, traded = judgement(result), result.done.market, result.traded
    spec = traded.spec
    words = check_words(result)
    first, last = (datetime.fromtimestamp(int(at), UTC) for at in market.start_s[[0, -1]])
    trades = result.done.books.trades
    page = Environment(autoescape=True, undefined=StrictUndefined).from_string(
        _TEMPLATE.read_text(encoding="utf-8")
    )
    return page.render(
        title=f"Backtest {spec.y.upper()} / {spec.x.upper()}",
        inks=PALETTE["light"],
        plotly=get_plotlyjs(),
        stands_on=(
            f"{market.rows:,} bars of {spec.timeframe}, {first:%Y-%m-%d %H:%M} – "
            f"{last + timedelta(seconds=market.bar_s):%Y-%m-%d %H:%M} UTC"
        ),
        made=f"{now or datetime.now(UTC):%Y-%m-%d %H:%M}",
        version=version("perpduck"),
        verdict=found.words,
        is_grave=found.is_grave,
        cards=_cards(result),
        checks=[(title, words.get(name, "Not run.")) for name, title in _CHECKS.items()],
        figures=_figures(result),
        chart=_time_figure(result),
        folds=_folds(result),
        caveats=[f"{line[:1].upper()}{line[1:]}." for line in weaknesses(result)],
        settings=_settings(result),
        ledger=_ledger(trades.tail(MOST_TRADES)),
        left_out=trades.height > MOST_TRADES,
        shown=f"{MOST_TRADES:,}",
        total=f"{trades.height:,}",
    )


def _cards(result: BacktestResult) -> list[tuple[str, str, str]]:
    found = result.measures

    def ratio(value: float | None) -> str:
        return "–" if value is None else f"{value:,.2f}".replace("-", "−")

    return [
        ("Net return", percent(found.total_return), f"{found.net:+,.2f}".replace("-", "−")),
        ("A year", percent(found.annual_return), found.reasons.get("annual_return", "365 days")),
        ("Sharpe", ratio(found.sharpe), found.reasons.get("sharpe", "daily, √365")),
        ("Sortino", ratio(found.sortino), found.reasons.get("sortino", "daily, √365")),
        ("Max drawdown", percent(found.max_drawdown), span_words(found.drawdown_s)),
        ("Calmar", ratio(found.calmar), "year over drawdown"),
        ("Trades", f"{found.trades:,}", f"hit {percent_plain(found.hit_rate)}"),
        ("Profit factor", ratio(found.profit_factor), found.reasons.get("profit_factor", "")),
        ("Exposure", percent_plain(found.exposure), "of the bars"),
        ("Turnover", f"{found.turnover:,.0f}×", "of the capital a year"),
        ("Costs", percent_plain(found.cost_share), "of the gross gain"),
        ("Tail ratio", ratio(found.tail_ratio), "95th over 5th percentile"),
    ]


def _figures(result: BacktestResult) -> list[str]:
    honesty, made = result.honesty, []
    if honesty.noise is not None:
        made.append(_figure(noise_chart(honesty.noise), 300))
    if honesty.sweep is not None:
        rules, spec = result.done.settings.rules, result.traded.spec
        chart = sensitivity_chart(honesty.sweep, enter=rules.enter, window_bars=spec.window_bars)
        made.append(_figure(chart, 340))
    if honesty.costs is not None and len(honesty.costs.predicted_bps):
        made.append(_figure(reversion_chart(honesty.costs), 300))
    return made


def _time_figure(result: BacktestResult) -> str:
    traded, market = result.traded, result.done.market
    decimals = tuple(
        price_decimals(contract.tick_size or None, float(closes[-1]))
        for contract, closes in (
            (traded.inputs.contracts[0], market.close_y),
            (traded.inputs.contracts[1], market.close_x),
        )
    )
    spec = backtest_chart(
        result.done, y=traded.spec.y, x=traded.spec.x, decimals=(decimals[0], decimals[1])
    )
    layout = spec["layout"]
    layout["annotations"] = list(layout.get("annotations", ())) + [
        {"text": f"<b>{facts['title']}</b>", "xref": "paper", "x": 0, "xanchor": "left",
         "yref": f"{axis} domain", "y": 1, "yanchor": "bottom", "showarrow": False,
         "font": {"color": "$ink"}}
        for axis, facts in layout["meta"]["axes"].items()
    ]  # fmt: skip
    layout["hovermode"] = "x unified"
    layout["margin"] = {"l": 12, "r": 90, "t": 24, "b": 42}
    drawn = {"data": [one for trace in spec["data"] for one in _plain(trace)], "layout": layout}
    return _figure(drawn, 860)


def _plain(trace: Spec) -> list[Spec]:
    """Return a trace of the live chart as Plotly's own."""
    places = {"xaxis": trace["xaxis"], "yaxis": trace["yaxis"], "x": _times(trace["x"])}
    if trace["type"] == "band":
        edge = places | {"type": "scatter", "mode": "lines", "line": {"width": 0},
                         "hoverinfo": "skip", "showlegend": False}  # fmt: skip
        return [
            edge | {"y": _numbers(trace["high"])},
            edge | {"y": _numbers(trace["low"]), "fill": "tonexty",
                    "fillcolor": trace["fillcolor"], "opacity": 0.2},
        ]  # fmt: skip
    if trace["type"] == "marks":
        sign, colour = trace["marker"]["sign"], trace["marker"]["color"]
        return [
            places | {"type": "scatter", "mode": "markers", "y": _numbers(trace["y"]),
                      "hoverinfo": "skip",
                      "marker": {"symbol": _MARKS[sign], "color": colour,
                                 "size": 7 if len(trace["x"]) < CROWD else 3,
                                 "line": {"width": 1, "color": colour}}}
        ]  # fmt: skip
    return [
        places | {"type": "scatter", "mode": "lines", "y": _numbers(trace["y"]),
                  "line": trace["line"], "name": trace["name"] or "value"}
    ]  # fmt: skip


def _times(at: Any) -> list[str]:
    found: list[str] = np.asarray(at).astype("datetime64[ms]").astype(str).tolist()
    return found


def _numbers(values: Any) -> list[float | None]:
    return [None if value != value else round(value, 8) for value in np.asarray(values).tolist()]


def _figure(spec: Spec, height: int) -> str:
    painted = themed(spec, "light")
    painted["layout"] |= {"height": height, "autosize": True}
    for trace in painted["data"]:
        if (fill := str(trace.get("fillcolor", ""))).startswith("#"):
            # A trace's own opacity leaves its fill as it is.
            red, green, blue = bytes.fromhex(fill[1:])
            trace["fillcolor"] = f"rgba({red}, {green}, {blue}, 0.2)"
    # Checked by Plotly itself: a word that it does not know would leave an empty place.
    made = go.Figure(json.loads(json.dumps(painted, default=str)))
    return str(pio.to_html(
        made, full_html=False, include_plotlyjs=False,
        config={"displayModeBar": False, "responsive": True},
    ))  # fmt: skip


def _folds(result: BacktestResult) -> list[tuple[str, ...]]:
    folds = result.honesty.folds
    if not folds:
        return []
    start_s = result.done.market.start_s

    def span(rows: tuple[int, int]) -> str:
        first, last = (datetime.fromtimestamp(int(start_s[at]), UTC)
                       for at in (rows[0], rows[1] - 1))  # fmt: skip
        return f"{first:%Y-%m-%d %H:%M} – {last:%Y-%m-%d %H:%M}"

    head: tuple[str, ...] = (
        "Tested (UTC)",
        "Trained (UTC)",
        "Entry",
        "Window",
        "Train net",
        "Test net",
        "Trades",
    )
    return [head] + [
        (span(one.test), span(one.train), f"{one.enter:g}", f"{one.window_bars:,}",
         percent(one.train_net), percent(one.test_net), f"{one.test_trades:,}")
        for one in folds
    ]  # fmt: skip


def _settings(result: BacktestResult) -> list[tuple[str, str]]:
    settings = result.done.settings
    said = []
    parts: dict[str, Any] = {
        "pair": result.traded.spec, "rules": settings.rules, "execution": settings.execution,
        "money": settings.money, "y": settings.contract_y, "x": settings.contract_x,
    }  # fmt: skip
    for group, part in parts.items():
        for name in (one.name for one in fields(part)):
            value = getattr(part, name)
            text = (
                "–" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
            )
            said.append((f"{group} · {name.replace('_', ' ')}", text))
    return said


def _ledger(trades: pl.DataFrame) -> list[tuple[str, ...]]:
    shown = trades.drop("decided_row")
    head = tuple(name.replace("_", " ") for name in shown.columns)
    rows = [tuple(_cell(value) for value in row) for row in shown.iter_rows()]
    return [head, *rows]


def _cell(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M:%S}"
    if isinstance(value, float):
        return f"{value:,.6g}".replace("-", "−")
    return str(value)
