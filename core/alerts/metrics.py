"""What a rule can watch: each metric's scope, unit, and when it is computed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Scope = Literal["pair", "symbol", "system"]
# Where its values come from: each bar, a whole range at fixed times, settlements, or the moment.
Basis = Literal["bars", "range", "settled", "now"]


@dataclass(frozen=True, slots=True)
class Metric:
    """One thing to watch.

    ``unit`` stands behind its values (`core.alerts.rules.Rule.unit` has a rule's own).
    ``on_close_only``: too dear, or not meaningful, for a bar that still forms. ``rearm`` is the
    level at which a fired rule is ready again where the rule names none, None for the threshold
    itself. ``is_state``: true (1) or false (0).
    """

    name: str
    scope: Scope
    label: str
    unit: str
    words: str
    basis: Basis = "bars"
    on_close_only: bool = False
    rearm: float | None = None
    is_state: bool = False


_ALL = (
    Metric(
        "zscore", "pair", "z-score", "",
        "The spread's distance from its mean in deviations, as Pair draws it.", rearm=1.0,
    ),
    Metric(
        "spread", "pair", "Spread", "",
        "y − α − β · x as Pair draws it: in bps of logs, in the prices' own units else.",
    ),
    Metric("corr", "pair", "Correlation", "", "Rolling correlation of returns over the window."),
    Metric(
        "corr_break", "pair", "Correlation breakdown", "",
        "How far the rolling correlation lies below its own mean over ten windows.",
    ),
    Metric(
        "beta_drift", "pair", "Hedge drift", "s.e.",
        "(β_t − β_ref) over β's standard error: how far the hedge ratio has left the one that the "
        "rule was made with.",
    ),
    Metric(
        "coint_p", "pair", "Engle-Granger p", "",
        "Bootstrap p-value of the range, judged anew at Pair's fixed times, on closed bars.",
        "range", on_close_only=True,
    ),
    Metric(
        "half_life", "pair", "Half-life", "bars",
        "Of the range's residual, made anew at Pair's fixed times; ∞ where it does not come back.",
        "range", on_close_only=True,
    ),
    Metric(
        "funding_diff", "pair", "Funding difference", "bps",
        "The legs' latest settled funding rates, y − x.", "settled", on_close_only=True,
    ),
    Metric("price", "symbol", "Price", "", "Close of the bar."),
    Metric("return", "symbol", "Return", "%", "Change of the price over the window of bars."),
    Metric(
        "volume", "symbol", "Volume", "×",
        "The bar's volume over its mean of the window before.", on_close_only=True,
    ),
    Metric(
        "volatility", "symbol", "Volatility regime", "×",
        "Deviation of returns over the window, over that of ten windows.", on_close_only=True,
    ),
    Metric(
        "funding", "symbol", "Funding rate", "bps", "The rate of each settlement.", "settled",
        on_close_only=True,
    ),
    Metric(
        "contract", "symbol", "Contract not trading", "",
        "The exchange no longer lists the contract as trading.", "now", is_state=True,
    ),
    Metric("silent", "system", "Feed silent", "s", "Seconds since any symbol was heard.", "now"),
    Metric("gap", "system", "Gap open", "trades", "Trades known to be missing.", "now"),
    Metric(
        "stopped", "system", "Worker stopped", "s",
        "Seconds since the last sign of a worker that is gone or stuck.", "now",
    ),
    Metric("disk", "system", "Disk low", "GB", "Free space where the file lies.", "now"),
)  # fmt: skip
METRICS: dict[str, Metric] = {one.name: one for one in _ALL}
