"""The form of one rule: only what its metric uses, with what it would have done beside it."""

from __future__ import annotations

import streamlit as st

from core.alerts.kept import add_rule, edit_rule
from core.alerts.rules import Rule
from core.config import load_settings
from core.errors import DataError, PerpduckError
from core.live.feeder import feeder
from core.live.pulse import Pulse
from pages.shared import sources
from pages.shared.alert_draft import EDITING, TARGETS, begin, key, renew, rule_said, value
from pages.shared.alert_fields import basis, judged, levels, times, what
from pages.shared.alert_news import escaped
from pages.shared.alert_preview import preview_panel
from pages.shared.alert_targets import take_typed, target_fields
from pages.shared.alert_words import subject_words

SAVE_ERROR, SAVED = "_rule_error", "_rule_saved"


def rule_form(source: sources.Source, pulse: Pulse, zone: str) -> None:
    """Show the form, and beside it what is wrong with the rule or what it would have done."""
    symbols = watched(pulse)
    begin(symbols)
    left, right = st.columns([5, 6], gap="large")
    with left:
        what(symbols)
        levels()
        basis()
        judged()
        with st.expander("When it may fire", icon=":material/schedule:", key="rule-times"):
            times()
        target_fields()
        rule, problem = said()
        foot(source, rule)
    with right:
        if rule is None:
            st.warning(sentence(problem), icon=":material/edit_note:")
            return
        st.markdown(f"**{subject_words(rule.y, rule.x)}** · {rule.condition}")
        preview_panel(source, rule, zone)


def said() -> tuple[Rule | None, str]:
    """Return the rule that the form says, or why it says none."""
    try:
        return rule_said(), ""
    except DataError as error:
        return None, str(error)


def sentence(words: str) -> str:
    """Return an error's words as a sentence."""
    return f"{words[:1].upper()}{words[1:]}."


def watched(pulse: Pulse) -> list[str]:
    """Return the symbols to choose from: the watchlist, and what the form already holds."""
    held = [str(st.session_state.get(key(leg)) or "") for leg in ("y", "x")]
    stored = [symbol for symbol in pulse.stored if "@" not in symbol]
    known = pulse.watchlist or tuple(stored)
    return sources.in_order({*known, *(one for one in held if one)})


def foot(source: sources.Source, rule: Rule | None) -> None:
    """Show the name and the buttons."""
    st.text_input(
        "Name", key=key("name"), max_chars=120, persist_state="session",
        placeholder=name_of(rule) if rule else "", help="Empty: named after what it watches.",
    )  # fmt: skip
    editing = st.session_state.get(EDITING)
    with st.container(horizontal=True, key="rule-foot"):
        st.button(
            "Save changes" if editing else "Add rule", type="primary", key="save-rule",
            icon=":material/check:" if editing else ":material/add_alert:", on_click=_save,
            args=(source,), disabled=rule is None,
        )  # fmt: skip
        st.button(
            "Do not change it" if editing else "Clear", key="leave-rule", on_click=_leave,
            icon=":material/close:" if editing else ":material/ink_eraser:",
        )  # fmt: skip
    if error := st.session_state.pop(SAVE_ERROR, None):
        st.error(sentence(error), icon=":material/error:")


def add_button(source: sources.Source, name: str, label: str) -> None:
    """Show a button that adds what the form says, at a place of its own."""
    st.button(
        label, type="primary", key=name, icon=":material/add_alert:", on_click=_save,
        args=(source,),
    )  # fmt: skip


def name_of(rule: Rule) -> str:
    """Return the name of a rule that was given none."""
    return f"{subject_words(rule.y, rule.x)} {rule.condition}"


def _save(source: sources.Source) -> None:
    state = st.session_state
    try:
        rule = rule_said()
        # A target that was typed and not yet added is meant all the same.
        take_typed(load_settings())
        name = str(value("name")).strip() or name_of(rule)
        targets = list(state.get(TARGETS, []))
        if editing := state.get(EDITING):
            edit_rule(source.store, editing, name, rule, targets)
        else:
            add_rule(source.store, name, rule, targets)
        feeder(source.store).refresh()
    except PerpduckError as error:
        state[SAVE_ERROR] = str(error)
        return
    state[SAVED] = f"{'Changed' if editing else 'Added'}: **{escaped(name)}**"
    renew()
    state["alerts"] = "rules"


def _leave() -> None:
    if st.session_state.get(EDITING):
        st.session_state["alerts"] = "rules"
    renew()
