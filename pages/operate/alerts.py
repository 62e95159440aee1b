"""Alerts: rules that the worker watches, what fired, and where it was sent."""

from __future__ import annotations

from collections import Counter

import streamlit as st

from core.alerts.kept import Counts
from core.alerts.questions import Held, Numbers, Rules
from core.live.feeder import feeder
from core.live.pulse import WRITING, Pulse
from core.live.questions import newest
from pages.shared import sources
from pages.shared.alert_deliveries import deliveries
from pages.shared.alert_draft import EDITING, LINK, fill_from_address, renew, value
from pages.shared.alert_form import SAVED, add_button, rule_form
from pages.shared.alert_history import history
from pages.shared.alert_news import escaped
from pages.shared.alert_rules import open_asked, rules_list
from pages.shared.alert_targets import tests_sent
from pages.shared.alert_words import now_utc, stage, unwatched_words
from pages.shared.frame import counted
from pages.shared.notices import noticed
from pages.shared.pickers import zone_picker
from pages.shared.welcome import when_ready

SECTIONS = {
    "rules": "Rules", "form": "New rule", "history": "History", "deliveries": "Deliveries",
}  # fmt: skip


def page(source: sources.Source, _: Pulse) -> None:
    """Show the section that the control above it names."""
    # Rules watch the exchange's own symbols, whatever dataset the session looks at.
    pulse = feeder(source.store).pulse()
    asked()
    section, zone = controls()
    with noticed("alerts-head"):
        held: Held = newest(feeder(source.store), Rules()).value
        head(source, bool(held.rules))
    watcher(pulse)
    with st.container(key="alert-said"):
        if words := st.session_state.pop(SAVED, ""):
            st.success(f"{words}. The worker watches it from now on.", icon=":material/check:")
        tests_sent()
    with noticed("alerts"):
        if section == "form":
            form(source, pulse, zone)
        elif section == "history":
            history(source, zone)
        elif section == "deliveries":
            deliveries(source, zone)
        else:
            rules(source, pulse, zone)


def controls() -> tuple[str, str]:
    """Show which section is open, and the clock; returns both."""
    # Streamlit warns where a control has both a default and a value set by the script.
    first = None if "alerts" in st.session_state else "rules"
    with st.container(
        horizontal=True, horizontal_alignment="distribute", vertical_alignment="center"
    ):
        section = st.segmented_control(
            "Section", list(SECTIONS), default=first, required=True, key="alerts",
            format_func=SECTIONS.__getitem__, bind="query-params", label_visibility="collapsed",
            help="The rules and where they stand; a new one; what fired; what was sent where.",
        )  # fmt: skip
        return section or "rules", zone_picker()


def asked() -> None:
    """Fill the form where a link or a rule's menu asked for it; once."""
    query = st.query_params
    if query.get("rule") == "new":
        fill_from_address(query.to_dict())
        st.session_state["alerts"] = "form"
        for name in [name for name in query if name == "rule" or name.startswith(LINK)]:
            del query[name]
    open_asked()


@st.fragment(run_every=2.0)
def head(source: sources.Source, known: bool) -> None:
    """Show in one line how many rules and events there are, and what became of them."""
    with noticed("alerts-head"):
        feed = feeder(source.store)
        feed.ask(Rules(), Numbers())
        held: Held = newest(feed, Rules()).value
        counts: Counts = newest(feed, Numbers()).value
        if bool(held.rules) != known:
            # The first rule came, or the last one went, here or in another window.
            st.rerun()
        now = now_utc()
        kinds = Counter(stage(one, held.standings.get(one.id), now).kind for one in held.rules)
        unwatched = unwatched_words(feed.pulse().health, now)
        st.markdown(head_words(len(held.rules), kinds, counts, unwatched))


def head_words(rules: int, kinds: Counter[str], counts: Counts, unwatched: str = "") -> str:
    """Return the page's first line."""
    words = [f"**{counted(rules - kinds['paused'], 'rule')} on**"]
    if kinds["paused"]:
        words.append(f"{kinds['paused']:,} paused")
    if unwatched and rules > kinds["paused"]:
        words.append(f":orange[▲ {unwatched[:1].lower()}{unwatched[1:]}]")
    if kinds["trouble"]:
        words.append(f":orange[▲ {kinds['trouble']:,} cannot be evaluated]")
    words.append(f"{counted(counts.recent, 'event')} in 24 h")
    words.append(f"{counts.unseen:,} not acknowledged")
    if counts.waiting or counts.dead:
        words.append(f"deliveries: {counts.waiting:,} waiting")
    if counts.dead:
        words.append(f":red[■ {counts.dead:,} dead]")
    return " · ".join(words)


def watcher(pulse: Pulse) -> None:
    """Say that nobody looks at the rules while no worker runs."""
    health = pulse.health
    if health.state in WRITING:
        return
    if health.state == "stuck":
        words = f"**The worker is stuck.** {health.reason} {health.remedy}"
    elif health.state == "dead":
        words = f"**The worker has died.** {health.reason} {health.remedy}"
    else:
        words = (
            "**No worker is running.** Rules are looked at by the worker, with no browser open; "
            "start it on the Data page."
        )
    st.warning(
        f"{words} Until then nothing of the market fires.", icon=":material/notifications_off:"
    )


def rules(source: sources.Source, pulse: Pulse, zone: str) -> None:
    """Show the rules, or how to begin."""
    held: Held = newest(feeder(source.store), Rules()).value
    if held.rules:
        rules_list(source, zone)
        return
    st.markdown(
        "#### No rules yet\n"
        "A rule watches a number, such as a pair's z-score, and tells you when it gets somewhere; "
        "the worker looks at it on every write, also with no browser open.\n\n"
        "The one below is an example: the z-score crosses above 2. Add it, or change it first."
    )
    if st.session_state.get(EDITING):
        renew()
    add_button(source, "add-example", "Add this example")
    rule_form(source, pulse, zone)


def form(source: sources.Source, pulse: Pulse, zone: str) -> None:
    """Show the form, for a new rule or for the one that is changed."""
    if st.session_state.get(EDITING):
        with st.container(
            horizontal=True, horizontal_alignment="distribute", vertical_alignment="center"
        ):
            st.markdown(f"#### Change “{escaped(str(value('name')))}”", width="content")
            st.button(
                "New rule instead", icon=":material/add_alert:", key="new-instead", on_click=renew,
                help="Leave this rule as it is, and begin another.",
            )  # fmt: skip
        st.caption("Where what it watches is changed, it begins anew from now on.")
    rule_form(source, pulse, zone)


when_ready(page)
