"""Frames in, Plotly figure specifications out; colours are tokens of `core.palette`.

A specification is a plain dict, ``{"data": [...], "layout": {...}}``, whose long columns are
NumPy arrays and whose colours are palette tokens such as ``$up``: the browser (or `themed`)
puts the theme's colours in, so one figure serves every session in either theme. Times are
milliseconds since the epoch, UTC. No Streamlit, no database: a 1,500-candle figure takes
about a millisecond, so it is built once a version and shared.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from core.origin_marks import origin_notes, origin_runs, origin_shapes

Spec = dict[str, Any]
Floats = NDArray[np.floating[Any]]

LEGS = ("$leg_x", "$leg_y", "$spread")
# Shares of one symbol's block; the gap keeps the volume from touching the candles.
_PRICE_SHARE, _GAP_SHARE = 0.76, 0.03
_BLOCK_GAP = 0.05


@dataclass(frozen=True, slots=True)
class Panel:
    """One symbol's place in a linked figure: its bars, its tick size, its share of the height."""

    symbol: str
    bars: pl.DataFrame
    tick_size: float | None
    bottom: float
    top: float


def price_decimals(tick_size: float | None, price: float | None = None) -> int:
    """Return how many decimals a price carries: the tick size's, else as many as help.

    Without a tick size five significant digits are kept, at most ten decimals.
    """
    if tick_size and tick_size > 0:
        text = f"{tick_size:.12f}".rstrip("0")
        return len(text.partition(".")[2])
    if not price or not math.isfinite(price):
        return 2
    return min(10, max(0, 4 - math.floor(math.log10(abs(price)))))


def prices_chart(
    frames: Mapping[str, pl.DataFrame],
    *,
    timeframe_s: int,
    tick_sizes: Mapping[str, float] | None = None,
    forming_from_ms: float | None = None,
) -> Spec:
    """Return linked panels, candles over volume, for each symbol in the order given.

    Each frame holds ``ts`` (UTC, bar start), ``open high low close volume
    taker_buy_volume``, ordered by ``ts``; times without a bar stay empty. A bar that starts
    at or after ``forming_from_ms`` is still forming and is drawn faint.
    """
    panels = _panels(frames, tick_sizes or {})
    spec: Spec = {"data": [], "layout": base_layout(timeframe_s)}
    for number, panel in enumerate(panels):
        _add_panel(spec, panel, number, timeframe_s, forming_from_ms)
    layout = spec["layout"]
    layout["xaxis"]["anchor"] = axis_name("y", 2 * max(len(panels), 1) - 1)
    layout["meta"]["panels"] = len(panels)
    return spec


def _panels(frames: Mapping[str, pl.DataFrame], tick_sizes: Mapping[str, float]) -> Sequence[Panel]:
    count = max(len(frames), 1)
    height = (1.0 - _BLOCK_GAP * (count - 1)) / count
    found = []
    for number, (symbol, bars) in enumerate(frames.items()):
        top = 1.0 - number * (height + _BLOCK_GAP)
        bottom = max(0.0, top - height)
        found.append(Panel(symbol, bars, tick_sizes.get(symbol), bottom, top))
    return found


def axis_name(letter: str, index: int) -> str:
    """Return Plotly's name of an axis counted from 0: y, y2, y3, …"""
    return letter if index == 0 else f"{letter}{index + 1}"


def base_layout(timeframe_s: int) -> Spec:
    """Return the layout that all linked figures share: margins, gestures and the time axis."""
    return {
        "uirevision": "constant",
        "paper_bgcolor": "$background",
        "plot_bgcolor": "$background",
        "font": {"color": "$muted", "size": 12},
        "margin": {"l": 12, "r": 76, "t": 6, "b": 42},
        "showlegend": False,
        "dragmode": "pan",
        "hovermode": "x unified",
        "hoversubplots": "axis",
        "hoverdistance": -1,
        "barmode": "stack",
        "bargap": 0.25,
        "shapes": [],
        "annotations": [],
        "xaxis": {
            "type": "date",
            "domain": [0.0, 1.0],
            "rangeslider": {"visible": False},
            "showgrid": True,
            "gridcolor": "$grid",
            "linecolor": "$line",
            "showline": True,
            "ticks": "outside",
            "tickcolor": "$line",
            "ticklen": 4,
            "tickfont": {"color": "$muted"},
            "showspikes": True,
            "spikemode": "across",
            "spikesnap": "hovered data",
            "spikethickness": 1,
            "spikedash": "dot",
            "spikecolor": "$muted",
        },
        "meta": {"timeframe_ms": timeframe_s * 1000},
    }


def _add_panel(
    spec: Spec, panel: Panel, number: int, timeframe_s: int, forming_from_ms: float | None
) -> None:
    bars = panel.bars
    x = epoch_ms(bars["ts"])
    last_close = float(bars["close"][-1]) if bars.height else None
    decimals = price_decimals(panel.tick_size, last_close)
    price, volume = axis_name("y", 2 * number), axis_name("y", 2 * number + 1)
    closed = bars.height
    if forming_from_ms is not None:
        closed = int(np.searchsorted(x, forming_from_ms, side="left"))
    spec["data"] += _candles(panel, x, closed, price, decimals)
    spec["data"] += _volumes(panel, x, volume, timeframe_s)
    _add_axes(spec["layout"], panel, number, decimals)
    runs = origin_runs(bars, timeframe_s)
    spec["layout"]["shapes"] += origin_shapes(runs, price)
    spec["layout"]["annotations"] += origin_notes(runs, price)
    if last_close is not None:
        _add_last_price(spec["layout"], panel, price, last_close, decimals)
    _add_title(spec["layout"], panel, number)


