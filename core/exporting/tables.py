"""Frames as CSV, Parquet and Arrow, whole or part by part.

Text that a spreadsheet would run is disarmed in CSV. Times are UTC: ISO with a Z
in CSV, else timestamps.
"""

from __future__ import annotations

import contextlib
import errno
import io
import sys
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO, Literal, cast

import polars as pl
import pyarrow as pa
import pyarrow.ipc
import pyarrow.parquet as pq

from core.errors import ConfigError, PerpduckError, StoreFull
from core.spreadsheet import harmless

Format = Literal["csv", "parquet", "arrow"]
# What the command line writes; a stream of Arrow batches is for programs.
FORMATS: tuple[Format, ...] = ("csv", "parquet")
_MILLIS, _MICROS = "%Y-%m-%dT%H:%M:%S%.3fZ", "%Y-%m-%dT%H:%M:%S%.6fZ"


def csv_bytes(frame: pl.DataFrame, *, header: bool = True) -> bytes:
    """Return the frame as CSV; times to the millisecond, or to the microsecond where kept so."""
    is_fine = any(kind == pl.Datetime("us") for kind in frame.dtypes)
    times = _MICROS if is_fine else _MILLIS
    return harmless(frame).write_csv(include_header=header, datetime_format=times).encode()


def parquet_bytes(frame: pl.DataFrame) -> bytes:
    """Return the frame as Parquet."""
    buffer = io.BytesIO()
    frame.write_parquet(buffer)
    return buffer.getvalue()


def write_parts(parts: Iterable[pl.DataFrame], out: str, form: Format) -> int:
    """Write the parts, one after the other, to a path or ``-`` for standard output.

    Returns the number of rows. The next part is read while one is written. Raises as `writing`
    does.
    """
    with writing(out) as stream:
        return _write(parts, stream, form)


def parts_bytes(parts: Iterable[pl.DataFrame], form: Format) -> Iterator[bytes]:
    """Yield the parts as one file's bytes, as they are made."""
    sink = _Sink()
    with _writer(cast(IO[bytes], sink), form) as write:
        for part in parts:
            write(part)
            yield sink.taken()
    yield sink.taken()


class _Sink:
    """Takes what a writer writes, to be passed on."""

    closed = False

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._size = 0

    def write(self, data: bytes | memoryview) -> int:
        self._pieces.append(bytes(data))
        self._size += len(self._pieces[-1])
        return len(self._pieces[-1])

    def tell(self) -> int:
        return self._size

    def flush(self) -> None:
        """Nothing lies anywhere else."""

    def taken(self) -> bytes:
        """Return what was written since the last time."""
        pieces, self._pieces = self._pieces, []
        return b"".join(pieces)


@contextlib.contextmanager
def writing(out: str) -> Iterator[IO[bytes]]:
    """Yield what is written to a path, or to standard output for ``-``.

    A file takes its name only when it is whole, so that a failure leaves what was there. Raises
    ConfigError where the path cannot be written, StoreFull where its disk is full.
    """
    if out == "-":
        yield sys.stdout.buffer
        return
    path = Path(out)
    part = path.with_name(f".{path.name}.part")
    try:
        if path.is_dir():
            raise ConfigError(f"{out} is a folder; give the path of a file in it")
        with part.open("wb") as stream:
            yield stream
        part.replace(path)
    except OSError as error:
        raise _refused(error, out) from error
    finally:
        # Where it could not be made, it cannot be looked for either.
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)


def _refused(error: OSError, out: str) -> PerpduckError:
    """Return what the system said of the file under way, as it concerns the path that was given."""
    folder = Path(out).absolute().parent
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return StoreFull(f"{out} was not written: the disk of {folder} is full; make room")
    if error.errno in (errno.ENOENT, errno.ENOTDIR):
        return ConfigError(f"{out} cannot be written: there is no folder {folder}; make it first")
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return ConfigError(f"{out} cannot be written: no permission in {folder}; give another path")
    return ConfigError(f"{out} cannot be written: {error.strerror or error}")


def _write(parts: Iterable[pl.DataFrame], stream: IO[bytes], form: Format) -> int:
    rows = 0
    with _writer(stream, form) as write, ThreadPoolExecutor(1) as beside:
        writing = None
        for part in parts:
            if writing is not None:
                writing.result()
            writing = beside.submit(write, part)
            rows += part.height
        if writing is not None:
            writing.result()
    return rows


class _Csv:
    def __init__(self, stream: IO[bytes]) -> None:
        self._stream, self._is_first = stream, True

    def __call__(self, part: pl.DataFrame) -> None:
        self._stream.write(csv_bytes(part, header=self._is_first))
        self._is_first = False


class _Parquet:
    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._writer: pq.ParquetWriter | None = None

    def __call__(self, part: pl.DataFrame) -> None:
        # Older readers know no string views.
        table = part.to_arrow(compat_level=pl.CompatLevel.oldest())
        if self._writer is None:
            # Words repeat, numbers hardly do: a dictionary of those costs time and room.
            words = [f.name for f in table.schema if pa.types.is_large_string(f.type)]
            self._writer = pq.ParquetWriter(
                self._stream, table.schema, compression="zstd", compression_level=1,
                use_dictionary=words,
            )  # fmt: skip
        self._writer.write_table(table)

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()


class _Arrow:
    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._writer: pa.RecordBatchStreamWriter | None = None

    def __call__(self, part: pl.DataFrame) -> None:
        table = part.to_arrow(compat_level=pl.CompatLevel.oldest())
        if self._writer is None:
            self._writer = pa.ipc.new_stream(self._stream, table.schema)
        self._writer.write_table(table)

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()


@contextlib.contextmanager
def _writer(stream: IO[bytes], form: Format) -> Iterator[_Csv | _Parquet | _Arrow]:
    if form == "csv":
        yield _Csv(stream)
        return
    made = _Parquet(stream) if form == "parquet" else _Arrow(stream)
    try:
        yield made
    finally:
        made.close()
