"""Linked panels of lines: traces, labels and layout that every such figure is made of.

Lines and bands are trace types of our own, which the live chart draws on its canvas: ``line``
(columns x, y) and ``band`` (x, low, high); NaN is a gap. ``layout.meta.axes`` says of each axis
what Plotly does not know: title, ``note`` (where there is room) and ``mark`` (always) behind it,
unit, decimals, signed, a ``range`` that is fixed, values to ``include``, the least ``min_span``;
``layout.meta.hatched`` names the in-sample panels.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import polars as pl
from numpy.typing import NDArray

from core.charts import Floats, Spec, axis_name, base_layout

# The gap between panels, as a share of the figure.
_GAP = 0.024


@dataclass(frozen=True, slots=True)
class Rows:
    """A frame's rows on their way into lines: ``at`` in epoch ms, undefined values NaN."""

    frame: pl.DataFrame
    at: Floats
    is_stale: NDArray[np.bool_]

    def column(self, name: str) -> Floats:
        """Return a column as float64, NaN where it is null or not finite."""
        values = self.frame[name].cast(pl.Float64).to_numpy()
        return np.where(np.isfinite(values), values, np.nan)


@dataclass(frozen=True, slots=True)
class Label:
    """The newest value of a line, shown at the panel's right edge."""

    value: float
    text: str
    colour: str


@dataclass(frozen=True, slots=True)
class LinePanel:
    """One panel: its share of the height, its traces, and what is said about its axis.

    ``facts`` is its part of ``layout.meta.axes``, ``axis`` its own words for Plotly; ``levels``
    are marked by dashed grey lines. Shares of a figure sum to 1.
    """

    share: float
    traces: list[Spec]
    facts: Spec
    axis: Spec = field(default_factory=dict)
    labels: tuple[Label, ...] = ()
    levels: tuple[float, ...] = ()
    is_hatched: bool = False


def line(rows: Rows, values: Floats, colour: str, *, width: float = 1.5, **meta: object) -> Spec:
    """Return a line over the rows; its provisional points are hollow dots.

    ``meta`` may hold label, ``base`` (a price: the values are % changes against it) with
    ``base_decimals``, and ``beyond`` with ``beyond_word``: peaks past ±beyond are marked.
    """
    return {
        "type": "line",
        "name": meta.get("label", ""),
        "x": rows.at,
        "y": values,
        "line": {"color": colour, "width": width},
        "hollow": True,
        "meta": meta,
    }


def band(rows: Rows, middle: Floats, half: Floats, colour: str, label: str) -> Spec:
    """Return the filled area middle ± half."""
    return {
        "type": "band",
        "name": label,
        "x": rows.at,
        "low": (middle - half).astype(np.float32),
        "high": (middle + half).astype(np.float32),
        "fillcolor": colour,
        "opacity": 0.2,
        "meta": {"label": label},
    }


def carried(rows: Rows, traces: Sequence[Spec]) -> list[Spec]:
    """Return grey lines over the stretches of each line whose prices were carried."""
    if not rows.is_stale.any():
        return []
    # The step into a carried bar is as carried as the bar.
    covered = rows.is_stale | np.append(rows.is_stale[1:], False)
    return [
        line(rows, np.where(covered, trace["y"], np.nan), "$stale", width=2, silent=True)
        | {"hollow": False}
        for trace in traces
    ]


def newest(values: Floats) -> float:
    """Return the last value, NaN where there is none."""
    return float(values[-1]) if len(values) else math.nan


def signed(value: float, decimals: int) -> str:
    """Return a number with its sign and thousands separated; rounded to zero it has none."""
    text = f"{abs(value):,.{decimals}f}"
    if not text.strip("0.,"):
        return text
    return f"{'−' if value < 0 else '+'}{text}"


def labels(values: Floats, colour: str, decimals: int, *, unit: str = "") -> tuple[Label, ...]:
    """Return the label of a line's newest value, none where that is undefined."""
    last = newest(values)
    if math.isnan(last):
        return ()
    return (Label(last, f"{signed(last, decimals)}{unit}", colour),)


def panels_figure(
    panels: Sequence[LinePanel],
    at: Floats,
    *,
    timeframe_s: int,
    least_px: tuple[int, int],
    forming_from_ms: float | None,
) -> Spec:
    """Return the panels below each other on one time axis.

    ``least_px`` is the mean height of a panel that is not gone below, on a wide and on a narrow
    screen; rows at or after ``forming_from_ms`` are provisional.
    """
    layout = base_layout(timeframe_s)
    meta = layout["meta"]
    meta |= {
        "panels": len(panels),
        "panel_px": list(least_px),
        "axes": {},
        "hatched": [],
        "snap_ms": _snap_ms(at, timeframe_s * 1000.0),
        "forming_from_ms": forming_from_ms,
    }
    layout["xaxis"]["anchor"] = axis_name("y", len(panels) - 1)
    spec: Spec = {"data": [], "layout": layout}
    top, height = 1.0, 1.0 - _GAP * (len(panels) - 1)
    for number, panel in enumerate(panels):
        name = axis_name("y", number)
        bottom = max(0.0, top - panel.share * height)
        domain = [round(bottom, 6), round(top, 6)]
        layout[f"yaxis{name[1:]}"] = _value_axis(domain) | panel.axis
        meta["axes"][name] = panel.facts
        if panel.is_hatched:
            meta["hatched"].append(name)
        spec["data"] += [trace | {"xaxis": "x", "yaxis": name} for trace in panel.traces]
        layout["shapes"] += [_level(name, value) for value in panel.levels]
        layout["annotations"] += [_note(name, label) for label in panel.labels]
        top = bottom - _GAP
    return spec


def _snap_ms(at: Floats, bar: float) -> float:
    """Return how far from a row the crosshair still takes it; thinned rows lie further apart."""
    apart = (at[-1] - at[0]) / (len(at) - 1) if len(at) > 1 else bar
    return bar * max(3, math.ceil(6 * apart / bar)) if apart > 1.5 * bar else 3 * bar


def _value_axis(domain: list[float]) -> Spec:
    return {
        "domain": domain,
        "side": "right",
        "anchor": "x",
        "fixedrange": True,
        "gridcolor": "$grid",
        "zeroline": False,
        "showline": False,
        "tickfont": {"color": "$muted"},
        "automargin": False,
        "separatethousands": True,
        "exponentformat": "none",
    }


def _level(axis: str, value: float) -> Spec:
    return {
        "type": "line",
        "xref": "paper",
        "yref": axis,
        "x0": 0,
        "x1": 1,
        "y0": value,
        "y1": value,
        "line": {"color": "$threshold", "width": 1, "dash": "dash" if value else "dot"},
        "name": "threshold",
    }


def _note(axis: str, label: Label) -> Spec:
    return {
        "xref": "paper",
        "yref": axis,
        "x": 1,
        "y": label.value,
        "xanchor": "left",
        "showarrow": False,
        "text": f"<b>{label.text}</b>",
        "bgcolor": label.colour,
        "font": {"color": "$background", "size": 12},
        "borderpad": 2,
        "name": "last",
    }
