"""The figures of a backtest's checks: noise, reversion against its promise, sensitivity."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.backtest.noise import Noise
from core.backtest.sweep import Sweep
from core.backtest.toll import CostsView
from core.charts import Spec
from core.line_panels import signed

# More points than this in one figure hide each other.
MOST_POINTS = 4000


def _layout(name: str, label: str, **more: Any) -> Spec:
    return {
        "paper_bgcolor": "$background",
        "plot_bgcolor": "$background",
        "font": {"color": "$muted", "size": 12},
        "margin": {"l": 8, "r": 8, "t": 10, "b": 8},
        "showlegend": False,
        "dragmode": False,
        "hovermode": "closest",
        "shapes": [],
        "annotations": [],
        "meta": {"name": name, "label": label},
        **more,
    }


def _axis(title: str, **more: Any) -> Spec:
    return {
        "title": {"text": title, "font": {"color": "$muted", "size": 12}},
        "gridcolor": "$grid",
        "zeroline": False,
        "linecolor": "$line",
        "showline": True,
        "tickfont": {"color": "$muted"},
        "automargin": True,
        "fixedrange": True,
        **more,
    }


def noise_chart(noise: Noise) -> Spec:
    """Return the histogram of the results on noise, with the real one marked."""
    returns = 100.0 * noise.returns
    low, high = (
        float(min(returns.min(), 100 * noise.result)),
        float(max(returns.max(), 100 * noise.result)),
    )
    edges = np.linspace(low, high if high > low else low + 1e-9, 31)
    counts, _ = np.histogram(returns, edges)
    middle = (edges[:-1] + edges[1:]) / 2
    real = 100.0 * noise.result
    layout = _layout(
        "noise",
        f"Net returns on {len(returns)} shuffled histories; the real one is {real:.2f}%",
        bargap=0.08,
        xaxis=_axis("net return on noise", ticksuffix="%", showgrid=False),
        yaxis=_axis("runs", nticks=4),
    )
    layout["shapes"] = [
        {"type": "line", "xref": "x", "yref": "paper", "x0": real, "x1": real, "y0": 0, "y1": 1,
         "line": {"color": "$spread", "width": 2}}
    ]  # fmt: skip
    is_right = real > (low + high) / 2
    layout["annotations"] = [
        {"x": real, "y": 1, "xref": "x", "yref": "paper", "showarrow": False, "yanchor": "top",
         "xanchor": "right" if is_right else "left",
         "text": f" <b>this result {signed(real, 2)}%</b> ",
         "font": {"color": "$spread", "size": 12}}
    ]  # fmt: skip
    trace = {
        "type": "bar",
        "x": middle.tolist(),
        "y": counts.tolist(),
        "marker": {"color": "$stale", "line": {"width": 0}},
        "hovertemplate": "%{x:.2f}%: %{y} runs<extra></extra>",
    }
    return {"data": [trace], "layout": layout}


def reversion_chart(costs: CostsView) -> Spec:
    """Return each trade's realised reversion over the predicted one, in bps of y's notional."""
    layout = _layout(
        "reversion",
        f"Realised over predicted reversion of {len(costs.predicted_bps)} trades",
        xaxis=_axis("predicted |z|·σ, bps", rangemode="tozero"),
        yaxis=_axis("realised, bps", zeroline=True, zerolinecolor="$line"),
    )
    most = float(costs.predicted_bps.max()) if len(costs.predicted_bps) else 1.0
    layout["shapes"] = [
        {"type": "line", "x0": 0, "y0": 0, "x1": most, "y1": most,
         "line": {"color": "$threshold", "width": 1, "dash": "dash"}}
    ]  # fmt: skip
    rows = slice(-MOST_POINTS, None)
    trace = {
        "type": "scatter",
        "mode": "markers",
        "x": np.round(costs.predicted_bps[rows], 2).tolist(),
        "y": np.round(costs.realised_bps[rows], 2).tolist(),
        "marker": {"color": "$spread", "size": 5, "opacity": 0.6},
        "hovertemplate": "predicted %{x:.1f}, realised %{y:.1f} bps<extra></extra>",
    }
    return {"data": [trace], "layout": layout}


def sensitivity_chart(sweep: Sweep, *, enter: float, window_bars: int) -> Spec:
    """Return the heatmap of net Sharpe (net return under 20 days) over entry and window.

    The chosen point is a ring, the best one a star; a click tells [entry, window].
    """
    has_ratio = bool(np.isfinite(sweep.sharpe).any())
    values = sweep.sharpe if has_ratio else 100.0 * sweep.net
    what, unit = ("Sharpe", "") if has_ratio else ("net", "%")
    most = float(np.nanmax(np.abs(values))) if np.isfinite(values).any() else 1.0
    shown = [[round(v, 4) if math.isfinite(v) else None for v in row] for row in values.tolist()]
    words = [
        [_cell(sweep, i, j, what, unit, values) for j in range(len(sweep.windows))]
        for i in range(len(sweep.entries))
    ]
    layout = _layout(
        "sensitivity",
        f"Net {what} over {len(sweep.entries)} entry levels and {len(sweep.windows)} windows",
        xaxis=_axis(
            "window, bars", tickmode="array", tickvals=list(range(len(sweep.windows))),
            ticktext=[f"{window:,}" for window in sweep.windows], showgrid=False,
            range=[-0.5, len(sweep.windows) - 0.5],
        ),
        yaxis=_axis(
            "entry |z|", tickmode="array", tickvals=list(range(len(sweep.entries))),
            ticktext=[f"{level:g}" for level in sweep.entries], showgrid=False,
            range=[-0.5, len(sweep.entries) - 0.5],
        ),
        coloraxis={
            "cmin": -most, "cmax": most,
            "colorscale": [[0.0, "$leg_y"], [0.5, "$background"], [1.0, "$leg_x"]],
            "colorbar": {"thickness": 10, "len": 0.8, "outlinewidth": 0, "ticksuffix": unit,
                         "tickfont": {"color": "$muted"}, "nticks": 5},
        },
        plot_bgcolor="$line",
    )  # fmt: skip
    data: list[Spec] = [
        {
            "type": "heatmap", "x": list(range(len(sweep.windows))),
            "y": list(range(len(sweep.entries))), "z": shown, "coloraxis": "coloraxis",
            "customdata": [[[level, one] for one in sweep.windows] for level in sweep.entries],
            "text": words, "hovertemplate": "%{text}<extra></extra>", "hoverongaps": True,
            "xgap": 1, "ygap": 1,
        }
    ]  # fmt: skip
    points = [((enter, window_bars), "circle-open", 16)]
    if sweep.best is not None:
        points.append((sweep.best, "star-open", 12))
    for (level, window), symbol, size in points:
        if level in sweep.entries and window in sweep.windows:
            data.append(
                {
                    "type": "scatter", "mode": "markers", "x": [sweep.windows.index(window)],
                    "y": [sweep.entries.index(level)], "hoverinfo": "skip",
                    "marker": {"symbol": symbol, "size": size, "color": "$ink",
                               "line": {"width": 2}},
                }
            )  # fmt: skip
    return {"data": data, "layout": layout}


def _cell(
    sweep: Sweep, row: int, column: int, what: str, unit: str, values: NDArray[np.float64]
) -> str:
    head = f"entry {sweep.entries[row]:g}, window {sweep.windows[column]:,}"
    if not math.isfinite(sweep.net[row, column]):
        return f"{head}<br>not run"
    value = values[row, column]
    told = f"{what} {signed(float(value), 2)}{unit}" if math.isfinite(value) else f"{what} –"
    if sweep.net[row, column] <= -1:
        told = "the account was lost"
    return f"{head}<br>{told} · {int(sweep.trades[row, column]):,} trades"
