"""A scan in figures: every pair by half-life and q-value, and the market on one plane."""

from __future__ import annotations

import math
from collections.abc import Sequence

import polars as pl

from core.charts import Spec
from core.correlation_charts import figure_layout, figure_title, short_names
from core.scanning.report import CONFIRMED, EXPLAINED, FILTERED, NOISE, PASSED, SURVIVED

# Told apart by shape and lightness as well as by colour.
MARKS: dict[str, Spec] = {
    NOISE: {"color": "$stale", "symbol": "circle", "size": 5, "opacity": 0.7},
    FILTERED: {"color": "$muted", "symbol": "circle-open", "size": 8},
    PASSED: {"color": "$spread", "symbol": "circle-open", "size": 9},
    EXPLAINED: {"color": "$muted", "symbol": "circle-x-open", "size": 9},
    SURVIVED: {"color": "$spread", "symbol": "circle", "size": 10},
    CONFIRMED: {"color": "$up", "symbol": "diamond", "size": 13},
}
LABELS = {
    NOISE: "noise",
    FILTERED: "filtered",
    PASSED: "passed q",
    EXPLAINED: "explained by a better pair",
    SURVIVED: "survived the bootstrap",
    CONFIRMED: "confirmed",
}
# Beyond this a q-value is as good as none: a single point must not flatten the others.
LEAST_Q = 1e-12
# So many symbols carry their names; of more, only those that matter, and the pointer tells others.
MOST_NAMES = 12
_CLUSTERS = ("$leg_x", "$leg_y", "$corr", "$spread", "$down", "$band")


def volcano_chart(
    pairs: pl.DataFrame, level: float, bar_s: int, chosen: tuple[str, str] | None = None
) -> Spec:
    """Return half-life against q of the pairs (PAIR_SCHEMA), both logarithmic.

    A pair is better the further up and left it lies; a click tells its [y, x].
    """
    shown = pairs.filter(
        pl.col("q_value").is_finite(), pl.col("half_life_bars").is_finite(),
        pl.col("stage").is_in(list(MARKS)),
    )  # fmt: skip
    traces = [_stage_trace(shown.filter(pl.col("stage") == stage), stage, bar_s) for stage in MARKS]
    layout = figure_layout("volcano", "Pairs by half-life and q-value")
    layout["xaxis"] |= _time_axis(shown, bar_s) | {"title": figure_title("half-life")}
    top = max((_height(q) for q in shown["q_value"].to_list()), default=1.0)
    line = -math.log10(level)
    layout["yaxis"] |= {
        "title": figure_title("−log₁₀ q"), "range": [-0.2, max(top, line, 2.0) * 1.08],
    }  # fmt: skip
    layout["shapes"] = [
        {"type": "line", "xref": "paper", "x0": 0, "x1": 1, "y0": line, "y1": line,
         "line": {"color": "$threshold", "width": 1, "dash": "dash"}},
    ]  # fmt: skip
    layout["annotations"] = [
        {"xref": "paper", "x": 1, "xanchor": "right", "y": line, "yanchor": "bottom",
         "text": f"q = {level:g}", "showarrow": False, "font": {"color": "$muted", "size": 12}},
        *_chosen_mark(shown, chosen, bar_s),
    ]  # fmt: skip
    layout |= {
        "showlegend": True,
        "legend": {"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom",
                   "font": {"color": "$muted", "size": 12}},
        "hovermode": "closest",
    }  # fmt: skip
    layout["margin"] |= {"t": 32}
    return {"data": traces, "layout": layout}


def _stage_trace(rows: pl.DataFrame, stage: str, bar_s: int) -> Spec:
    names = [f"{y.upper()} / {x.upper()}" for y, x in rows.select("y", "x").iter_rows()]
    words = [
        f"{name}<br>q {q:.2g} · half-life {life_words(life * bar_s)}<br>"
        f"t {t:+.2f} · β {beta:.3f} · ρ {rho:+.2f}".replace("-", "−")
        for name, (q, life, t, beta, rho) in zip(
            names,
            rows.select(
                "q_value", "half_life_bars", "statistic", "beta",
                pl.col("return_correlation").fill_null(float("nan")),
            ).iter_rows(),
            strict=True,
        )
    ]  # fmt: skip
    return {
        "type": "scatter",
        "mode": "markers",
        "name": f"{LABELS[stage]} ({rows.height:,})",
        "x": [round(life * bar_s, 3) for life in rows["half_life_bars"].to_list()],
        "y": [round(_height(q), 4) for q in rows["q_value"].to_list()],
        "customdata": [[y, x] for y, x in rows.select("y", "x").iter_rows()],
        "text": words,
        "hovertemplate": "%{text}<extra></extra>",
        "marker": MARKS[stage] | {"line": {"width": 1.5, "color": MARKS[stage]["color"]}},
    }


def _height(q: float) -> float:
    return -math.log10(min(1.0, max(q, LEAST_Q)))


