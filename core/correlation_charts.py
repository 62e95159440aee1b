"""Correlation in figures: the matrix as a heatmap, the signature plot, the rolling correlation."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import polars as pl

from core.charts import Spec, epoch_ms
from core.stats.arrays import Floats
from core.stats.asynchronous import Signature
from core.stats.correlation import CorrelationMatrix

# Up to so many symbols the cells carry their numbers.
MOST_NUMBERS = 16
# Amber below, blue above, the page itself in between: told apart without colour vision.
SCALE = [[0.0, "$leg_y"], [0.5, "$background"], [1.0, "$leg_x"]]
COLOURS: Spec = {
    "cmin": -1,
    "cmax": 1,
    "colorscale": SCALE,
    "colorbar": {
        "thickness": 10,
        "len": 0.6,
        "outlinewidth": 0,
        "tickvals": [-1, -0.5, 0, 0.5, 1],
        "ticktext": ["−1", "−0.5", "0", "+0.5", "+1"],
        "tickfont": {"color": "$muted"},
    },
}
# Where a cell's number changes its ink, for 4.5 : 1 in both themes: the page's contrast up to the
# first |ρ|, black up to the second, the page's own colour beyond. Amber and blue differ.
INKS = {"leg_y": (0.58, 0.885), "leg_x": (0.645, 0.86)}
# So many names fit beside a matrix on a narrow screen.
NARROW_NAMES = 24


def short_names(symbols: Sequence[str]) -> tuple[str, ...]:
    """Return the symbols as labels, without the quote asset where all share USDT."""
    if symbols and all(symbol.endswith("usdt") and len(symbol) > 4 for symbol in symbols):
        return tuple(symbol[:-4].upper() for symbol in symbols)
    return tuple(symbol.upper() for symbol in symbols)


def matrix_chart(
    matrix: CorrelationMatrix, order: Sequence[int], chosen: tuple[str, str] | None = None
) -> Spec:
    """Return the heatmap, its symbols in the given order; a click tells [row, column] symbols.

    The scale is fixed to ±1. Cells that are not known are grey and say why under the pointer.
    """
    symbols = [matrix.symbols[at] for at in order]
    names = short_names(symbols)
    values = matrix.values[np.ix_(order, order)]
    shown = [[round(v, 4) if math.isfinite(v) else None for v in row] for row in values.tolist()]
    words = [
        [_cell(matrix, order[i], order[j]) for j in range(len(order))] for i in range(len(order))
    ]
    trace: Spec = {
        "type": "heatmap",
        "x": list(range(len(names))),
        "y": list(range(len(names))),
        "z": shown,
        "coloraxis": "coloraxis",
        "customdata": [[[a, b] for b in symbols] for a in symbols],
        "text": words,
        "hovertemplate": "%{text}<extra></extra>",
        "hoverongaps": True,
        "xgap": 1,
        "ygap": 1,
    }
    layout = figure_layout("matrix", f"Correlation matrix of {len(names)} symbols")
    ticks = {"tickmode": "array", "tickvals": list(range(len(names))), "ticktext": list(names)}
    size = 12 if len(names) <= 24 else 9
    side = ticks | {"showgrid": False, "zeroline": False, "fixedrange": True,
                    "tickfont": {"color": "$muted", "size": size}, "ticks": ""}  # fmt: skip
    layout |= {
        "plot_bgcolor": "$line",
        "coloraxis": COLOURS,
        "margin": {"l": 8, "r": 8, "t": 8, "b": 8},
        "xaxis": side | {"side": "bottom", "tickangle": -90 if len(names) > 10 else 0,
                         "automargin": True, "constrain": "domain"},
        "yaxis": side | {"autorange": "reversed", "automargin": True, "scaleanchor": "x",
                         "constrain": "domain"},
        "annotations": _numbers(values) if len(names) <= MOST_NUMBERS else [],
        "shapes": _outline(symbols, chosen),
    }  # fmt: skip
    return {"data": [trace], "layout": layout}


def _cell(matrix: CorrelationMatrix, row: int, column: int) -> str:
    name = f"{matrix.symbols[row].upper()} / {matrix.symbols[column].upper()}"
    if reason := matrix.reason(row, column):
        return f"{name}<br>not known: {reason}"
    value = f"{matrix.values[row, column]:+.3f}".replace("-", "−")
    return f"{name}<br>ρ {value} · n {matrix.counts[row, column]:,}"


def _numbers(values: Floats) -> list[Spec]:
    """Return each cell's number in an ink that reads on the cell."""
    found = []
    for i, row in enumerate(values.tolist()):
        for j, value in enumerate(row):
            text = f"{value:.2f}".replace("-", "−") if math.isfinite(value) else "–"
            found.append({"x": j, "y": i, "text": text, "showarrow": False,
                          "font": {"size": 11, "color": cell_ink(value)}})  # fmt: skip
    return found


def cell_ink(value: float) -> str:
    """Return the ink of a cell's number; an unknown value's cell is grey."""
    first, second = INKS["leg_x" if value > 0 else "leg_y"]
    if not abs(value) > first:
        return "$cell_ink"
    return "#000000" if abs(value) <= second else "$background"


def narrow_matrix(spec: Spec) -> Spec:
    """Return what a matrix changes on a narrow screen: no colour scale, and names that fit."""
    narrow: Spec = {"coloraxis": COLOURS | {"showscale": False}}
    for name in ("xaxis", "yaxis"):
        axis = spec["layout"][name]
        step = math.ceil(len(axis["tickvals"]) / NARROW_NAMES)
        narrow[name] = axis | {
            "tickvals": axis["tickvals"][::step],
            "ticktext": axis["ticktext"][::step],
            "tickfont": {"color": "$muted", "size": 10 if len(axis["tickvals"]) > 16 else 12},
        }
    return narrow


