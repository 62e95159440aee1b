"""Files from programs: taken to disk, imported by a process of their own, reported file by file.

A file's own name never touches the file system: it is only said back.
"""

from __future__ import annotations

import contextlib
import json
import re
import secrets
import shutil
import tempfile
import time
import unicodedata
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import anyio
from anyio import to_thread
from starlette.datastructures import FormData, UploadFile
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException
from starlette.requests import Request
from starlette.responses import Response

from core.api.answers import json_answer
from core.api.calls import Call
from core.api.parameters import timeframe_of
from core.api.problems import Problem, bad_parameter, sentence
from core.api.subjects import location, source_of
from core.errors import DataError
from core.importing.staging import demand_dataset
from core.imports import (
    Job,
    cancel,
    delete_bars,
    delete_dataset,
    forget,
    jobs_folder,
    load_job,
    start_import,
    upload_folder,
)
from core.live import sources
from core.live.feeder import feeder
from core.reading.values import is_symbol

# An upload is waited for so long; then it goes on by itself, and the answer says where to look.
WAIT_S = 30.0
LOOK_S = 0.1
# What must stay free on the disk, as for the Data page's uploads.
RESERVE_BYTES = 512 << 20
MOST_FIELDS = 8
_ENDINGS = re.compile(
    r"(\.(?:ndjson|jsonl|json|csv|txt|parquet))?(\.(?:gz|zst|zip))?$", re.IGNORECASE
)
_JOB_ID = re.compile(r"[0-9]{8}-[0-9]{6}-[0-9]{6}-[0-9a-f]{4}")
_NOTE, _TAKEN = "api.json", "taken"
_ACTIVE = ("queued", "running")


async def upload_ndjson(call: Call, request: Request) -> Response:
    """Take ticks into a dataset."""
    async with _form(request, {"file", "dataset", "symbol"}) as form:
        file = _file(form)
        dataset = _dataset(_field(form, "dataset") or _suggested(file.filename or ""))
        symbol = _field(form, "symbol")
        if symbol is not None:
            symbol = _symbol(symbol)
        return await _imported(call, file, dataset=dataset, symbol=symbol)


async def upload_ohlcv(call: Call, request: Request) -> Response:
    """Take bars of one symbol and timeframe."""
    async with _form(request, {"file", "symbol", "timeframe"}) as form:
        file = _file(form)
        symbol = _field(form, "symbol")
        if not symbol:
            raise bad_parameter("symbol", "symbol is missing; say whose bars the file holds")
        timeframe = timeframe_of(_field(form, "timeframe") or "")
        return await _imported(call, file, symbol=_symbol(symbol), timeframe=timeframe)


def upload(call: Call) -> Response:
    """Answer with how far an upload is."""
    job = _job(call)
    return json_answer(_report(job), 200)


def delete_upload(call: Call) -> Response:
    """Stop an upload that runs, forget one that ended; on request with what it brought."""
    job = _job(call)
    if job.state in _ACTIVE:
        cancel(job)
        return json_answer(_report(_job(call)), 202)
    store = source_of(call.query.source).store
    removed = 0
    # What failed brought nothing: the dataset of its name is another upload's.
    if call.query.data and any(file.kept or file.duplicate for file in job.files):
        if job.dataset:
            removed = _unless_busy(lambda: delete_dataset(store, str(job.dataset)))
        elif job.symbol and job.timeframe:
            symbol, timeframe = job.symbol, job.timeframe
            removed = _unless_busy(lambda: delete_bars(store, symbol, timeframe))
        feeder(store).refresh()
    _unless_busy(lambda: forget(job))
    for path in job.paths:
        _left(path)
    return json_answer({"id": job.id, "deleted": True, "rows_removed": removed})


def _unless_busy(act: Any) -> int:
    try:
        return act() or 0
    except DataError as error:
        raise Problem(409, sentence(str(error))) from error


def _job(call: Call) -> Job:
    job_id = call.path["id"]
    store = source_of(call.query.source).store
    # The id becomes part of a path: nothing but our own form of it.
    job = load_job(jobs_folder(store.path) / job_id) if _JOB_ID.fullmatch(job_id) else None
    if job is None:
        raise Problem(404, f"There is no upload {job_id!r}; it may have been deleted.")
    return job


@contextlib.asynccontextmanager
async def _form(request: Request, known: set[str]) -> Any:
    length = request.headers.get("content-length", "")
    # What says how long it is, is refused before it comes.
    demand_spool_room(int(length) if length.isascii() and length.isdigit() else 0)
    try:
        # Nothing is spooled by the name that was given; the folder is the system's own.
        form = await request.form(max_files=1, max_fields=MOST_FIELDS, max_part_size=4096)
    except (MultiPartException, HTTPException) as error:
        words = getattr(error, "message", None) or getattr(error, "detail", "it cannot be read")
        raise Problem(400, f"The multipart body cannot be used: {words}.") from error
    try:
        if unknown := sorted(set(form) - known):
            raise bad_parameter(unknown[0], f"There is no field {unknown[0]!r}", sorted(known))
        yield form
    finally:
        await form.close()