def _time_axis(shown: pl.DataFrame, bar_s: int) -> Spec:
    """Return the axis of half-lives: as long as they are, named as people say them."""
    names = {1: "1 s", 5: "5 s", 15: "15 s", 60: "1 min", 300: "5 min", 900: "15 min",
             3600: "1 h", 14400: "4 h", 86400: "1 d", 604800: "7 d", 2592000: "30 d"}  # fmt: skip
    lives = [life * bar_s for life in shown["half_life_bars"].to_list()]
    low, high = (min(lives), max(lives)) if lives else (60.0, 86_400.0)
    low, high = max(low, bar_s / 10) / 1.6, high * 1.6
    ticks = [at for at in names if low <= at <= high]
    return {
        "type": "log",
        "range": [math.log10(low), math.log10(high)],
        "tickmode": "array",
        "tickvals": ticks,
        "ticktext": [names[at] for at in ticks],
    }


def _chosen_mark(shown: pl.DataFrame, chosen: tuple[str, str] | None, bar_s: int) -> list[Spec]:
    if chosen is None:
        return []
    rows = shown.filter((pl.col("y") == chosen[0]) & (pl.col("x") == chosen[1]))
    return [
        {"x": math.log10(life * bar_s), "y": _height(q), "text": "／".join(short_names(chosen)),
         "showarrow": True, "arrowcolor": "$ink", "arrowhead": 0, "ax": 28, "ay": -28,
         "font": {"color": "$ink", "size": 13}, "bgcolor": "$background"}
        for life, q in rows.select("half_life_bars", "q_value").iter_rows()
    ]  # fmt: skip


def life_words(seconds: float | None) -> str:
    """Return a half-life as people say it: 5 min, 2.3 h, 4 d."""
    if seconds is None or not math.isfinite(seconds):
        return "–"
    for size, unit in ((86_400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:.{0 if seconds >= 10 * size else 1}f} {unit}"
    return f"{seconds:.{0 if seconds >= 10 else 1}f} s"


def market_map_chart(symbols: pl.DataFrame, pairs: pl.DataFrame) -> Spec:
    """Return the market on one plane: symbols (SYMBOL_SCHEMA) by cluster, found pairs as lines."""
    placed = symbols.filter(pl.col("map_x").is_finite())
    at = {name: (x, y) for name, x, y in placed.select("symbol", "map_x", "map_y").iter_rows()}
    found = pairs.filter(pl.col("stage").is_in([SURVIVED, CONFIRMED]))
    lines = [
        _edges(found.filter(pl.col("stage") == stage), at, stage) for stage in (SURVIVED, CONFIRMED)
    ]
    important = {name for pair in found.select("y", "x").iter_rows() for name in pair}
    layout = figure_layout("market-map", f"Map of {placed.height} symbols by correlation")
    bare = {"showgrid": False, "zeroline": False, "showticklabels": False, "ticks": "",
            "linecolor": "rgba(0,0,0,0)"}  # fmt: skip
    layout["xaxis"] |= bare
    layout["yaxis"] |= bare | {"scaleanchor": "x"}
    layout |= {"hovermode": "closest", "showlegend": False}
    layout["annotations"] = _names(placed, important)
    return {"data": [*lines, _points(placed)], "layout": layout}


def _edges(rows: pl.DataFrame, at: dict[str, tuple[float, float]], stage: str) -> Spec:
    xs: list[float | None] = []
    ys: list[float | None] = []
    for y, x in rows.select("y", "x").iter_rows():
        if y in at and x in at:
            xs += [at[y][0], at[x][0], None]
            ys += [at[y][1], at[x][1], None]
    return {
        "type": "scatter", "mode": "lines", "x": xs, "y": ys, "hoverinfo": "skip",
        "line": {"color": MARKS[stage]["color"], "width": 3 if stage == CONFIRMED else 1.5,
                 "dash": "solid" if stage == CONFIRMED else "dot"},
    }  # fmt: skip


def _points(placed: pl.DataFrame) -> Spec:
    clusters = placed["cluster"].fill_null(0).to_list()
    colours = [_CLUSTERS[(c - 1) % len(_CLUSTERS)] if c else "$stale" for c in clusters]
    return {
        "type": "scatter",
        "mode": "markers",
        "x": [round(v, 5) for v in placed["map_x"].to_list()],
        "y": [round(v, 5) for v in placed["map_y"].to_list()],
        "text": [
            f"{name.upper()}<br>{f'cluster {c}' if c else 'in no cluster'}"
            for name, c in zip(placed["symbol"].to_list(), clusters, strict=True)
        ],
        "hovertemplate": "%{text}<extra></extra>",
        "marker": {"color": colours, "size": 9, "line": {"color": "$background", "width": 1}},
    }


def _names(placed: pl.DataFrame, important: set[str]) -> list[Spec]:
    """Return the names as notes beside their points, which are drawn anew at every change."""
    names: Sequence[str] = placed["symbol"].to_list()
    is_named = len(names) <= MOST_NAMES
    places = placed.select("map_x", "map_y").iter_rows()
    return [
        {"x": x, "y": y, "text": label, "showarrow": False, "yshift": 13,
         "font": {"color": "$ink", "size": 11}}
        for name, label, (x, y) in zip(names, short_names(names), places, strict=True)
        if is_named or name in important
    ]  # fmt: skip
