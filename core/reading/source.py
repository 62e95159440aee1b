"""A file's content, decompressed: bounded, hashed, and with a note of how far it is read."""

from __future__ import annotations

import hashlib
import io
import zipfile
import zlib
from pathlib import Path
from types import TracebackType
from typing import IO, Any

import pyarrow as pa

from core.errors import BadFile
from core.reading.limits import Limits
from core.reading.members import csv_member
from core.reading.unfolding import BROKEN, gunzipped, unzipped

GZIP, ZSTD, ZIP = b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"PK"
_SUFFIXES = {".gz": GZIP, ".zst": ZSTD, ".zip": ZIP}
# What decompressing raises on bytes that are not what they claim to be.
_BROKEN = (
    zlib.error,
    *BROKEN,
    zipfile.BadZipFile,
    OSError,
    pa.ArrowException,
    NotImplementedError,
)


class Source:
    """The decompressed bytes of a file (plain, .gz, .zst, or the one CSV in a .zip).

    A context manager. Raises BadFile for what cannot be opened, is broken off, or unfolds
    beyond the limits.
    """

    def __init__(self, file: Path | bytes, limits: Limits, *, name: str | None = None) -> None:
        self.limits = limits
        self.name = name or (file.name if isinstance(file, Path) else "the file")
        self.member: str | None = None
        self.read_bytes = 0
        self._hash = hashlib.sha256()
        self._ended = False
        self._raw, self.size = self._opened(file)
        try:
            self._inner = self._unfolded()
        except BaseException:
            self._raw.close()
            raise

    def __enter__(self) -> Source:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; more than once does no harm."""
        if self._inner is not self._raw:
            self._inner.close()
        self._raw.close()

    def read(self, size: int) -> bytes:
        """Return up to ``size`` bytes, none at the end. Raises BadFile."""
        try:
            data: bytes = self._inner.read(size)
        except _BROKEN as error:
            raise BadFile(
                f"{self.name} is broken after {self.read_bytes:,} bytes of content ({error}); "
                "fetch or make it anew"
            ) from error
        self.read_bytes += len(data)
        self._hash.update(data)
        self._ended = self._ended or not data
        self._hold_limits()
        return data

    @property
    def done(self) -> float:
        """The share of the file consumed, 0 to 1."""
        if self._ended or not self.size:
            return 1.0
        return min(self._raw.tell() / self.size, 1.0)

    @property
    def content_hash(self) -> str:
        """The sha256 of what was read so far, in hexadecimal."""
        return self._hash.hexdigest()

    def _opened(self, file: Path | bytes) -> tuple[IO[bytes], int]:
        if isinstance(file, bytes):
            return io.BytesIO(file), len(file)
        try:
            raw = file.open("rb")
        except OSError as error:
            raise BadFile(f"{file} cannot be opened: {error.strerror or error}") from error
        return raw, file.stat().st_size

    def _unfolded(self) -> Any:
        start = self._raw.read(4)
        self._raw.seek(0)
        if not start:
            raise BadFile(f"{self.name} is empty; it has 0 bytes")
        claimed = _SUFFIXES.get(Path(self.name).suffix.lower())
        if claimed is not None and not start.startswith(claimed):
            raise BadFile(
                f"{self.name} is no {Path(self.name).suffix} file: it starts with {start!r}"
            )
        if start.startswith(GZIP):
            return gunzipped(self._raw)
        if start.startswith(ZSTD):
            return pa.CompressedInputStream(pa.PythonFile(self._raw, mode="r"), "zstd")
        if start.startswith(ZIP):
            return self._member()
        return self._raw

    def _member(self) -> IO[bytes]:
        try:
            archive = zipfile.ZipFile(self._raw)
            info = csv_member(archive, self.name)
            self._check_claims(info)
            self.member = info.filename
            return unzipped(archive, info, self._raw)
        except BadFile:
            raise
        except (*_BROKEN, ValueError, RuntimeError) as error:
            raise BadFile(
                f"{self.name} is no whole zip ({error}); fetch or make it anew"
            ) from error

    def _check_claims(self, info: zipfile.ZipInfo) -> None:
        """Refuse at once what says itself that it is too large; the reading holds it as well."""
        if info.file_size > min(self.limits.member_bytes, self.limits.total_bytes):
            raise BadFile(f"{self.name} unfolds to {info.file_size:,} bytes: more than is allowed")
        if info.file_size > self._allowed_by_ratio():
            raise BadFile(self._bomb(info.file_size))

    def _hold_limits(self) -> None:
        compressed = self._inner is not self._raw
        most = self.limits.total_bytes
        if self.member is not None:
            most = min(most, self.limits.member_bytes)
        if self.read_bytes > most:
            raise BadFile(f"{self.name} unfolds to more than {most:,} bytes, which is not allowed")
        if compressed and self.read_bytes > self._allowed_by_ratio():
            raise BadFile(self._bomb(self.read_bytes))

    def _allowed_by_ratio(self) -> float:
        return max(self.limits.ratio * self.size, self.limits.free_bytes)

    def _bomb(self, size: int) -> str:
        return (
            f"{self.name} has {self.size:,} bytes and unfolds to {size:,} or more: over "
            f"{self.limits.ratio:g} times its size, so it is not read; give it uncompressed "
            "if it is in order"
        )
