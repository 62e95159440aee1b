"""The controls of Backtest: the pair as on Pair, rules, execution and money; all in the URL."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import streamlit as st

from core.backtest import BacktestSettings, Execution, Money, Rules
from core.backtest.settings import MAKER_BPS, TAKER_BPS
from core.bar_sql import TIMEFRAMES
from core.live.traded import SPANS
from core.live.window import timeframe_label
from core.pair_spec import PairSpec
from pages.shared.pair_pickers import (
    METHOD_LABELS,
    begin_pair,
    choice,
    leg_picker,
    more_of_pair,
    segments,
    swap_button,
    whole_number,
)

# Refit first: what the statistics knew before, held for a while, is what can be traded.
METHODS = {name: METHOD_LABELS[name] for name in ("refit", "rolling", "kalman", "ols", "tls")}
METHOD_HELP = """How the hedge ratio β is found.

- **Refit OLS**: fitted on the window before, then held for some bars.
- **Rolling OLS**: one line a bar, through the window that ends with it.
- **Kalman**: α and β follow the market bar by bar.
- **OLS**, **TLS**: fitted on the whole range: *in-sample*, for comparison only."""
_SIDES = {"both": "Both", "long": "Long", "short": "Short"}
_REENTRY = {"level": "At the level", "cross": "After coming back"}
_FILLS = {"vwap": "VWAP", "open": "Open"}
_ROLES = {"taker": "Taker", "maker": "Maker"}
_SLIPPAGE = {"bps": "bps", "ticks": "ticks", "range": "of range"}
_SIZING = {"beta": "β-weighted", "dollar": "Dollar-neutral", "volatility": "Volatility"}
_UNITS = {"bars": "bars", "lives": "half-lives"}


@dataclass(frozen=True, slots=True)
class BacktestChoice:
    """What the controls say."""

    spec: PairSpec
    settings: BacktestSettings
    range_name: str
    zone: str


def backtest_controls(available: Sequence[str], held: float) -> BacktestChoice:
    """Show the two rows of controls; raises DataError for what contradicts itself."""
    with st.container(horizontal=True, vertical_alignment="center", gap="xsmall", key="controls"):
        begin_pair(available, held, SPANS)
        y = leg_picker("y", "Dependent leg y: held against β units of the other.", available)
        swap_button()
        x = leg_picker("x", "The other leg, x.", available)
        timeframe = choice(
            "tf", "Timeframe", list(TIMEFRAMES), timeframe_label,
            "Time a bar covers; windows and holding times count in these bars.",
        )  # fmt: skip
        span = choice(
            "span", "Range", list(SPANS), str,
            "Time that is traded, up to the newest closed bar; the bars before it warm up.",
        )  # fmt: skip
        scale = segments(
            "scale", "Price scale", {"log": "log", "raw": "raw"},
            "Logs make β an elasticity and the spread a fraction (bps); raw keeps quote units.",
        )  # fmt: skip
        method = segments("bhedge", "Hedge", METHODS, METHOD_HELP)
        window = whole_number(
            "window", "Window", 60, 3, 100_000,
            "Window in bars of the z-score, and the lookback of refit OLS.", label_shown=False,
        )  # fmt: skip
        more = more_of_pair()
    with st.container(horizontal=True, vertical_alignment="bottom", gap="xsmall", key="rules"):
        rules = _rules()
        execution = _execution()
        money = _money()
    spec = PairSpec(
        y, x, timeframe, scale == "log", method, window,  # type: ignore[arg-type]
        **more,  # type: ignore[arg-type]
    )  # fmt: skip
    zone = st.session_state.get("zone") or "utc"
    return BacktestChoice(spec, BacktestSettings(rules, execution, money), span, zone)


def _decimal(
    key: str, label: str, default: float, least: float | None, most: float | None, step: float,
    words: str, *, width: int | str = 96,
) -> float:  # fmt: skip
    found = st.number_input(
        label, least, most, default, step=step, format="%g", key=key, bind="query-params",
        help=words, width=width,  # type: ignore[arg-type]
    )  # fmt: skip
    return float(default if found is None else found)


def _rules() -> Rules:
    enter = _decimal(
        "enter", "Enter |z| >", 2.0, 0.1, 20.0, 0.25,
        "In at the close of a bar whose |z| is above this; filled in the next bar.",
    )  # fmt: skip
    out = _decimal(
        "exit", "Exit at z", 0.0, -19.0, 19.0, 0.25,
        "Out when z has come back to this level on the entry's side; 0: crosses zero.",
    )  # fmt: skip
    stop = _decimal(
        "stop", "Stop |z| >", 0.0, 0.0, 50.0, 0.5, "Out when z runs on to this level; 0: no stop."
    )
    limit = _decimal("tstop", "Time stop", 0.0, 0.0, 1e6, 1.0, "Out after so long; 0: no limit.")
    unit = _choice(
        "tunit", "in", _UNITS,
        "Half-lives are those of the spread over the window before the entry; where it does not "
        "come back there, the window itself is the limit.",
    )  # fmt: skip
    with st.popover("Rules", icon=":material/rule:", key="more-rules"):
        sides = segments("sides", "Sides", _SIDES, "Which side of the spread is traded.")
        reentry = segments(
            "again", "Re-entry", _REENTRY,
            "At the level: the next |z| above the entry level. After coming back: |z| must have "
            "been below it in between. After a stop it is always the latter.",
        )  # fmt: skip
        cooldown = whole_number("cool", "Cooldown, bars", 0, 0, 100_000, "Bars without a new "
                                "trade after an exit.")  # fmt: skip
        rebalance = whole_number("rebal", "Rebalance every … bars", 0, 0, 100_000,
                                 "0: quantities stay as they were filled. Else x is brought back "
                                 "to the ratio of that bar, at its cost.")  # fmt: skip
    return Rules(
        enter=enter,
        exit=out,
        stop=stop or None,
        time_stop_bars=max(1, round(limit)) if limit and unit == "bars" else None,
        time_stop_half_lives=limit if limit and unit == "lives" else None,
        sides=sides,  # type: ignore[arg-type]
        cooldown_bars=cooldown,
        reentry=reentry,  # type: ignore[arg-type]
        rebalance_bars=rebalance or None,
    )


def _execution() -> Execution:
    with st.popover("Execution", icon=":material/swap_vert:", key="more-execution"):
        role = segments(
            "role", "Orders", _ROLES,
            "Takers pay the spread and slip. Makers rest at the decision's close, pay less, and "
            "are optimistic wherever the price did not trade through.",
        )  # fmt: skip
        fill = segments(
            "fill", "Filled at", _FILLS,
            "VWAP of the leg's next bar, or its open: nearly the price that made the signal.",
        )  # fmt: skip
        fee = _decimal(
            "fee", "Taker fee, bps", TAKER_BPS, 0.0, 1000.0, 0.5,
            "Of a fill's notional; 5 bps is Binance's base tier.", width="stretch",
        )  # fmt: skip
        maker = _decimal(
            "mfee", "Maker fee, bps", MAKER_BPS, -50.0, 1000.0, 0.5,
            "Of a fill's notional; 2 bps is Binance's base tier, a rebate is negative.",
            width="stretch",
        )  # fmt: skip
        slippage = _decimal(
            "slip", "Slippage", 1.0, 0.0, 1000.0, 0.5,
            "On top of the price, at least one tick.", width="stretch",
        )  # fmt: skip
        kind = segments(
            "slipin", "Slippage in", _SLIPPAGE, "bps of the price, ticks, or a share of the fill "
            "bar's high − low.",
        )  # fmt: skip
    return Execution(
        fill=fill,  # type: ignore[arg-type]
        is_maker=role == "maker",
        taker_bps=fee,
        maker_bps=maker,
        slippage=slippage,
        slippage_kind=kind,  # type: ignore[arg-type]
    )


def _money() -> Money:
    with st.popover("Money", icon=":material/account_balance:", key="more-money"):
        capital = _decimal(
            "capital", "Capital, quote units", 10_000.0, 1.0, 1e12, 1000.0,
            "What the account begins with.", width="stretch",
        )  # fmt: skip
        leverage = _decimal(
            "lev", "Leverage", 1.0, 0.01, 125.0, 0.5,
            "Gross notional of both legs together, over the capital.", width="stretch",
        )  # fmt: skip
        sizing = segments(
            "sizing", "Sizing", _SIZING,
            "β-weighted: the legs hedge each other. Dollar-neutral: equal notionals. Volatility: "
            "as large as the target below allows, capital · leverage at most.",
        )  # fmt: skip
        target = _decimal(
            "vol", "Target volatility, a year", 0.2, 0.01, 10.0, 0.05,
            "Of the capital; for volatility sizing.", width="stretch",
        )  # fmt: skip
        gate = _decimal(
            "gate", "Cost gate", 0.0, 0.0, 100.0, 0.5,
            "Enter only where the expected capture (the trailing ratio of realised to predicted "
            "reversion, once 30 trades are known) is so many times the round trip's cost. 0: off.",
            width="stretch",
        )  # fmt: skip
    return Money(
        capital=capital,
        leverage=leverage,
        sizing=sizing,  # type: ignore[arg-type]
        target_volatility=target,
        gate=gate or None,
    )


def _choice(key: str, label: str, options: Mapping[str, str], words: str) -> str:
    first = next(iter(options))
    chosen = st.selectbox(
        label, list(options), format_func=options.__getitem__, key=key, bind="query-params",
        help=words, width=112,
    )  # fmt: skip
    return chosen if chosen in options else first