def _outline(symbols: Sequence[str], chosen: tuple[str, str] | None) -> list[Spec]:
    if not chosen or not set(chosen) <= set(symbols):
        return []
    row, column = (symbols.index(symbol) for symbol in chosen)
    return [
        {"type": "rect", "x0": column - 0.5, "x1": column + 0.5, "y0": row - 0.5, "y1": row + 0.5,
         "line": {"color": "$ink", "width": 2}}
    ]  # fmt: skip


def signature_chart(found: Signature) -> Spec:
    """Return correlation against bar size with its 95% interval and the tick-by-tick reference."""
    known = np.isfinite(found.correlation)
    sizes = [size for size, is_known in zip(found.bars_s, known, strict=True) if is_known]
    values, low, high = (column[known] for column in (found.correlation, found.low, found.high))
    counts = found.counts[known]
    best = found.recommended_s
    trace: Spec = {
        "type": "scatter",
        "mode": "lines+markers",
        "x": sizes,
        "y": values.round(4).tolist(),
        "error_y": {"type": "data", "symmetric": False, "array": (high - values).tolist(),
                    "arrayminus": (values - low).tolist(), "color": "$muted", "thickness": 1,
                    "width": 3},
        "line": {"color": "$spread", "width": 1.5},
        "marker": {"color": "$spread", "size": [12 if size == best else 7 for size in sizes],
                   "symbol": ["diamond" if size == best else "circle" for size in sizes]},
        "text": [f"{size_label(s)} bars<br>ρ {v:.3f} ({a:.3f} to {b:.3f})<br>{n:,} returns"
                 for s, v, a, b, n in zip(sizes, values, low, high, counts, strict=True)],
        "hovertemplate": "%{text}<extra></extra>",
    }  # fmt: skip
    layout = figure_layout("signature", "Correlation against bar size")
    shown = [size for size in found.bars_s if size in (1, 5, 15, 60, 300, 600)]
    reference = found.reference.reference
    ends = math.log10(found.bars_s[0]) - 0.08, math.log10(found.bars_s[-1]) + 0.08
    layout["xaxis"] |= {
        "type": "log",
        "tickmode": "array",
        "tickvals": shown,
        "ticktext": [size_label(size) for size in shown],
        "range": list(ends),
        "title": figure_title("bar size"),
    }
    layout["yaxis"] |= {"title": figure_title("ρ of returns")}
    layout["shapes"] = [_level(reference)]
    layout["annotations"] = [
        {"xref": "paper", "yref": "paper", "x": 0, "y": 1, "xanchor": "left", "yanchor": "bottom",
         "showarrow": False, "text": f"╌╌ Hayashi-Yoshida {reference:.3f}".replace("-0", "−0"),
         "font": {"color": "$muted", "size": 12}}
    ]  # fmt: skip
    layout["margin"] |= {"t": 24}
    return {"data": [trace], "layout": layout}


def size_label(seconds: int) -> str:
    """Return a bar size as traders write it: 5s, 1m, 10m."""
    return f"{seconds // 60}m" if seconds % 60 == 0 else f"{seconds}s"


def rolling_chart(times: pl.Series, values: Floats, window: int) -> Spec:
    """Return the rolling correlation over time; bars without a value leave a gap."""
    shown = [round(v, 4) if math.isfinite(v) else None for v in values.tolist()]
    trace: Spec = {
        "type": "scatter",
        "mode": "lines",
        "x": epoch_ms(times).tolist(),
        "y": shown,
        "connectgaps": False,
        "line": {"color": "$corr", "width": 1.5},
        "hovertemplate": "%{x|%d %b %H:%M:%S}<br>ρ %{y:.3f}<extra></extra>",
    }
    layout = figure_layout("rolling", f"Correlation of the last {window:,} returns over time")
    layout["xaxis"] |= {"type": "date"}
    layout["yaxis"] |= {"range": [-1.02, 1.02], "tickvals": [-1, -0.5, 0, 0.5, 1],
                        "title": figure_title(f"ρ, {window:,} returns")}  # fmt: skip
    layout["shapes"] = [_level(0.0)]
    return {"data": [trace], "layout": layout}


def figure_title(text: str) -> Spec:
    """Return an axis' title."""
    return {"text": text, "font": {"color": "$muted", "size": 12}}


def _level(value: float) -> Spec:
    return {"type": "line", "xref": "paper", "x0": 0, "x1": 1, "y0": value, "y1": value,
            "line": {"color": "$threshold", "width": 1, "dash": "dash"}}  # fmt: skip


def figure_layout(name: str, label: str) -> Spec:
    """Return the layout of a figure that stands by itself; ``label`` is for who cannot see it."""
    axis = {"gridcolor": "$grid", "linecolor": "$line", "zeroline": False,
            "tickfont": {"color": "$muted"}, "fixedrange": True, "automargin": True}  # fmt: skip
    return {
        "uirevision": "constant",
        "paper_bgcolor": "$background",
        "plot_bgcolor": "$background",
        "font": {"color": "$ink"},
        "margin": {"l": 8, "r": 12, "t": 8, "b": 8},
        "showlegend": False,
        "hovermode": "closest",
        "xaxis": dict(axis),
        "yaxis": dict(axis),
        "meta": {"name": name, "label": label},
    }
