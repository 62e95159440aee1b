"""The controls of Pair: legs, bars, regression and window; all of them in the URL."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

import streamlit as st
from streamlit.errors import StreamlitAPIException

from core.bar_sql import TIMEFRAMES
from core.live.pulse import Pulse
from core.live.window import RANGES, timeframe_label
from core.pair_spec import MIN_BURN_IN, PairSpec
from pages.shared.pair_view import PairChoice
from pages.shared.pickers import zone_picker

METHOD_LABELS = {
    "ols": "OLS",
    "rolling": "Rolling",
    "refit": "Refit",
    "kalman": "Kalman",
    "tls": "TLS",
}
METHOD_HELP = """How the hedge ratio β is found.

- **OLS**: one least-squares line through the whole range (*in-sample*).
- **Rolling OLS**: one line a bar, through the window that ends with it.
- **Refit OLS**: fitted on the window before, then held for some bars; what a backtest trades.
- **Kalman**: α and β follow the market bar by bar; z is taken before each update.
- **TLS**: total least squares, both legs with errors (*in-sample*)."""
# What moves together, where both are stored: the first pair a newcomer sees.
FIRST_PAIRS = (("arbusdt", "opusdt"), ("ethusdt", "btcusdt"))
# Less than this stored, and 1-minute bars are too few to say anything.
SHORT_S = 3 * 3600


def pair_controls(available: Sequence[str], held: float) -> PairChoice:
    """Show the bar of controls; returns the pair and how it is looked at.

    ``held`` is how many seconds of history are stored: it picks the first timeframe.
    """
    begin_pair(available, held)
    y = leg_picker("y", "Dependent leg y: held against β units of the other.", available)
    swap_button()
    x = leg_picker("x", "The other leg, x.", available)
    timeframe = choice(
        "tf", "Timeframe", list(TIMEFRAMES), timeframe_label,
        "Time a bar covers; every statistic counts in these bars.",
    )  # fmt: skip
    span = choice(
        "span", "Range", list(RANGES), str,
        "Time that the fit and the tests stand on, up to the newest bar.",
    )  # fmt: skip
    scale = segments(
        "scale", "Price scale", {"log": "log", "raw": "raw"},
        "Logs make β an elasticity and the spread a fraction (bps); raw keeps quote units.",
    )  # fmt: skip
    method = segments("hedge", "Regression", METHOD_LABELS, METHOD_HELP)
    window = whole_number(
        "window", "Window", 60, 3, 100_000,
        "Window in bars of the rolling statistics, and the lookback of refit OLS.",
        label_shown=False,
    )  # fmt: skip
    more = more_of_pair()
    spec = PairSpec(
        y, x, timeframe, scale == "log", method, window,  # type: ignore[arg-type]
        **more,  # type: ignore[arg-type]
    )  # fmt: skip
    return PairChoice(spec, span, st.session_state.get("zone") or "utc")


def held_s(pulse: Pulse) -> float:
    """Return the seconds over which any symbol is stored."""
    held = pulse.held()
    return (held[1] - held[0]).total_seconds() if held else 0.0


def more_of_pair() -> dict[str, object]:
    """Show what is changed seldom behind a button; returns the rest of a `PairSpec`."""
    with st.popover("More", icon=":material/tune:", key="more"):
        turnover = st.number_input(
            "Min volume, quote units a bar", 0.0, None, 0.0, key="min", bind="query-params",
            help="Bars of either leg that turned over less (close · volume) are left out.",
        )  # fmt: skip
        carry = whole_number("carry", "Carry the last price up to … bars", 0, 0, 1000,
                        "0: only bars in which both legs traded. Else a leg's last price stands "
                        "in, and the share of such stale bars is shown.")  # fmt: skip
        hold = whole_number("hold", "Refit OLS: hold a fit for … bars", 60, 1, 100_000,
                       "Refits happen at fixed times of the clock.")  # fmt: skip
        burn = whole_number("burn", "Kalman: burn-in bars", 1440, MIN_BURN_IN, 100_000,
                       "Bars before the range that the filter starts from.")  # fmt: skip
        zone_picker()
    return {
        "min_turnover": float(turnover or 0.0),
        "carry_bars": carry,
        "refit_bars": hold,
        "burn_in_bars": burn,
    }


def begin_pair(available: Sequence[str], held: float, spans: Mapping[str, float] = RANGES) -> None:
    """Set what a first visit sees, and replace what another source or page does not have."""
    first = next((pair for pair in FIRST_PAIRS if set(pair) <= set(available)), None)
    y, x = first or (available[0], available[1 % len(available)])
    symbols = {symbol.upper(): symbol for symbol in available}
    suggest("y", symbols, y)
    suggest("x", symbols, x)
    suggest_bars("tf", "span", held, spans)


def suggest_bars(
    timeframe: str, span: str, held: float, spans: Mapping[str, float] = RANGES
) -> None:
    """Suggest seconds over an hour while little is held, later minutes over a day."""
    is_short = held < SHORT_S
    names = {timeframe_label(name): name for name in TIMEFRAMES}
    suggest(timeframe, names, "1s" if is_short else "1min")
    suggest(span, {name: name for name in spans}, "1h" if is_short else "1d")


def suggest(key: str, shown: Mapping[str, str], value: str) -> None:
    """Give a control its first value, where neither the session nor the address has a valid one.

    It is written into the address as well: Streamlit leaves a first value out, and another reader
    of the link may begin with another. ``shown``: the address' words.
    """
    state, query = st.session_state, st.query_params
    if state[key] in shown.values() if key in state else query.get(key) in shown:
        return
    state[key] = value
    # Refused where the control is on the screen: it then writes its address itself.
    with suppress(StreamlitAPIException):
        query[key] = next(words for words, option in shown.items() if option == value)


def swap_button() -> None:
    """Show the button that exchanges the legs."""
    st.button(
        "⇄",
        key="swap",
        on_click=_swap,
        help="Swap the legs; the regression is fitted anew.",
    )


def _swap() -> None:
    state = st.session_state
    state["y"], state["x"] = state["x"], state["y"]


def leg_picker(key: str, words: str, available: Sequence[str]) -> str:
    """Show the symbols to choose one leg from."""
    chosen = st.selectbox(
        words, list(available), format_func=str.upper, key=key, bind="query-params",
        label_visibility="collapsed", help=words, width=142,
    )  # fmt: skip
    return chosen if chosen in available else available[0]


def segments(key: str, label: str, labels: Mapping[str, str], words: str) -> str:
    """Show a choice of a few as segments; the first one is the default."""
    first = next(iter(labels))
    chosen = st.segmented_control(
        label, list(labels), default=first, required=True, format_func=labels.__getitem__,
        key=key, bind="query-params", help=words, wrap=False, label_visibility="collapsed",
    )  # fmt: skip
    return chosen if chosen in labels else first


def choice(
    key: str, label: str, options: list[str], shown: Callable[[str], str], words: str
) -> str:
    """Show a choice of some as a short list; `suggest` says which comes first."""
    chosen = st.selectbox(
        label, options, format_func=shown, key=key, bind="query-params", help=words,
        label_visibility="collapsed", width=92,
    )  # fmt: skip
    return chosen if chosen in options else options[0]


def whole_number(
    key: str, label: str, default: int, least: int, most: int, words: str,
    *, label_shown: bool = True,
) -> int:  # fmt: skip
    """Show a number of bars within its bounds."""
    chosen = st.number_input(
        label, least, most, default, key=key, bind="query-params", help=words,
        label_visibility="visible" if label_shown else "collapsed",
        width="stretch" if label_shown else 118,
    )  # fmt: skip
    return int(min(max(chosen if chosen is not None else default, least), most))
