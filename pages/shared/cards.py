"""The row of numbers on top of a page: metrics with small curves, signs, reasons."""

from __future__ import annotations

from dataclasses import dataclass

import streamlit as st

from core.charts import price_decimals
from core.summary import Sparklines, Summary

UNKNOWN = "–"


@dataclass(frozen=True, slots=True)
class Card:
    """One metric as it is shown, ready to be sent to any session."""

    label: str
    value: str
    delta: str | None
    curve: tuple[float, ...]
    kind: str
    help: str


def compact(value: float) -> str:
    """Return a large number with three significant digits and its unit: 1.23M."""
    for size, unit in ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:,.2f}{unit}"
    return f"{value:,.2f}"


def price_cards(
    summary: Summary, curves: Sparklines, *, tick_size: float | None, base: str, quote: str
) -> tuple[Card, ...]:
    """Return the cards of one symbol over the visible range."""
    decimals = price_decimals(tick_size, summary.last)

    def price(value: float | None) -> str:
        return UNKNOWN if value is None else f"{value:,.{decimals}f}"

    def card(label: str, field: str, value: str, kind: str, text: str, delta: str | None) -> Card:
        reason = summary.reason(field)
        text = f"{text} Not known: {reason}." if reason else text
        return Card(label, value, delta, tuple(getattr(curves, field)), kind, text)

    change = None
    if summary.change_abs is not None and summary.change_pct is not None:
        change = f"{summary.change_pct:+.2f}% {summary.change_abs:+,.{decimals}f}"
    volatility = UNKNOWN if summary.volatility is None else f"{100 * summary.volatility:,.1f}%"
    share = UNKNOWN if summary.taker_buy_share is None else f"{100 * summary.taker_buy_share:.1f}%"
    volume = UNKNOWN if summary.volume is None else compact(summary.volume)
    worth = None if summary.quote_volume is None else f"{compact(summary.quote_volume)} {quote}"
    trades = UNKNOWN if summary.trades is None else f"{summary.trades:,}"
    sell = None if summary.taker_buy_share is None else f"sells {1 - summary.taker_buy_share:.1%}"
    span = "over the visible range"
    from_last = "below it, how far that is from the last price."
    mean = "VWAP" if summary.mean_kind == "VWAP" else "Mean close"
    return (
        card("Last", "last", price(summary.last), "line",
             f"Close of the newest bar; change against the first open, {span}.", change),
        card("High", "high", price(summary.high), "line",
             f"Highest trade {span}; {from_last}", _away(summary.high, summary.last)),
        card("Low", "low", price(summary.low), "line",
             f"Lowest trade {span}; {from_last}", _away(summary.low, summary.last)),
        card(mean, "mean", price(summary.mean), "line",
             "Mean price: VWAP = Σ(price · size) / Σ size, or the mean of closes where no volume "
             f"is known; {from_last}", _away(summary.mean, summary.last)),
        card("Volatility σ", "volatility", volatility, "line",
             "Sample deviation (n − 1) of log returns between neighbouring bars, times "
             "√(365 · 86,400 / seconds a bar).", f"{summary.returns:,} returns"),
        card(f"Volume {base}".strip(), "volume", volume, "bar", f"Base units traded {span}.", worth),
        card("Trades", "trades", trades, "bar", f"Aggregate trades {span}.",
             f"{summary.bars:,} bars"),
        card("Taker buys", "taker_buy_share", share, "line",
             "Volume of trades whose taker bought, divided by all volume.", sell),
    )  # fmt: skip


def _away(level: float | None, last: float | None) -> str | None:
    """Return how far the level is from the last price, in %."""
    if level is None or not last:
        return None
    return f"{100 * (level / last - 1):+.2f}%"


def show_cards(cards: tuple[Card, ...]) -> None:
    """Show the cards in a row that wraps two by two on a phone."""
    with st.grid(len(cards), min_column_width=150, gap="xsmall", key="cards"):
        for number, card in enumerate(cards):
            signed = number == 0
            st.metric(
                card.label,
                card.value,
                card.delta,
                delta_color="normal" if signed else "off",
                delta_arrow="auto" if signed else "off",
                chart_data=card.curve if len(card.curve) > 1 else (0.0, 0.0),
                chart_type=card.kind,  # type: ignore[arg-type]
                border=True,
                height="stretch",
                help=card.help,
            )
