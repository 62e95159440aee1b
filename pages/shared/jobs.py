"""The imports: how far each is, what it took of each file, and what it left out and why.

All is read from the jobs' own folders once a second, so it survives a reload of the page, a
restart of the app, and is the same for imports begun on the command line.
"""

from __future__ import annotations

import polars as pl
import streamlit as st

from core.errors import PerpduckError
from core.imports import Job, JobFile, cancel, forget, list_jobs, resume
from core.live.feeder import feeder
from pages.shared import sources
from pages.shared.frame import counted
from pages.shared.notices import noticed, show_notice
from pages.shared.places import PRICES
from pages.shared.reports import rejects_download, rejects_list

ACTIVE = ("queued", "running")
SHOWN = 20
# Longer tables scroll in themselves.
ROWS = 10
_MARKS = {
    "queued": ":gray[◷] waits for its turn",
    "running": ":blue[●] running",
    "done": ":green[✓] done",
    "cancelled": ":gray[■] cancelled",
    "failed": ":red[▲] failed",
    "interrupted": ":orange[▲] interrupted",
}


@st.fragment(run_every=1.0)
def jobs(source: sources.Source) -> None:
    """Show the imports, the newest first."""
    st.subheader("Imports")
    # Places of their own, so that nothing that comes and goes moves the imports.
    notes, imports, rest = (st.container() for _ in range(3))
    found: list[Job] = []
    with notes:
        if error := st.session_state.pop("_job_error", None):
            show_notice(error, key="job-error")
        with noticed("jobs"):
            found = list_jobs(source.store.path)
        if not found:
            st.caption("No import yet. Each is listed here with a report for every file.")
    if _has_ended(found):
        # What came is offered all over the page, the choice of datasets above to begin with.
        feeder(source.store).refresh()
        st.rerun()
    with imports:
        for job in found[:SHOWN]:
            _job(job, source)
    with rest:
        if len(found) > SHOWN:
            st.caption(f"{counted(len(found) - SHOWN, 'older import')}: forget some to see them.")


def _has_ended(found: list[Job]) -> bool:
    """Return whether an import ended since the last look of this session."""
    active = {job.id for job in found if job.state in ACTIVE}
    before: set[str] = st.session_state.get("_active_jobs", set())
    st.session_state["_active_jobs"] = active
    return bool(before - active)


def _job(job: Job, source: sources.Source) -> None:
    with st.container(border=True, key=f"job-{job.id}"):
        with st.container(
            horizontal=True, horizontal_alignment="distribute", vertical_alignment="center"
        ):
            st.markdown(_headline(job))
            _buttons(job)
        state, rejects = st.container(), st.container()
        with state:
            _state(job, source)
        with rejects:
            _rejects(job)


def _state(job: Job, source: sources.Source) -> None:
    if job.state in ACTIVE:
        st.progress(min(max(job.progress, 0.0), 1.0), text=_pace(job))
    if job.message:
        st.caption(job.message)
    if job.state == "done" and job.dataset:
        st.page_link(
            PRICES, label=f"Show {job.dataset} in Prices", icon=":material/candlestick_chart:",
            query_params={"source": source.name, "dataset": job.dataset},
        )  # fmt: skip
    _files(job)


def _headline(job: Job) -> str:
    first = job.files[0].name if job.files else "nothing"
    more = f" and {counted(len(job.files) - 1, 'more file')}" if len(job.files) > 1 else ""
    where = f" → dataset **{job.dataset}**" if job.dataset else ""
    words = f"**{first}**{more}{where}  \n{_MARKS.get(job.state, job.state)}"
    kept, read = sum(one.kept for one in job.files), sum(one.read for one in job.files)
    if job.state == "done":
        words += " · nothing changed" if read and not kept else f" · {kept:,} rows kept"
    return words


def _pace(job: Job) -> str:
    pace = f" · {job.rows_per_s:,.0f} rows/s" if job.rows_per_s else ""
    return f"{job.progress:.0%}{pace}"


def _buttons(job: Job) -> None:
    with st.container(horizontal=True, width="content"):
        if job.state in ACTIVE:
            st.button(
                "Cancel", key=f"cancel-{job.id}", icon=":material/stop:",
                on_click=_do, args=("cancel", job),
                help="What is already in the file stays; the import can be taken up again.",
            )  # fmt: skip
            return
        if job.state != "done":
            st.button(
                "Resume", key=f"resume-{job.id}", icon=":material/play_arrow:", type="primary",
                on_click=_do, args=("resume", job),
            )  # fmt: skip
        st.button(
            "Forget", key=f"forget-{job.id}", icon=":material/close:",
            on_click=_do, args=("forget", job),
            help="Takes the report off this list. What was imported stays.",
        )  # fmt: skip


_ACTIONS = {"cancel": cancel, "resume": resume, "forget": forget}


def _do(action: str, job: Job) -> None:
    try:
        _ACTIONS[action](job)
    except (PerpduckError, OSError) as error:
        ours = error if isinstance(error, PerpduckError) else PerpduckError(str(error))
        st.session_state["_job_error"] = ours


def _files(job: Job) -> None:
    rows = [
        (one.name, one.state, one.read, one.kept, one.duplicate, one.rejected, one.message)
        for one in job.files
    ]
    number = st.column_config.NumberColumn
    st.dataframe(
        pl.DataFrame(
            rows,
            schema=["name", "state", "read", "kept", "duplicate", "rejected", "message"],
            orient="row",
        ),
        key=f"files-{job.id}",
        alt="Report of each file of the import",
        hide_index=True,
        height="content" if len(rows) <= ROWS else 380,
        column_config={
            "name": st.column_config.TextColumn("File", pinned=True),
            "state": "State",
            "read": number("Rows read", format="localized"),
            "kept": number("Kept", format="localized"),
            "duplicate": number("Duplicate", format="localized", help="Held before."),
            "rejected": number("Rejected", format="localized", help="Unusable; reasons below."),
            "message": st.column_config.TextColumn("Note", width="large"),
        },
    )


def _rejects(job: Job) -> None:
    with_rejects = [(n, one) for n, one in enumerate(job.files) if one.rejected]
    if not with_rejects:
        return
    total = sum(one.rejected for _, one in with_rejects)
    # A download button for hundreds of files would be a page of its own.
    with st.expander(f"{counted(total, 'rejected row')}, by line and reason"):
        for number, one in with_rejects[:SHOWN]:
            _rejected(job, number, one)


def _rejected(job: Job, number: int, one: JobFile) -> None:
    st.markdown(f"**{one.name}** · {counted(one.rejected, 'row')} left out")
    rejects_list(one.rejects)
    path = job.rejects_path(number)
    if path.exists():
        rejects_download(path.read_bytes, f"rejects-{job.id}-{number}")
