"""Files from programs: taken to disk, imported by a process of their own, reported file by file.

A file's own name never touches the file system: it is only said back.
"""

from __future__ import annotations

import contextlib
import json
import re
import time
import unicodedata
from typing import Any

import anyio
from starlette.datastructures import FormData, UploadFile
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException
from starlette.requests import Request
from starlette.responses import Response

from core.api.answers import json_answer
from core.api.calls import Call
from core.api.incoming import (
    ACTIVE,
    NOTE,
    demand_spool_room,
    demand_turn,
    full_disk_told,
    in_thread,
    left,
    started,
    taken,
)
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
)
from core.live.feeder import feeder
from core.reading.values import is_symbol

# An upload is waited for so long; then it goes on by itself, and the answer says where to look.
WAIT_S = 30.0
LOOK_S = 0.1
MOST_FIELDS = 8
_JOB_ID = re.compile(r"[0-9]{8}-[0-9]{6}-[0-9]{6}-[0-9a-f]{4}")


async def upload_ndjson(call: Call, request: Request) -> Response:
    """Take ticks into a dataset."""
    async with _form(call, request, {"file", "dataset", "symbol"}) as form:
        file = _file(form)
        dataset = _dataset(_field(form, "dataset") or _suggested(file.filename or ""))
        symbol = _field(form, "symbol")
        if symbol is not None:
            symbol = _symbol(symbol)
        return await _imported(call, file, dataset=dataset, symbol=symbol)


async def upload_ohlcv(call: Call, request: Request) -> Response:
    """Take bars of one symbol and timeframe."""
    async with _form(call, request, {"file", "symbol", "timeframe"}) as form:
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
    if job.state in ACTIVE:
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
        left(path)
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
async def _form(call: Call, request: Request, known: set[str]) -> Any:
    length = request.headers.get("content-length", "")
    # What says how long it is, is refused before it comes, and so is what has no turn.
    await in_thread(demand_turn, source_of(call.query.source).store.path)
    demand_spool_room(int(length) if length.isascii() and length.isdigit() else 0)
    with full_disk_told():
        try:
            # Nothing is spooled by the name that was given; the folder is the system's own.
            form = await request.form(max_files=1, max_fields=MOST_FIELDS, max_part_size=4096)
        except (MultiPartException, HTTPException) as error:
            words = getattr(error, "message", None) or getattr(error, "detail", "it is not read")
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
    path = await in_thread(taken, source, file, name, is_copy=True)
    job = await in_thread(started, source, path, name, asked)
    deadline = time.monotonic() + WAIT_S
    while job.state in ACTIVE and time.monotonic() < deadline:
        await anyio.sleep(LOOK_S)
        job = await in_thread(_now, job)
    report = _report(job)
    where = location(source, "uploads", job.id)
    if job.state in ACTIVE:
        return json_answer(report, 202, headers=where)
    await in_thread(left, path)
    if job.state != "done":
        words = sentence(report["message"]) or "The file was not imported."
        raise Problem(422, words, headers=where, report=report)
    await in_thread(feeder(source.store).refresh)
    return json_answer(report, 201, headers=where)


def _now(job: Job) -> Job:
    return load_job(job.folder) or job


def _report(job: Job) -> dict[str, Any]:
    """Return the job as the Data page reports it, file by file, under the name that was sent."""
    name = job.paths[0].name
    with contextlib.suppress(OSError, ValueError):
        name = json.loads((job.folder / NOTE).read_text(encoding="utf-8"))["name"]

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
