"""The controls of Scanner: which bars, which test, what a pair has to show, how often by itself."""

from __future__ import annotations

from dataclasses import dataclass

import streamlit as st

from core.live.window import timeframe_label
from core.scanning.settings import (
    LEAST_LEVEL,
    MOST_CARRY,
    MOST_FINALISTS,
    MOST_LAG,
    SPANS_S,
    ScanSettings,
)
from pages.shared.pair_pickers import choice, segments, suggest, whole_number

TIMEFRAMES = ("1s", "5s", "15s", "1min", "5min", "15min", "1h")
DAY_S = 86_400.0
# What the worker may be asked for, in seconds; 0 is never.
EVERY = {"never": 0.0, "every 15 min": 900.0, "every hour": 3600.0, "every 4 h": 14_400.0,
         "every day": DAY_S}  # fmt: skip


def scan_controls(symbols: tuple[str, ...], held: float) -> ScanSettings:
    """Show the bar of controls; returns what a scan would be asked now.

    ``symbols``: those of a dataset, none for the exchange's own; ``held``: seconds of history.
    Raises DataError where the settings cannot go together.
    """
    suggest("scan_tf", {timeframe_label(name): name for name in TIMEFRAMES}, "1min")
    # The longest range that is held; what is a little shorter is scanned in proportion.
    fitting = [name for name, length in SPANS_S.items() if 0.9 * length <= held and name != "30d"]
    suggest("scan_span", {name: name for name in SPANS_S}, fitting[-1] if fitting else "6h")
    timeframe = choice("scan_tf", "Timeframe", list(TIMEFRAMES), timeframe_label,
                       "Time a bar covers.")  # fmt: skip
    span = choice("scan_span", "Range", list(SPANS_S), str,
                  "Training and test window together, up to the newest closed bar.")  # fmt: skip
    lags = segments(
        "scan_lags", "Lags", {"fixed": "fixed lag", "aic": "AIC"},
        "Lags of the unit-root regression: the same for all pairs, or each pair's own by Akaike's "
        "criterion, up to the most lags under More.",
    )  # fmt: skip
    return ScanSettings(
        symbols=symbols, timeframe=timeframe, span=span, is_aic=lags == "aic",
        **_more(),  # type: ignore[arg-type]
    )  # fmt: skip


_DEFAULTS = ScanSettings()


@dataclass(frozen=True, slots=True)
class _Field:
    """One number behind More: its setting, the address' key, bounds, and what divides it."""

    name: str
    key: str
    label: str
    least: float
    most: float
    words: str
    scale: float = 1.0

    @property
    def default(self) -> float:
        """What the settings themselves begin with, in the unit that is shown."""
        return float(getattr(_DEFAULTS, self.name) / self.scale)

    @property
    def is_whole(self) -> bool:
        """Whether the setting is a whole number."""
        return isinstance(getattr(_DEFAULTS, self.name), int)


# fmt: off
_TEST = (
    _Field("lag", "scan_lag", "Lags (AIC: at most)", 0, MOST_LAG,
           "Lagged changes in the unit-root regression."),
    _Field("test_share", "scan_test", "Test window, % of the range", 10, 50,
           "Pairs are chosen on the bars before it and confirmed on it.", 0.01),
    _Field("level", "scan_level", "Level, %", 100 * LEAST_LEVEL, 50.0,
           "Where q-value, bootstrap and confirmation draw the line.", 0.01),
    _Field("finalists", "scan_finalists", "Finalists, at most", 1, MOST_FINALISTS,
           "Pairs that get the full tests."),
)
_SYMBOLS = (
    _Field("min_coverage", "scan_coverage", "Coverage, at least %", 0.0, 100.0,
           "Share of the range's bars in which the symbol traded.", 0.01),
    _Field("min_turnover", "scan_turnover", "Turnover a day, quote units, at least", 0.0,
           1e15, "Σ close · volume a day."),
    _Field("min_age_s", "scan_age", "Held for days, at least", 0.0, 1e4,
           "Since the first bar that is held.", DAY_S),
    _Field("carry_bars", "scan_carry", "Carry the last price up to … bars", 0, MOST_CARRY,
           "Stands in for bars without trades; their share is shown."),
)
_PAIRS = (
    _Field("min_correlation", "scan_rho", "|ρ| of returns, at least", 0.0, 1.0,
           "Correlation of log returns in the training window."),
    _Field("max_half_life_bars", "scan_life", "Half-life in bars, at most (0: any)", 0.0,
           1e6, "−ln 2 / ln φ of the spread."),
    _Field("fee_bps", "scan_fee", "Fee of a fill, bps", 0.0, 1000.0,
           "Taker at the base tier: 5."),
    _Field("slippage_bps", "scan_slip", "Slippage of a fill, bps", 0.0, 1000.0,
           "On top of the fee."),
    _Field("min_sigma_per_cost", "scan_cost", "Spread's σ, at least … round trips", 0.0, 1e6,
           "A round trip is four fills: 2 (fee + slippage)(1 + |β|) bps."),
)
# fmt: on


def _more() -> dict[str, object]:
    """Show what is changed seldom behind a button; returns the rest of the settings."""
    found: dict[str, object] = {}
    with st.popover("More", icon=":material/tune:", key="scan-more"):
        for title, fields in (("Test", _TEST), ("Symbols", _SYMBOLS), ("Pairs", _PAIRS)):
            st.markdown(f"**{title}**")
            found |= {field.name: _number(field) for field in fields}
        found["correction"] = segments(
            "scan_fdr", "Correction", {"by": "Yekutieli", "bh": "Hochberg"},
            "How p-values become q-values over everything tested: Benjamini-Yekutieli (2001), "
            "which allows for pairs that share legs, or Benjamini-Hochberg (1995).",
        )  # fmt: skip
    return found


def _number(field: _Field) -> float | int:
    """Show one number within its bounds; returns it as the setting has it."""
    if field.is_whole:
        return whole_number(
            field.key, field.label, int(field.default), int(field.least), int(field.most),
            field.words,
        )  # fmt: skip
    chosen = st.number_input(
        field.label, float(field.least), float(field.most), field.default, key=field.key,
        bind="query-params", help=field.words,
    )  # fmt: skip
    value = field.default if chosen is None else chosen
    return min(max(value, field.least), field.most) * field.scale
