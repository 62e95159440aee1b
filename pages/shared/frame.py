"""What is the same on every page: the source, and the worker's state as a pill."""

from __future__ import annotations

import time

import streamlit as st

from core.live.feeder import feeder
from core.live.pulse import Pulse
from pages.shared import sources
from pages.shared.alert_news import badge, heard, tell
from pages.shared.notices import notice_for
from pages.shared.places import DATA

PILL_S = 2.0
# While the worker reports trouble, a chart without a trade for this long is called old.
SILENT_S = 10.0
_COLOURS = {
    "live": "green",
    "starting": "orange",
    "behind": "orange",
    "restricted": "red",
    "stuck": "red",
    "stopped": "red",
    "dead": "red",
    "never": "gray",
}
# Tabular digits everywhere, and controls that stay on one line on a phone: all that the theme
# cannot say. The selectors are Streamlit's documented .st-key classes and test ids. A page has no
# style of its own: it would stand where toasts do, and the next toast would take its place.
_CSS = """<style>
[data-testid="stMetricValue"], [data-testid="stMetricDelta"], .st-key-pill button {
  font-variant-numeric: tabular-nums; }
:is(.st-key-cards, .st-key-honesty) [data-testid="stMetric"] > div:first-child {
  padding: .5rem .7rem .1rem; }
:is(.st-key-cards, .st-key-honesty) [data-testid="stMetricDelta"] { font-size: .78rem; }
:is(.st-key-cards, .st-key-honesty) [data-testid="stMetricChart"] { margin-bottom: .4rem; }
.st-key-pill button { white-space: nowrap; }
.st-key-source button { text-transform: capitalize; }
[data-testid="stCaptionContainer"] { opacity: .68; }
[data-testid="stCaptionContainer"] code { color: inherit; background: none; padding: 0; }
.st-key-rules-rows [data-testid="stColumn"] [data-testid="stVerticalBlock"] { gap: .35rem; }
.st-key-rules-rows [class*="st-key-card-"] {
  padding: .5rem .8rem; font-variant-numeric: tabular-nums; }
@media (max-width: 640px) {
  .st-key-cards [data-testid="stMetricChart"] { display: none; }
  .st-key-rules-rows [class*="st-key-card-"] { position: relative; }
  .st-key-rules-rows [class*="st-key-rule-menu-"] {
    position: absolute; top: .5rem; right: .5rem; width: auto; }
  .st-key-rules-rows [data-testid="stHorizontalBlock"] { gap: .5rem; }
  .st-key-rules-rows [data-testid="stColumn"]:first-child { padding-right: 4.5rem; }
}
</style>"""


def frame() -> None:
    """Show the row under the navigation; every page stands below it."""
    st.html(_CSS)
    with st.container(
        horizontal=True, horizontal_alignment="distribute", vertical_alignment="center", key="frame"
    ):
        with st.container(horizontal=True, vertical_alignment="center", width="content"):
            _source_control()
            _catch_up()
            _dataset_control()
        with st.container(key="pill", width="content"):
            status_pill()


def _source_control() -> None:
    default = sources.session_default()
    # Streamlit warns when a control has both a default and a value set by the script.
    chosen = st.session_state.pop("_source_chosen", None)
    if chosen:
        st.session_state["source"] = chosen
    st.segmented_control(
        "Source",
        list(sources.LABELS),
        default=None if chosen else default,
        required=True,
        key="source",
        bind="query-params",
        label_visibility="collapsed",
        help="Binance: the live exchange. Practice: a made-up exchange on this machine.",
    )


def _catch_up() -> None:
    """Read the file anew where the address names what was not in it at the last look.

    That is up to a second old, and the way from an import that has just ended leads here.
    """
    feed, state, query = feeder(sources.current().store), st.session_state, st.query_params
    pulse = feed.pulse()
    dataset = state.get("dataset") or query.get("dataset")
    symbols = {*query.get_all("symbols"), *query.get_all("y"), *query.get_all("x")}
    known = {symbol.upper() for symbol in pulse.stored}
    if (dataset and dataset not in pulse.datasets) or symbols - known:
        feed.refresh()


