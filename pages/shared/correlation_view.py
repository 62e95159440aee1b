"""From the controls to what Correlation shows: one matrix a step of time, one pair at a time."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import polars as pl

from core.charts import Spec
from core.correlation_charts import matrix_chart, rolling_chart, signature_chart, size_label
from core.downsample import thinned
from core.errors import DataError
from core.exporting import matrix_table
from core.live.feeder import Feeder
from core.live.matrix import MatrixChoice, MatrixView
from core.live.memo import Memo
from core.live.window import timeframe_label
from core.queries import load_newest_trades
from core.stats.arrays import Floats
from core.stats.asynchronous import Signature, signature
from core.stats.correlation import (
    RankedPair,
    log_returns,
    rolling_correlation,
)
from core.verdict import span_words
from pages.shared.cards import UNKNOWN, Card
from pages.shared.pair_cards import number

# Trades of each leg that the signature plot stands on, the newest of the range.
SIGNATURE_TRADES = 300_000
ROLLING_WINDOW = 60
POINTS = 1500
_pairs = Memo(12)


@dataclass(frozen=True, slots=True)
class PairDetail:
    """The chosen pair: its signature plot and its correlation over time."""

    signature: Signature | None
    signature_spec: Spec | None
    rolling_spec: Spec | None
    words: str


def square_of(view: MatrixView) -> pl.DataFrame:
    """Return the matrix as it is shown: ``symbol``, and a column a symbol."""
    return matrix_table(view.matrix, view.order)


def matrix_figure(view: MatrixView, chosen: tuple[str, str] | None) -> Spec:
    """Return the heatmap."""
    return matrix_chart(view.matrix, view.order, chosen)


def matrix_cards(view: MatrixView, choice: MatrixChoice) -> tuple[Card, ...]:
    """Return the row of numbers: strongest, weakest, typical, and what they stand on."""
    words = "Pearson" if choice.kind == "pearson" else "Spearman (ranks)"
    basis = f"{words} correlation of {'log returns' if choice.on == 'returns' else 'log prices'}"
    values = np.array([one.correlation for one in view.ranked])
    # The weakest is the one nearest to none at all; a strongly negative pair is not weak.
    weakest = min(view.ranked, key=lambda one: abs(one.correlation), default=None)
    strongest = max(view.ranked, key=lambda one: abs(one.correlation), default=None)
    rows = view.matrix.counts[np.triu_indices(len(view.matrix.symbols), 1)]
    total = len(view.panel.closes) - (choice.on == "returns")
    span = span_words((view.end - view.start).total_seconds())
    return (
        _pair_card("Strongest pair", strongest, f"{basis} farthest from 0."),
        _pair_card("Weakest pair", weakest, f"{basis} nearest to 0."),
        Card("Median ρ", number(float(np.median(values)) if len(values) else None),
             f"{len(values):,} pairs", (), "", f"Median over all pairs. {basis}."),
        Card("Common bars", f"{int(rows.min()):,} – {int(rows.max()):,}" if len(rows) else UNKNOWN,
             f"of {total:,} {timeframe_label(choice.timeframe)} in {span}", (), "",
             "Bars that both symbols of a pair have; a return across a missing bar is left out."),
    )  # fmt: skip


def _pair_card(label: str, one: RankedPair | None, words: str) -> Card:
    if one is None:
        return Card(label, UNKNOWN, None, (), "", f"{words} No pair has enough common bars.")
    below = f"{one.first.upper()} · {one.second.upper()}"
    return Card(label, number(one.correlation), below, (), "", f"{words} {one.rows:,} bars.")


def extremes(view: MatrixView, count: int) -> pl.DataFrame:
    """Return the strongest and the weakest pairs as a table to read."""
    by_size = sorted(view.ranked, key=lambda one: -abs(one.correlation))
    if len(by_size) > 2 * count:
        marked = [("strong", one) for one in by_size[:count]]
        marked += [("weak", one) for one in reversed(by_size[-count:])]
    else:
        marked = [("", one) for one in by_size]
    rows = [
        (kind, f"{one.first.upper()} / {one.second.upper()}", one.correlation, one.rows)
        for kind, one in marked
    ]
    table = pl.DataFrame(rows, orient="row", schema=["Kind", "Pair", "ρ", "Bars"])
    return table if len(by_size) > 2 * count else table.drop("Kind")


def pair_detail(feed: Feeder, view: MatrixView, chosen: tuple[str, str]) -> PairDetail:
    """Return the chosen pair's signature plot and rolling correlation."""
    asked = view.choice
    place = (feed.store.path, chosen, asked.timeframe, asked.range_name, asked.min_turnover)
    key = (place, view.start, view.end)

    def build() -> PairDetail:
        found, words = _signature(feed, view, chosen)
        return PairDetail(
            found, signature_chart(found) if found else None, _rolling(view, chosen), words
        )

    detail: PairDetail = _pairs.latest(place, key, build)
    return detail


