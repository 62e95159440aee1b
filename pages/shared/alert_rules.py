"""The list of rules: each with its present value, where it stands, and what can be done."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

import streamlit as st

from core.alerts.kept import (
    KeptRule,
    Standing,
    delete_rule,
    duplicate_rule,
    pause_rule,
)
from core.alerts.questions import Held, Rules
from core.alerts.rules import Rule
from core.config import Settings, load_settings
from core.errors import PerpduckError
from core.live.feeder import feeder
from core.live.questions import newest
from pages.shared import sources
from pages.shared.alert_draft import fill_from_rule
from pages.shared.alert_news import escaped
from pages.shared.alert_targets import ask_for_test, labels_of
from pages.shared.alert_words import (
    Stage,
    against_words,
    at_zone,
    basis_words,
    closeness,
    further_words,
    now_utc,
    seen_stage,
    stage,
    subject_words,
)
from pages.shared.frame import counted
from pages.shared.notices import noticed, show_notice

# So many are on the screen at a time: hundreds of rules stay quick.
A_PAGE = 10
_KINDS = {"all": "All", "fired": "Fired", "trouble": "Not evaluated", "paused": "Paused"}
_PAGE, _DELETING, _ERROR = "rules_page", "_rule_deleting", "_rules_error"
_ICONS = {
    "armed": ":material/check_circle:", "fired": ":material/notifications_active:",
    "trouble": ":material/warning:", "paused": ":material/pause_circle:",
    "cooling": ":material/hourglass_top:", "outside": ":material/bedtime:",
    "new": ":material/hourglass_empty:", "unwatched": ":material/visibility_off:",
}  # fmt: skip


def rules_list(source: sources.Source, zone: str) -> None:
    """Show what the list is filtered by, and the list."""
    with st.container(horizontal=True, vertical_alignment="center", key="rules-bar"):
        st.text_input(
            "Filter", key="rules-filter", type="search", placeholder="Filter by name or symbol",
            label_visibility="collapsed", width=260, persist_state="session", live=True,
        )  # fmt: skip
        st.segmented_control(
            "Which", list(_KINDS), key="rules-kind", default="all", required=True,
            format_func=_KINDS.__getitem__, label_visibility="collapsed",
            help="Rules in this stage now.",
        )  # fmt: skip
    if error := st.session_state.pop(_ERROR, None):
        show_notice(error, key="rules")
    deletion(source)
    rows(source, zone)


@st.fragment(run_every=1.0)
def rows(source: sources.Source, zone: str) -> None:
    """Show one page of the rules, with their values of now."""
    with noticed("rules"):
        held: Held = newest(feeder(source.store), Rules()).value
        health, settings, now = feeder(source.store).pulse().health, load_settings(), now_utc()
        shown = chosen(held, now)
        if not shown:
            st.caption("No rule fits the filter.")
            return
        pages = -(-len(shown) // A_PAGE)
        page = min(int(st.session_state.get(_PAGE) or 1), pages)
        with st.container(key="rules-rows", gap="small"):
            for kept in shown[(page - 1) * A_PAGE : page * A_PAGE]:
                where = seen_stage(kept, held.standings.get(kept.id), now, health)
                row(source, kept, held, where, settings, zone)
        if pages > 1:
            turn_pages(page, pages, len(shown))


def chosen(held: Held, now: datetime) -> list[KeptRule]:
    """Return the rules that the filter lets through, the newest first."""
    text = str(st.session_state.get("rules-filter") or "").lower().split()
    kind = st.session_state.get("rules-kind") or "all"
    found = []
    for kept in reversed(held.rules):
        rule = kept.rule
        words = f"{kept.name} {rule.y} {rule.x} {rule.subject} {rule.condition}".lower()
        if kind != "all" and stage(kept, held.standings.get(kept.id), now).kind != kind:
            continue
        if all(word in words for word in text):
            found.append(kept)
    return found


def row(
    source: sources.Source, kept: KeptRule, held: Held, where: Stage, settings: Settings,
    zone: str,
) -> None:  # fmt: skip
    """Show one rule: what it is, its value against its level, where it stands, its menu."""
    rule, standing = kept.rule, held.standings.get(kept.id)
    with st.container(border=True, key=f"card-{kept.id}"):
        what, value, stands, menu = st.columns(
            [5, 3, 5, 1], vertical_alignment="center", gap="small"
        )
        with what:
            st.markdown(f"**{escaped(kept.name)}**")
            st.caption(f"{subject_words(rule.y, rule.x)} · {rule.condition} · {basis_words(rule)}")
        with value:
            against(rule, standing, zone, is_old=where.kind == "unwatched")
        with stands:
            st.markdown(f":{where.colour}[{_ICONS[where.kind]} {escaped(where.words)}]")
            st.caption(last_words(kept, held.fired.get(kept.id), settings, zone))
        with menu:
            actions(source, kept)


def against(rule: Rule, standing: Standing | None, zone: str, *, is_old: bool) -> None:
    """Show the value against its level; one that nobody follows dimmed, with the time it is of."""
    known = standing.value if standing else None
    words = against_words(rule, known)
    if is_old:
        st.markdown(f":gray[{words}]")
        if standing and standing.value_at and known is not None:
            at = at_zone(standing.value_at, zone, st.context.timezone)
            st.caption(f"as of {at:%d %b %H:%M:%S}")
        return
    st.markdown(words)
    if (share := closeness(rule, known)) is not None:
        st.progress(share)


def last_words(kept: KeptRule, fired: datetime | None, settings: Settings, zone: str) -> str:
    """Return the bar a rule fired on last, where it sends, and what else holds it back."""
    last = "never fired" if fired is None else (
        f"last fired {at_zone(fired, zone, st.context.timezone):%d %b %H:%M:%S}"
    )  # fmt: skip
    to = labels_of(kept.targets, settings)
    further = further_words(kept.rule)
    return " · ".join(filter(None, (last, f"to {to}", further)))


def actions(source: sources.Source, kept: KeptRule) -> None:
    """Show a rule's menu; what it does is done before the page runs again."""
    acts: dict[str, tuple[str, Callable[[], object]]] = {
        "pause": (
            ":material/play_arrow: Go on" if kept.is_paused else ":material/pause: Pause",
            lambda: pause_rule(source.store, kept.id, is_paused=not kept.is_paused),
        ),
        "edit": (":material/edit: Edit", lambda: edit(kept)),
        "duplicate": (
            ":material/content_copy: Duplicate", lambda: duplicate_rule(source.store, kept.id)
        ),
        "test": (
            ":material/send: Test its targets",
            lambda: ask_for_test(kept.targets or load_settings().alert_urls),
        ),
        "delete": (
            ":material/delete: Delete …",
            lambda: st.session_state.update({_DELETING: (kept.id, kept.name)}),
        ),
    }  # fmt: skip
    act = st.menu_button(
        "", list(acts), key=f"rule-menu-{kept.id}", icon=":material/more_vert:",
        format_func=lambda name: acts[name][0], help=f"What can be done with {kept.name}",
    )  # fmt: skip
    if act in acts:
        try:
            acts[act][1]()
            feeder(source.store).refresh()
        except PerpduckError as error:
            st.session_state[_ERROR] = error
        st.rerun()