def _file(form: FormData) -> UploadFile:
    file = form.get("file")
    if not isinstance(file, UploadFile):
        raise bad_parameter("file", "file is missing; send it as a part of that name")
    if not file.size:
        raise Problem(422, "The file is empty.")
    return file


def _field(form: FormData, name: str) -> str | None:
    value = form.get(name)
    if value is None:
        return None
    if not isinstance(value, str) or not value.strip() or "\0" in value or len(value) > 80:
        raise bad_parameter(name, f"{name} cannot be used; give text of 1 to 80 characters")
    return value.strip()


def _dataset(name: str) -> str:
    try:
        return demand_dataset(name)
    except DataError as error:
        raise bad_parameter("dataset", str(error)) from error


def _symbol(text: str) -> str:
    """Return a symbol as its key, of a dataset as SYMBOL@dataset. Raises Problem."""
    name, at, dataset = unicodedata.normalize("NFC", text).strip().lower().partition("@")
    if not is_symbol(name):
        raise bad_parameter("symbol", f"{text!r} names no symbol; write it as in BTCUSDT")
    return f"{name}@{_dataset(dataset)}" if at else name


def _suggested(name: str) -> str:
    """Return a dataset's name made of a file's, as the Data page does."""
    stem = re.sub(r"[^\w.\-]+", "-", name.rpartition("/")[2].split(".")[0].lower())
    return stem.strip("-.")[:40] or "my-ticks"


async def _imported(call: Call, file: UploadFile, **asked: str | None) -> Response:
    name = (file.filename or "file")[:200]
    source = source_of(call.query.source)
    path = await to_thread.run_sync(_taken, source, file, name)
    job = await to_thread.run_sync(_started, source, path, name, asked)
    deadline = time.monotonic() + WAIT_S
    while job.state in _ACTIVE and time.monotonic() < deadline:
        await anyio.sleep(LOOK_S)
        job = await to_thread.run_sync(_now, job)
    report = _report(job)
    where = location(source, "uploads", job.id)
    if job.state in _ACTIVE:
        return json_answer(report, 202, headers=where)
    await to_thread.run_sync(_left, path)
    if job.state != "done":
        words = sentence(report["message"]) or "The file was not imported."
        raise Problem(422, words, headers=where, report=report)
    await to_thread.run_sync(feeder(source.store).refresh)
    return json_answer(report, 201, headers=where)


def _now(job: Job) -> Job:
    return load_job(job.folder) or job


def _taken(source: sources.Source, file: UploadFile, name: str) -> Path:
    """Move what arrived into a folder of its own, under a name of ours; returns its path."""
    sources.prepare(source)
    folder = upload_folder(source.store.path) / _TAKEN / secrets.token_hex(8)
    folder.parent.mkdir(parents=True, exist_ok=True)
    _demand_room(folder.parent, file.size or 0)
    folder.mkdir()
    # The ending says what it is; only those that are known are taken over.
    found = _ENDINGS.search(name)
    path = folder / f"upload{found[0].lower() if found else ''}"
    file.file.seek(0)
    with path.open("xb") as out:
        shutil.copyfileobj(file.file, out, 4 << 20)
    return path


def _left(path: Path) -> None:
    """Remove the folder of a file that was imported or forgotten, and is gone."""
    if path.parent.parent.name == _TAKEN:
        with contextlib.suppress(OSError):
            path.parent.rmdir()


def _demand_room(folder: Path, size: int) -> None:
    free = shutil.disk_usage(folder).free
    if size > free - RESERVE_BYTES:
        raise Problem(
            507,
            f"It has {size / 1e9:,.2f} GB, {free / 1e9:,.2f} GB are free and "
            f"{RESERVE_BYTES / 1e9:.1f} GB of them must stay so; make room.",
        )


def demand_spool_room(size: int) -> None:
    """Raise Problem where a body so large has no room in the system's folder for such things."""
    _demand_room(Path(tempfile.gettempdir()), size)


def _started(source: sources.Source, path: Path, name: str, asked: Mapping[str, str | None]) -> Job:
    try:
        job = start_import(source.store.path, [path], delete_after=True, **asked)
    except BaseException:
        path.unlink(missing_ok=True)
        _left(path)
        raise
    (job.folder / _NOTE).write_text(json.dumps({"name": name}), encoding="utf-8")
    return job


def _report(job: Job) -> dict[str, Any]:
    """Return the job as the Data page reports it, file by file, under the name that was sent."""
    name = job.paths[0].name
    with contextlib.suppress(OSError, ValueError):
        name = json.loads((job.folder / _NOTE).read_text(encoding="utf-8"))["name"]

    def named(words: str) -> str:
        return words.replace(job.paths[0].name, name)

    return {
        "id": job.id,
        "state": job.state,
        "progress": job.progress,
        "message": named(job.message),
        "dataset": job.dataset,
        "symbol": job.symbol,
        "timeframe": job.timeframe,
        "files": [
            {
                "name": named(one.name),
                "state": one.state,
                "read": one.read,
                "kept": one.kept,
                "duplicate": one.duplicate,
                "rejected": one.rejected,
                "rejects": [
                    {"line": line, "reason": reason, "text": text}
                    for line, reason, text in one.rejects
                ],
                "message": named(one.message),
            }
            for one in job.files
        ],
    }