def _signature(
    feed: Feeder, view: MatrixView, chosen: tuple[str, str]
) -> tuple[Signature | None, str]:
    """Return the signature of the newest trades of the range, and what it says in words."""
    with feed.store.read() as con:
        legs = [
            load_newest_trades(con, symbol, view.start, view.end, limit=SIGNATURE_TRADES)
            for symbol in chosen
        ]
    if any(leg.is_empty() for leg in legs):
        return None, "No trades of this pair are kept over the range: bars alone cannot say more."
    # Where a leg has more trades than are read, both begin where the shorter one does.
    since = max(leg["ts"][0] for leg in legs)
    legs = [leg.filter(pl.col("ts") >= since) for leg in legs]
    if any(leg.is_empty() for leg in legs):
        return None, "No signature plot: the legs' trades do not overlap in time."
    columns: list[Any] = []
    for leg in legs:
        columns += [leg["ts"].to_physical().to_numpy(), leg["price"].to_numpy()]
    try:
        found = signature(*columns)
    except DataError as error:
        return None, f"No signature plot: {error}."
    return found, signature_words(found, legs[0].height, legs[1].height, view.end, since)


def signature_words(
    found: Signature, trades_a: int, trades_b: int, end: datetime, since: datetime
) -> str:
    """Return what the signature plot says, and what it stands on."""
    span = span_words((end - since).total_seconds())
    stands = f"{trades_a:,} and {trades_b:,} trades over {span}"
    if found.recommended_s is None:
        return f"No bar size to recommend: {found.reason}. {stands}."
    share = found.correlation[found.bars_s.index(found.recommended_s)]
    trades = (
        f"the trades themselves {number(found.reference.reference, 2)} (Hayashi-Yoshida, bounce "
        f"taken out; {number(found.reference.correlation, 2)} with it)"
    )
    later, short = "", ""
    shorter = np.abs(found.correlation[: found.bars_s.index(found.recommended_s)])
    if len(shorter) and bool((shorter < abs(share)).all()):
        short = " Shorter bars read less of it, because the legs trade at different moments (Epps)."
    if found.is_late:
        later = " The long bars read more than the trades: one leg follows the other a while later."
    return (
        f"**Use {size_label(found.recommended_s)} bars or longer**: they read {number(share, 2)}, "
        f"{trades}.{short}{later} {stands}."
    )


def _rolling(view: MatrixView, chosen: tuple[str, str]) -> Spec | None:
    """Return the pair's rolling correlation of returns over the range."""
    columns = [view.panel.symbols.index(symbol) for symbol in chosen]
    returns = log_returns(view.panel.closes[:, columns])
    known = np.isfinite(returns).all(axis=1)
    if known.sum() < ROLLING_WINDOW:
        return None
    values: Floats = rolling_correlation(returns[known, 0], returns[known, 1], ROLLING_WINDOW)
    if not np.isfinite(values).any():
        return None
    times = view.panel.times[1:].filter(pl.Series(known))
    rows = thinned([values], POINTS)
    return rolling_chart(times[rows], values[rows], ROLLING_WINDOW)
