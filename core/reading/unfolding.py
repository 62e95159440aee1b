"""Deflated bytes unfolded by ISA-L, which takes half the time of zlib."""

from __future__ import annotations

import struct
import zipfile
from typing import IO

from isal import igzip, isal_zlib

BROKEN: tuple[type[Exception], ...] = (isal_zlib.error, EOFError)  # type: ignore[assignment]
_LOCAL_HEADER = struct.Struct("<4s22xHH")
_BLOCK = 1 << 18


def gunzipped(raw: IO[bytes]) -> IO[bytes]:
    """Return the content of a .gz."""
    return igzip.IGzipFile(fileobj=raw, mode="rb")  # type: ignore[no-untyped-call,return-value]


def unzipped(archive: zipfile.ZipFile, info: zipfile.ZipInfo, raw: IO[bytes]) -> IO[bytes]:
    """Return the content of a member; ``raw`` is the file that the archive was opened on."""
    member = archive.open(info)  # holds the header and its name against the directory
    if info.compress_type != zipfile.ZIP_DEFLATED:
        return member
    member.close()
    raw.seek(info.header_offset)
    _, name, extra = _LOCAL_HEADER.unpack(raw.read(_LOCAL_HEADER.size))
    raw.seek(name + extra, 1)
    return _Member(raw, info)  # type: ignore[return-value]


class _Member:
    """A deflated member, read from where its bytes begin; its length and sum are held."""

    def __init__(self, raw: IO[bytes], info: zipfile.ZipInfo) -> None:
        self._raw, self._info = raw, info
        self._left = info.compress_size
        self._inflate = isal_zlib.decompressobj(wbits=-15)
        self._crc = self._size = 0

    def read(self, size: int) -> bytes:
        """Return up to ``size`` bytes, none at the end. Raises BROKEN, BadZipFile."""
        pieces: list[bytes] = []
        lacking = size
        while lacking and not self._inflate.eof:
            pieces.append(self._more(lacking))
            lacking -= len(pieces[-1])
        data = b"".join(pieces)
        self._size += len(data)
        self._crc = isal_zlib.crc32(data, self._crc)
        if not data and (self._crc, self._size) != (self._info.CRC, self._info.file_size):
            raise zipfile.BadZipFile(f"the content of {self._info.filename} is not what was packed")
        return data

    def _more(self, size: int) -> bytes:
        waiting = self._inflate.unconsumed_tail
        if not waiting:
            waiting = self._raw.read(min(_BLOCK, self._left))
            self._left -= len(waiting)
        data: bytes = self._inflate.decompress(waiting, size)
        # With nothing left to take in, it may still have something to give.
        if not (data or waiting or self._inflate.eof):
            raise EOFError("the file ends before its content does")
        return data

    def close(self) -> None:
        """Nothing is held."""