def edit(kept: KeptRule) -> None:
    """Fill the form with a rule and show it with the page's next run."""
    st.session_state["_rule_opened"] = kept


def open_asked() -> None:
    """Fill the form with the rule that was chosen for a change; before the form is shown."""
    if kept := st.session_state.pop("_rule_opened", None):
        fill_from_rule(kept)
        st.session_state["alerts"] = "form"


def deletion(source: sources.Source) -> None:
    """Ask before a rule is removed for good."""
    asked: tuple[str, str] | None = st.session_state.get(_DELETING)
    if asked is None:
        return
    rule_id, name = asked
    with st.container(border=True, key="rule-deletion"):
        st.markdown(f"Delete **{escaped(name)}**? Its events and their deliveries stay.")
        with st.container(horizontal=True):
            st.button(
                "Delete for good", key="delete-rule-sure", type="primary",
                icon=":material/delete_forever:", on_click=_delete, args=(source, rule_id),
            )  # fmt: skip
            st.button("Keep it", key="delete-rule-not", on_click=_keep)


def _delete(source: sources.Source, rule_id: str) -> None:
    _keep()
    try:
        delete_rule(source.store, rule_id)
        feeder(source.store).refresh()
    except PerpduckError as error:
        st.session_state[_ERROR] = error


def _keep() -> None:
    st.session_state.pop(_DELETING, None)


def turn_pages(page: int, pages: int, count: int) -> None:
    """Show the way to the other rules."""
    with st.container(horizontal=True, vertical_alignment="center", key="rules-pages"):
        for step, icon, words in ((-1, "chevron_left", "Newer"), (1, "chevron_right", "Older")):
            st.button(
                "", icon=f":material/{icon}:", key=f"rules-page-{words}", help=f"{words} rules",
                on_click=_turn, args=(page + step,), disabled=not 1 <= page + step <= pages,
            )  # fmt: skip
        st.caption(f"Page {page} of {pages} · {counted(count, 'rule')}")


def _turn(page: int) -> None:
    st.session_state[_PAGE] = page
