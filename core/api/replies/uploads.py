"""What programs are told of the files that they bring."""

from __future__ import annotations

from core.api.replies.parts import Reply


class Rejected(Reply):
    """A line that was not taken, and why."""

    line: int
    reason: str
    text: str


class FileReport(Reply):
    """What became of one file's lines."""

    name: str
    state: str
    read: int
    kept: int
    duplicate: int
    rejected: int
    rejects: list[Rejected]
    message: str


class Upload(Reply):
    """An upload, as the Data page reports it."""

    id: str
    state: str
    progress: float
    message: str
    dataset: str | None
    symbol: str | None
    timeframe: str | None
    files: list[FileReport]


class UploadDeleted(Reply):
    """An upload that is forgotten."""

    id: str
    deleted: bool
    rows_removed: int
