"""Where events go: the settings' targets and a rule's own, never shown but masked."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from core.alerts.delivery import send_test
from core.alerts.targets import check_target, masked
from core.config import Settings, load_settings
from core.errors import PerpduckError
from pages.shared.alert_draft import NEW_TARGET, TARGETS

MOST = 10
_ERROR, _RESULTS = "_target_error", "_target_results"
EXAMPLES = """A target is one URL, as the `apprise` library writes them: the service, then its keys.

- Telegram: `tgram://bot-token/chat-id`
- Slack: `slack://token-a/token-b/token-c/#channel`
- Any web hook, as JSON: `https://example.com/hook`

Discord (`discord://…`), e-mail (`mailto://user:password@host`) and some hundred other services have
forms of their own. A URL holds secrets: once added it is shown masked only, and kept in the
database file on this machine."""


def target_fields() -> None:
    """Show the rule's own targets, and what it has without any."""
    settings = load_settings()
    own: list[str] = st.session_state.setdefault(TARGETS, [])
    st.markdown("**Where it goes**")
    st.caption(goes_words(own, settings))
    for place, url in enumerate(own):
        with st.container(horizontal=True, vertical_alignment="center", key=f"own-target-{place}"):
            st.markdown(f":material/send: {plain(masked(url))}", width="content")
            st.button(
                "", icon=":material/close:", type="tertiary", key=f"drop-target-{place}",
                help="Remove this target", on_click=_drop, args=(place,),
            )  # fmt: skip
    with st.container(horizontal=True, vertical_alignment="bottom", key="new-target"):
        st.text_input(
            "Add a target", key=NEW_TARGET, type="password", autocomplete="off",
            placeholder="URL of a service or web hook", disabled=len(own) >= MOST,
            help="Kept for this rule alone; shown masked once it is added.",
        )  # fmt: skip
        st.button("Add", icon=":material/add:", key="add-target", on_click=_add, args=(settings,))
    if error := st.session_state.pop(_ERROR, None):
        st.warning(str(error), icon=":material/error:")
    with st.expander("Which URLs there are", icon=":material/help:"):
        st.markdown(EXAMPLES)


def goes_words(own: Sequence[str], settings: Settings) -> str:
    """Return in a sentence where the rule's events go."""
    if own:
        return "To its own targets only:"
    if settings.alert_urls:
        labels = ", ".join(plain(masked(url)) for url in settings.alert_urls)
        return f"To the settings' targets: {labels}. Add some to send it elsewhere instead."
    return (
        "Nowhere yet but the history and this app: set `PERPDUCK_ALERT_URLS`, or add a target for "
        "this rule."
    )


def labels_of(targets: Sequence[str], settings: Settings, *, none: str = "history only") -> str:
    """Return where a rule with these targets goes, masked; ``none`` where it goes nowhere."""
    urls = targets or settings.alert_urls
    return ", ".join(plain(masked(url)) for url in urls) if urls else none


def plain(label: str) -> str:
    """Return a label as code, so that Markdown makes no link of it."""
    return f"`{label.replace('`', '')}`"


def take_typed(settings: Settings) -> None:
    """Add the target that stands in the field, if any. Raises DataError where it cannot be used."""
    url = str(st.session_state.get(NEW_TARGET) or "").strip()
    if not url:
        return
    own: list[str] = st.session_state.setdefault(TARGETS, [])
    if url not in own:
        check_target(url, settings)
        own.append(url)
    st.session_state[NEW_TARGET] = ""


def _add(settings: Settings) -> None:
    try:
        take_typed(settings)
    except PerpduckError as error:
        st.session_state[_ERROR] = str(error)


def _drop(place: int) -> None:
    own = st.session_state.get(TARGETS, [])
    if place < len(own):
        del own[place]


def ask_for_test(urls: Sequence[str]) -> None:
    """Have test messages sent with the page's next run, which shows that it waits."""
    st.session_state[_RESULTS] = tuple(urls)


def tests_sent() -> None:
    """Send the test messages that were asked for, and say what came of each."""
    urls: tuple[str, ...] | None = st.session_state.pop(_RESULTS, None)
    if urls is None:
        return
    if not urls:
        st.warning(
            "There is no target to test: set `PERPDUCK_ALERT_URLS`, or give the rule one.",
            icon=":material/send:",
        )
        return
    settings = load_settings()
    for url in urls:
        with st.spinner(f"Sending a test to {masked(url)} …"):
            try:
                reason = send_test(url, settings)
            except PerpduckError as error:
                reason = str(error)
        if reason:
            st.warning(f"{plain(masked(url))} did not take it: {reason}", icon=":material/error:")
        else:
            st.success(f"{plain(masked(url))} took the test message.", icon=":material/check:")
