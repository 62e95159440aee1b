"""What a rule would have done, in one small figure: its values, its levels, where it fired."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import datetime

import numpy as np
import polars as pl

from core.alerts.machine import Firing
from core.alerts.rules import Rule
from core.charts import Spec
from core.downsample import thinned

POINTS = 1500
# Room above and below, as a share of what is shown.
_MARGIN = 0.08


def alert_chart(
    rule: Rule,
    series: pl.DataFrame,
    firings: Sequence[Firing],
    *,
    rearm: tuple[float, ...],
    zone: str,
) -> Spec:
    """Return a rule's values over time with its thresholds, re-arm levels and firings.

    ``series`` has ``ts`` and ``value`` (null where not known), ordered by ``ts``; times are drawn
    as they are, ``zone`` is written below them. ``rearm`` may be empty.
    """
    values = series["value"].cast(pl.Float64).fill_null(math.nan).to_numpy()
    values = np.where(np.isfinite(values), values, np.nan)
    rows = thinned([values], POINTS) if len(values) > POINTS else np.arange(len(values))
    times = series["ts"].dt.strftime("%Y-%m-%dT%H:%M:%S")
    drawn = values[rows]
    spec: Spec = {
        "data": [
            _line([times[int(row)] for row in rows], drawn, rule),
            _marks(firings, rule),
        ],
        "layout": _layout(rule, zone),
    }
    thresholds = [rule.threshold, *([] if rule.low is None else [rule.low])]
    if rule.measure.is_state:
        thresholds = []
    layout = spec["layout"]
    layout["shapes"] = [_level(one, "dash") for one in thresholds]
    layout["shapes"] += [_level(one, "dot") for one in rearm if one not in thresholds]
    known = [*drawn[~np.isnan(drawn)].tolist(), *thresholds, *rearm]
    if known:
        low, high = min(known), max(known)
        room = _MARGIN * ((high - low) or abs(high) or 1.0)
        layout["yaxis"]["range"] = [low - room, high + room]
    return spec


def _line(times: Sequence[str], values: np.ndarray, rule: Rule) -> Spec:
    return {
        "type": "scatter",
        "mode": "lines",
        "x": list(times),
        "y": [None if math.isnan(value) else round(value, 8) for value in values.tolist()],
        "connectgaps": False,
        "line": {"color": "$spread", "width": 1.5},
        "hovertemplate": f"%{{x|%d %b %H:%M:%S}}<br>{rule.measure.label} %{{y:.6g}}<extra></extra>",
    }


def _marks(firings: Sequence[Firing], rule: Rule) -> Spec:
    return {
        "type": "scatter",
        "mode": "markers",
        "name": "fired",
        "x": [_text(one.at) for one in firings],
        "y": [one.value for one in firings],
        "marker": {
            "color": "$down",
            "size": 11,
            "symbol": "triangle-up" if rule.is_falling else "triangle-down",
            "line": {"color": "$background", "width": 1},
        },
        "hovertemplate": "fired %{x|%d %b %H:%M:%S}<br>%{y:.6g}<extra></extra>",
    }


def _text(at: datetime) -> str:
    return f"{at:%Y-%m-%dT%H:%M:%S}"


def _level(value: float, dash: str) -> Spec:
    return {
        "type": "line", "xref": "paper", "x0": 0, "x1": 1, "y0": value, "y1": value,
        "line": {"color": "$threshold", "width": 1, "dash": dash},
    }  # fmt: skip


def _layout(rule: Rule, zone: str) -> Spec:
    axis: Spec = {
        "gridcolor": "$grid", "linecolor": "$line", "zeroline": False, "automargin": True,
        "tickfont": {"color": "$muted"}, "fixedrange": True,
    }  # fmt: skip
    unit = f", {rule.unit}" if rule.unit else ""
    title = {"font": {"color": "$muted", "size": 12}}
    return {
        "uirevision": "constant",
        "paper_bgcolor": "$background",
        "plot_bgcolor": "$background",
        "font": {"color": "$ink"},
        "margin": {"l": 8, "r": 12, "t": 8, "b": 8},
        "showlegend": False,
        "hovermode": "closest",
        "xaxis": axis | {"type": "date", "title": title | {"text": zone}, "nticks": 8},
        "yaxis": axis | {"title": title | {"text": f"{rule.measure.label}{unit}"}, "nticks": 6},
        "meta": {
            "name": "alert",
            "label": f"{rule.measure.label} of {rule.subject} with where the rule would have fired",
        },
    }
