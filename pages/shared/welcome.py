"""The first visit: two clear ways in, and the wait until the first candles."""

from __future__ import annotations

import time
from collections.abc import Callable

import streamlit as st

from core.errors import PerpduckError, StoreMissing, WorkerRunning
from core.live.feeder import feeder
from core.live.pulse import WRITING, Pulse
from pages.shared import sources
from pages.shared.notices import noticed, show_notice

# A worker that shows no sign of life for this long after the click has failed.
START_S = 45.0
# Without even a file after this long, the worker did not come up.
SIGN_S = 12.0
# The best known symbol's first trade is waited for this long when others already came.
PATIENCE_S = 8.0


def when_ready(show: Callable[[sources.Source, Pulse], None]) -> None:
    """Show the page, or the welcome, or the wait between the two."""
    source = sources.current()
    pulse = feeder(source.store).pulse()
    if is_ready(source, pulse):
        show(source, looked_at(pulse))
    elif started_s(source.name) is not None or pulse.health.state in WRITING:
        starting(source)
    elif pulse.error and source.store.exists():
        waiting(source)
    else:
        welcome(pulse.datasets)
        watching(source, pulse.datasets)


def looked_at(pulse: Pulse) -> Pulse:
    """Return the pulse of what the session looks at: the exchange's own data, or a dataset."""
    return pulse.of(sources.dataset(pulse))


def welcome(datasets: tuple[str, ...]) -> None:
    """Offer the practice exchange and Binance, and the datasets that were brought before them.

    One click starts the worker.
    """
    if error := st.session_state.pop("_start_error", None):
        st.error(f"**The worker could not be started.** {error}", icon=":material/error:")
    with st.container(horizontal_alignment="center", key="welcome"):
        st.title("Every trade, as it happens", text_alignment="center")
        st.markdown(
            "Perpduck watches perpetual futures live and keeps every trade in one file on this "
            "machine. Alerts go where you send them; nothing else is sent anywhere.",
            text_alignment="center",
            width=560,
        )
        ways_in()
        if datasets:
            own_datasets(datasets)


def ways_in() -> None:
    """Offer the two exchanges."""
    with st.grid(2, min_column_width=280, width=760):
        with st.container(border=True, height="stretch"):
            st.markdown("#### :material/school: Practice exchange")
            st.write("Made-up markets on this machine: five symbols, no network, the same screens.")
            st.space("stretch")
            st.button(
                "Try it with the practice exchange",
                type="primary",
                width="stretch",
                key="start-practice",
                on_click=begin,
                args=(sources.PRACTICE,),
            )
        with st.container(border=True, height="stretch"):
            st.markdown("#### :material/candlestick_chart: Binance live")
            st.write("Public market data of BTCUSDT, ETHUSDT and SOLUSDT; no account needed.")
            st.space("stretch")
            st.button(
                "Watch Binance live",
                width="stretch",
                key="start-binance",
                on_click=begin,
                args=(sources.BINANCE,),
            )


@st.fragment(run_every=2.0)
def watching(source: sources.Source, datasets: tuple[str, ...]) -> None:
    """Run the page again once there is something to see, brought or begun elsewhere."""
    pulse = feeder(source.store).pulse()
    if is_ready(source, pulse) or pulse.datasets != datasets or pulse.health.state in WRITING:
        st.rerun()


def own_datasets(datasets: tuple[str, ...]) -> None:
    """Offer what was brought where nothing of the exchange is there yet."""
    st.markdown("Or look at a dataset of your own:", text_alignment="center")
    with st.container(horizontal=True, horizontal_alignment="center", key="welcome-datasets"):
        for name in datasets:
            st.button(
                name,
                icon=":material/dataset:",
                key=f"look-{name}",
                on_click=look_at,
                args=(name,),
            )


def look_at(dataset: str) -> None:
    """Lead the session to the dataset, as the frame's control does."""
    st.session_state["dataset"] = dataset


def begin(name: str) -> None:
    """Start the worker of that source and lead the session to it."""
    st.session_state["_source_chosen"] = name
    try:
        sources.named(name).start(sources.FIRST_SYMBOLS[name])
    except WorkerRunning:
        # Another session was quicker: its worker is as good.
        pass
    except (PerpduckError, OSError) as error:
        st.session_state["_start_error"] = str(error)
        return
    st.session_state["_started"] = (name, time.monotonic())


def started_s(name: str) -> float | None:
    """Return how long ago this session started the source's worker, None if it did not."""
    started = st.session_state.get("_started")
    return time.monotonic() - started[1] if started and started[0] == name else None


def is_ready(source: sources.Source, pulse: Pulse) -> bool:
    """Return whether there is something to show: trades, of the best known symbol if it comes."""
    waited = started_s(source.name)
    pulse = looked_at(pulse)
    if waited is None or sources.dataset(pulse):
        return bool(pulse.stored)
    # Klines come before the first trade; what the first page shows are trades.
    trading = {symbol for symbol in pulse.stored if any(s.is_live for s in pulse.spans[symbol])}
    best = sources.in_order({*pulse.watchlist, *pulse.stored})
    return bool(trading) and (waited > PATIENCE_S or best[0] in trading)


@st.fragment(run_every=0.5)
def starting(source: sources.Source) -> None:
    """Show how far the start has come; the page is run again when there is something to see."""
    pulse = feeder(source.store).pulse()
    waited = started_s(source.name)
    state = pulse.health.state
    if is_ready(source, pulse) or (waited is None and state not in WRITING):
        st.rerun()
    words, share = _progress(pulse)
    with st.container(key="starting"):
        if state == "dead" or (waited or 0.0) > START_S or (state == "never" and _late(waited)):
            _failed(source, pulse)
            return
        st.progress(share, text=words)
        if state in ("behind", "restricted"):
            _failed(source, pulse)
        st.skeleton(height=420)


def _late(waited: float | None) -> bool:
    return waited is not None and waited > SIGN_S


def _progress(pulse: Pulse) -> tuple[str, float]:
    if pulse.error or pulse.status is None:
        return "Starting the worker …", 0.25
    if not pulse.status.connections:
        return "Connecting to the exchange …", 0.5
    return "Waiting for the first trades …", 0.8


def _failed(source: sources.Source, pulse: Pulse) -> None:
    st.error(
        f"**No trades have come yet.** {pulse.health.reason}\n\n{pulse.health.remedy}",
        icon=":material/error:",
    )
    if pulse.error and not isinstance(pulse.error, StoreMissing):
        show_notice(pulse.error, key="starting")
    with st.container(horizontal=True, vertical_alignment="center"):
        if not source.is_practice and st.button(
            "Use the practice exchange",
            key="fallback-practice",
            type="primary",
            on_click=begin,
            args=(sources.PRACTICE,),
        ):
            # The click ran this fragment alone; the source stands in the frame.
            st.rerun()
        st.page_link("pages/operate/data.py", label="Worker and log", icon=":material/database:")


@st.fragment(run_every=1.0)
def waiting(source: sources.Source) -> None:
    """Say why nothing can be shown yet; go on as soon as it can."""
    pulse = feeder(source.store).pulse()
    if pulse.error is None:
        st.rerun()
    else:
        with noticed("waiting"):
            raise pulse.error
