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


_SPAN = "over the visible range"
_FROM_LAST = "below it, how far that is from the last price."
# Field of the summary: label, kind of curve, what the tooltip says.
_CARDS: dict[str, tuple[str, str, str]] = {
    "last": ("Last", "line", f"Close of the newest bar; change against the first open, {_SPAN}."),
    "high": ("High", "line", f"Highest trade {_SPAN}; {_FROM_LAST}"),
    "low": ("Low", "line", f"Lowest trade {_SPAN}; {_FROM_LAST}"),
    "mean": (
        "VWAP",
        "line",
        "Mean price: VWAP = Σ(price · size) / Σ size, or the mean of closes where no volume is "
        f"known; {_FROM_LAST}",
    ),
    "volatility": (
        "Volatility σ",
        "line",
        "Sample deviation (n − 1) of log returns between neighbouring bars, times "
        "√(365 · 86,400 / seconds a bar).",
    ),
    "volume": ("Volume", "bar", f"Base units traded {_SPAN}; below it, quote units."),
    "trades": ("Trades", "bar", f"Aggregate trades {_SPAN}."),
    "taker_buy_share": (
        "Taker buys",
        "line",
        "Volume of trades whose taker bought, divided by all volume.",
    ),
}


def price_cards(
    summary: Summary, curves: Sparklines, *, tick_size: float | None, base: str, quote: str
) -> tuple[Card, ...]:
    """Return the cards of one symbol over the visible range."""
    texts = _texts(summary, price_decimals(tick_size, summary.last), quote)
    cards = []
    for field, (label, kind, text) in _CARDS.items():
        if field == "mean" and summary.mean_kind != "VWAP":
            label = "Mean close"
        if field == "volume":
            label = f"{label} {base}".strip()
        if reason := summary.reason(field):
            text = f"{text} Not known: {reason}."
        value, delta = texts[field]
        curve = tuple(getattr(curves, field))
        cards.append(Card(label, value, delta, curve, kind, text))
    return tuple(cards)


def _texts(summary: Summary, decimals: int, quote: str) -> dict[str, tuple[str, str | None]]:
    """Return each card's value and what stands below it."""

    def shown(value: float | None, text: str) -> str:
        return UNKNOWN if value is None else text.format(value)

    price = f"{{:,.{decimals}f}}"
    change = None
    if summary.change_abs is not None and summary.change_pct is not None:
        change = f"{summary.change_pct:+.2f}% {summary.change_abs:+,.{decimals}f}"
    worth = None if summary.quote_volume is None else f"{compact(summary.quote_volume)} {quote}"
    share = summary.taker_buy_share
    return {
        "last": (shown(summary.last, price), change),
        "high": (shown(summary.high, price), _away(summary.high, summary.last)),
        "low": (shown(summary.low, price), _away(summary.low, summary.last)),
        "mean": (shown(summary.mean, price), _away(summary.mean, summary.last)),
        "volatility": (shown(summary.volatility, "{:,.1%}"), f"{summary.returns:,} returns"),
        "volume": (UNKNOWN if summary.volume is None else compact(summary.volume), worth),
        "trades": (shown(summary.trades, "{:,}"), f"{summary.bars:,} bars"),
        "taker_buy_share": (
            shown(share, "{:.1%}"),
            None if share is None else f"sells {1 - share:.1%}",
        ),
    }


def _away(level: float | None, last: float | None) -> str | None:
    """Return how far the level is from the last price, in %."""
    if level is None or not last:
        return None
    return f"{100 * (level / last - 1):+.2f}%"


def show_cards(cards: tuple[Card, ...], *, signed_first: bool = True, key: str = "cards") -> None:
    """Show the cards in a row that wraps two by two on a phone.

    ``signed_first``: what stands below the first value is a change, coloured by its sign. A
    card without a kind of curve has none.
    """
    with st.grid(len(cards), min_column_width=140, gap="xsmall", key=key):
        for number, card in enumerate(cards):
            signed = signed_first and number == 0
            curve = card.curve if len(card.curve) > 1 else (0.0, 0.0)
            st.metric(
                card.label,
                card.value,
                card.delta,
                delta_color="normal" if signed else "off",
                delta_arrow="auto" if signed else "off",
                chart_data=curve if card.kind else None,
                chart_type=card.kind or "line",  # type: ignore[arg-type]
                border=True,
                height="stretch",
                help=card.help,
            )