def _dataset_control() -> None:
    """Offer the uploaded datasets, where there are any, beside the exchange's own data."""
    pulse = feeder(sources.current().store).pulse()
    names = list(pulse.datasets)
    if not names:
        return
    if st.session_state.get("dataset") not in (None, *names):
        st.session_state["dataset"] = None
    st.selectbox(
        "Dataset",
        names,
        index=None,
        key="dataset",
        bind="query-params",
        label_visibility="collapsed",
        placeholder="Exchange data",
        width=170,
        help="Show an uploaded dataset on every page, instead of the exchange's data.",
    )


@st.fragment(run_every=PILL_S)
def status_pill() -> None:
    """Show the worker's state in a few words, the reason and the remedy on click."""
    source = sources.current()
    feed = feeder(source.store)
    pulse = feed.pulse()
    if news := heard(feed, pulse):
        tell(news, source.store)
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        badge(news.unseen if news else 0)
        state_popover(source, pulse)


def state_popover(source: sources.Source, pulse: Pulse) -> None:
    """Show the pill, and behind it the reason, the remedy and the way to the Data page."""
    with st.popover(pill_text(pulse), key="status", help="The worker's state; click for more"):
        st.markdown(f"**{source.label} · {pulse.health.state}**")
        st.write(pulse.health.reason)
        if pulse.health.remedy:
            st.write(pulse.health.remedy)
        if pulse.error:
            notice = notice_for(pulse.error)
            st.write(f"{notice.title}. {notice.advice}")
        if pulse.open_gaps:
            st.write(f"{pulse.open_gaps:,} gaps are open; the worker fills them from the exchange.")
        st.page_link(DATA, label="Worker, watchlist and log", icon=":material/database:")


def pill_text(pulse: Pulse) -> str:
    """Return the pill's text: state, delay, symbols, gaps; the colour says it once more."""
    state, colour = pulse.health.state, _COLOURS.get(pulse.health.state, "gray")
    if pulse.error and state not in ("never", "starting"):
        colour, state = "orange", "file not readable"
    elif state == "live" and pulse.open_gaps:
        colour = "orange"
    mark = "●" if colour == "green" else "▲" if colour == "orange" else "■"
    words = [f":{colour}[{mark}] {'not started' if state == 'never' else state}"]
    if state in ("live", "behind") and pulse.lag_s is not None:
        words.append(f"{pulse.lag_s:.1f} s behind")
    if state in ("stopped", "dead", "stuck") and pulse.health.age_s is not None:
        words.append(f"{ago(pulse.health.age_s)} ago")
    if pulse.watchlist:
        words.append(counted(len(pulse.watchlist), "symbol"))
        words.append(counted(pulse.open_gaps, "gap"))
    return " · ".join(words)


def stale_words(pulse: Pulse) -> str:
    """Return why the data are not live and how old they are, empty while they are."""
    if pulse.error:
        return f"{notice_for(pulse.error).title} · {ago(time.monotonic() - pulse.read_at)} old"
    if pulse.health.state in ("stopped", "dead", "stuck") and pulse.health.age_s is not None:
        return f"Worker {pulse.health.state} · {ago(pulse.health.age_s)} old"
    if pulse.health.state in ("behind", "restricted") and (silent_s := pulse.silent_s) > SILENT_S:
        return f"Nothing new for {ago(silent_s)}"
    return ""


def counted(count: int, noun: str) -> str:
    """Return a number with its noun: 1 gap, 2 gaps."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def ago(seconds: float) -> str:
    """Return a length of time in its largest unit: 12 s, 5 min, 3 h, 2 d."""
    for limit, size, unit in ((120, 1, "s"), (7200, 60, "min"), (172800, 3600, "h")):
        if seconds < limit:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds / 86400:.0f} d"
