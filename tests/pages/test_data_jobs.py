"""The imports on the Data page: read from their folders, in every state."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from core.importing.jobs import JobFile, new_job, save_job
from core.imports import Job
from core.store import Store
from tests.pages.test_pages import words

DATA = "pages/operate/data.py"
App = Callable[..., AppTest]
REJECTS = tuple((n, f"price is not a number: {n}", f"=bad,{n}") for n in range(1, 11))


def job(store: Store, **changed: Any) -> Job:
    """A job of two files, written down in the state that the changes say."""
    paths = [store.path.parent / name for name in ("a.ndjson", "b.ndjson")]
    made = replace(new_job(store.path, paths, dataset="mine"), **changed)
    save_job(made)
    return made


def see(app: App) -> AppTest:
    return app(DATA, section="Bring data")


def report(page: AppTest) -> Any:
    return next(one.value for one in page.dataframe if "duplicate" in one.value.columns)


def test_no_import_yet(app: App, full: Store) -> None:
    assert "No import yet" in words(see(app))


def test_a_running_import_shows_how_far_it_is_and_can_be_cancelled(app: App, full: Store) -> None:
    files = (
        JobFile("a.ndjson", "running", read=4000, kept=0, rejected=1, rejects=REJECTS[:1]),
        JobFile("b.ndjson"),
    )
    made = job(
        full, state="running", pid=os.getpid(), progress=0.43, rows_per_s=1234567.8, files=files
    )
    page = see(app)
    [bar] = [one for one in page.get("progress") if "43%" in one.proto.text]
    assert bar.proto.value == 43
    assert "1,234,568 rows/s" in bar.proto.text
    assert "a.ndjson** and 1 more file → dataset **mine**" in words(page)
    found = report(page)
    assert found[["state", "read", "rejected"]].values.tolist() == [
        ["running", 4000, 1],
        ["queued", 0, 0],
    ]
    page.button(key=f"cancel-{made.id}").click().run()
    assert made.is_cancelled


def test_a_report_has_the_first_rejects_and_all_of_them_to_take(app: App, full: Store) -> None:
    files = (
        JobFile("a.ndjson", "done", 5012, 4990, 10, 12, REJECTS),
        JobFile("b.ndjson", "done", 8, 8),
    )
    made = job(full, state="done", progress=1.0, files=files)
    made.rejects_path(0).write_text("line,reason,text\n" + "1,x,y\n" * 12)
    page = see(app)
    assert "4,998 rows kept" in words(page)
    [found] = [one.value for one in page.table]
    assert found.values.tolist()[9] == [10, "price is not a number: 10", "=bad,10"]
    assert len(found) == 10
    [download] = [one for one in page.get("download_button") if "rejected" in one.label]
    assert download.label == "All rejected rows"
    assert any("12 rejected rows" in one.label for one in page.expander)


def test_nothing_new_is_said_to_be_so(app: App, full: Store) -> None:
    told = "nothing changed: this content was imported before"
    files = (JobFile("a.ndjson", "done", read=40, duplicate=40, message=told),)
    job(full, state="done", files=files)
    page = see(app)
    assert "nothing changed" in words(page)
    assert list(report(page)["message"]) == [told]


@pytest.mark.parametrize("state", ["failed", "cancelled"])
def test_what_ended_early_says_why_and_can_go_on(
    app: App, full: Store, monkeypatch: pytest.MonkeyPatch, state: str
) -> None:
    begun: list[str] = []
    monkeypatch.setattr("core.importing.jobs._spawn", lambda one: begun.append(one.id))
    made = job(full, state=state, message="The disk is full: make room and resume")
    page = see(app)
    assert "The disk is full" in words(page)
    assert state in words(page)
    page.button(key=f"resume-{made.id}").click().run()
    assert not page.exception
    assert begun == [made.id]
    assert page.button(key=f"cancel-{made.id}").label == "Cancel"


def test_an_import_whose_process_died_is_interrupted(app: App, full: Store) -> None:
    made = job(full, state="running", pid=2**22 + 12345)
    page = see(app)
    assert "interrupted" in words(page)
    assert page.button(key=f"resume-{made.id}").label == "Resume"


def test_a_report_can_be_taken_off_the_list(app: App, full: Store) -> None:
    made = job(full, state="done")
    page = see(app)
    page.button(key=f"forget-{made.id}").click().run()
    assert not made.folder.exists()
    assert "No import yet" in words(page)


def test_what_somebody_else_forgot_is_no_error(app: App, full: Store) -> None:
    made = job(full, state="failed")
    page = see(app)
    (made.folder / "job.json").unlink()
    page.button(key=f"resume-{made.id}").click().run()
    assert not page.exception
    assert "no longer there" in words(page)


def test_a_long_list_shows_the_newest(app: App, full: Store) -> None:
    names = [job(full, state="done").id for _ in range(22)]
    page = see(app)
    shown = {one.key for one in page.button if (one.key or "").startswith("forget-")}
    assert shown == {f"forget-{name}" for name in names[2:]}
    assert "2 older imports" in words(page)
