"""Every error becomes a notice here: what happened, what to do, and the button that helps."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import streamlit as st

from core.errors import (
    BadFile,
    ConfigError,
    DataError,
    FeedLost,
    LakeMissing,
    PerpduckError,
    RateLimited,
    ReadStopped,
    Restricted,
    StoreBusy,
    StoreFull,
    StoreMissing,
    WorkerRunning,
    WrongFile,
    WrongVenue,
)
from pages.shared.places import DATA

AGAIN, DATA_PAGE, PRACTICE_SOURCE = "Try again", "Open Data", "Use the practice exchange"


@dataclass(frozen=True, slots=True)
class Notice:
    """A title in plain words, what to do next, and the label of the one button."""

    title: str
    advice: str
    button: str
    is_grave: bool = True


_NOTICES: dict[type[PerpduckError], Notice] = {
    StoreBusy: Notice(
        "The file is busy",
        "Another program holds it. Close it there, or wait: this page tries again by itself.",
        AGAIN,
        is_grave=False,
    ),
    ReadStopped: Notice(
        "That is too much to read at once",
        "Choose a shorter range, or fewer symbols; everything else goes on.",
        AGAIN,
        is_grave=False,
    ),
    StoreMissing: Notice(
        "There is no data yet", "Start the worker; it makes the file.", DATA_PAGE, is_grave=False
    ),
    StoreFull: Notice("The disk is full", "Make room; nothing stored was lost.", AGAIN),
    LakeMissing: Notice(
        "Files of the lake are missing",
        "What needs their trades has to wait for them; everything else is shown.",
        AGAIN,
    ),
    WrongFile: Notice(
        "This is not a file that Perpduck can read",
        "Set PERPDUCK_DB to another path, or move the file away, then start the app again.",
        AGAIN,
    ),
    WrongVenue: Notice(
        "The file belongs to another exchange", "Choose the other source above.", DATA_PAGE
    ),
    WorkerRunning: Notice(
        "A worker is already running", "Stop it first, or let it run.", DATA_PAGE, is_grave=False
    ),
    Restricted: Notice(
        "Binance does not serve this location (451)",
        "The practice exchange works everywhere and looks the same.",
        PRACTICE_SOURCE,
    ),
    FeedLost: Notice(
        "The exchange cannot be reached",
        "Check the network; the worker goes on trying and fetches what it missed.",
        AGAIN,
    ),
    RateLimited: Notice(
        "The exchange asks for a pause", "The worker goes on by itself.", AGAIN, is_grave=False
    ),
    ConfigError: Notice("A setting cannot be used", "Correct it and start the app again.", AGAIN),
    BadFile: Notice(
        "The file cannot be used like this",
        "Choose otherwise above, or correct it; nothing of it was kept.",
        AGAIN,
        is_grave=False,
    ),
    DataError: Notice(
        "The numbers do not allow an answer", "Choose other bars.", AGAIN, is_grave=False
    ),
}
_OTHER = Notice(
    "Something could not be done", "The worker's log on the Data page says more.", AGAIN
)


def notice_for(error: PerpduckError) -> Notice:
    """Return the notice of an error's class, or of the nearest class above it."""
    for kind in type(error).__mro__:
        if kind in _NOTICES:
            return _NOTICES[kind]
    return _OTHER


def show_notice(error: PerpduckError, *, key: str) -> None:
    """Show the notice with its button; the error's own words stand below the advice."""
    notice = notice_for(error)
    box = st.error if notice.is_grave else st.warning
    icon = ":material/error:" if notice.is_grave else ":material/hourglass_top:"
    words = str(error)
    # A sentence may begin with the name of a file, which is as it is.
    if "." not in words.partition(" ")[0]:
        words = words[:1].upper() + words[1:]
    box(f"**{notice.title}.** {notice.advice}\n\n{words}", icon=icon)
    if notice.button == DATA_PAGE:
        # A link, because Streamlit's switch refuses while controls are bound to the address.
        st.page_link(DATA, label=DATA_PAGE, icon=":material/database:")
    elif st.button(notice.button, key=f"notice-{key}", on_click=_ACTIONS[notice.button]):
        # Inside a fragment a click runs the fragment alone; the help concerns the whole page.
        st.rerun()


@contextmanager
def noticed(key: str) -> Iterator[None]:
    """Turn an error of ours inside the block into its notice; the page below goes on."""
    try:
        yield
    except PerpduckError as error:
        show_notice(error, key=key)


def _use_practice() -> None:
    st.session_state["_source_chosen"] = "practice"


def _again() -> None:
    """Do nothing: the click itself runs the page again."""


_ACTIONS: dict[str, Callable[[], None]] = {
    AGAIN: _again,
    PRACTICE_SOURCE: _use_practice,
}