def epoch_ms(times: pl.Series) -> Floats:
    """Return UTC times as milliseconds since the epoch."""
    return times.cast(pl.Datetime("ms")).to_physical().to_numpy().astype(np.float64)


def _column(bars: pl.DataFrame, name: str) -> Floats:
    return bars[name].cast(pl.Float64).to_numpy()


def _candles(panel: Panel, x: Floats, closed: int, axis: str, decimals: int) -> list[Spec]:
    columns = {name: _column(panel.bars, name) for name in ("open", "high", "low", "close")}
    label = panel.symbol.upper()
    traces = []
    for name, part, opacity in (
        (label, slice(None, closed), 1.0),
        (f"{label} forming", slice(closed, None), 0.5),
    ):
        traces.append(
            {
                "type": "candlestick",
                "name": name,
                "xaxis": "x",
                "yaxis": axis,
                "x": x[part],
                **{key: values[part] for key, values in columns.items()},
                "opacity": opacity,
                "increasing": {"line": {"color": "$up", "width": 1}, "fillcolor": "$up_fill"},
                "decreasing": {"line": {"color": "$down", "width": 1}, "fillcolor": "$down_fill"},
                "whiskerwidth": 0,
                "meta": {"label": label, "decimals": decimals, "forming": opacity < 1.0},
            }
        )
    return traces


def _volumes(panel: Panel, x: Floats, axis: str, timeframe_s: int) -> list[Spec]:
    total = _column(panel.bars, "volume")
    bought = _column(panel.bars, "taker_buy_volume")
    stacks = [
        ("taker buys", bought, "$buy"),
        ("taker sells", np.maximum(total - bought, 0.0), "$sell"),
    ]
    if (sideless := np.isnan(bought)).any():
        stacks.append(("volume", np.where(sideless, total, np.nan), "$muted"))
    traces = []
    for name, values, colour in stacks:
        traces.append(
            {
                "type": "bar",
                "name": name,
                "xaxis": "x",
                "yaxis": axis,
                "x": x,
                "y": values.astype(np.float32),
                "width": timeframe_s * 750.0,
                "marker": {"color": colour, "line": {"width": 0}},
                "meta": {"label": name, "volume": True},
            }
        )
    return traces


def _add_axes(layout: Spec, panel: Panel, number: int, decimals: int) -> None:
    height = panel.top - panel.bottom
    foot = panel.bottom + height * (1.0 - _PRICE_SHARE)
    common = {
        "side": "right",
        "anchor": "x",
        "fixedrange": True,
        "gridcolor": "$grid",
        "zeroline": False,
        "showline": False,
        "tickfont": {"color": "$muted"},
        "automargin": False,
    }
    layout[f"yaxis{'' if number == 0 else 2 * number + 1}"] = common | {
        "domain": [round(foot, 6), round(panel.top, 6)],
        "tickformat": f",.{decimals}f",
        "nticks": 8,
    }
    layout[f"yaxis{2 * number + 2}"] = common | {
        "domain": [round(panel.bottom, 6), round(foot - _GAP_SHARE * height, 6)],
        # Below a thousand SI prefixes would call 0.05 "50m".
        "tickformat": "~s" if _largest(panel) >= 1000 else "~g",
        "nticks": 3,
        "showgrid": False,
        "rangemode": "tozero",
    }


def _largest(panel: Panel) -> float:
    return float(_column(panel.bars, "volume").max()) if panel.bars.height else 0.0


def _add_last_price(layout: Spec, panel: Panel, axis: str, last: float, decimals: int) -> None:
    rising = last >= float(panel.bars["open"][-1])
    colour = "$up" if rising else "$down"
    layout["shapes"].append(
        {
            "type": "line",
            "xref": "paper",
            "yref": axis,
            "x0": 0,
            "x1": 1,
            "y0": last,
            "y1": last,
            "line": {"color": colour, "width": 1, "dash": "dot"},
            "name": "last",
        }
    )
    layout["annotations"].append(
        {
            "xref": "paper",
            "yref": axis,
            "x": 1,
            "y": last,
            "xanchor": "left",
            "showarrow": False,
            "text": f"<b>{last:,.{decimals}f}</b>",
            "bgcolor": colour,
            "font": {"color": "$background", "size": 12},
            "borderpad": 2,
            "name": "last",
        }
    )


def _add_title(layout: Spec, panel: Panel, number: int) -> None:
    layout["annotations"].append(
        {
            "xref": "paper",
            "yref": "paper",
            "x": 0,
            "y": panel.top,
            "xanchor": "left",
            "yanchor": "top",
            "showarrow": False,
            "text": f"<b>{panel.symbol.upper()}</b>",
            "font": {"color": LEGS[number] if number < len(LEGS) else "$ink", "size": 13},
            "name": "title",
        }
    )
