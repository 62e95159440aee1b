"""Compressed content is unfolded whole, and what was changed on its way is refused."""

from __future__ import annotations

import gzip
import threading
import zipfile
from pathlib import Path

import pytest

from core.errors import BadFile
from core.reading.ahead import Ahead
from core.reading.limits import Limits
from core.reading.source import Source

LINES = b"".join(b"%d,1.5,2,1,1,1789207200000,true\n" % n for n in range(200_000))


def content_of(path: Path, size: int = 1 << 20) -> bytes:
    """All of a source, each piece but the last of the size that was asked for."""
    pieces: list[bytes] = []
    with Source(path, Limits()) as source:
        while piece := source.read(size):
            assert not pieces or len(pieces[-1]) == size
            pieces.append(piece)
    return b"".join(pieces)


def zipped(path: Path, how: int) -> Path:
    with zipfile.ZipFile(path, "w", how) as archive:
        archive.writestr("SYM-aggTrades-2026-09.csv", LINES)
    return path


@pytest.mark.parametrize(
    "how", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA]
)
def test_a_member_is_read_whole_however_it_was_packed(tmp_path: Path, how: int) -> None:
    assert content_of(zipped(tmp_path / "a.zip", how)) == LINES


@pytest.mark.parametrize("size", [1, 1000, 1 << 18, 1 << 24])
def test_pieces_have_the_size_that_was_asked_for(tmp_path: Path, size: int) -> None:
    path = tmp_path / "b.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("SYM-aggTrades-2026-09.csv", LINES[: 3000 * size])
    assert content_of(path, size) == LINES[: 3000 * size]


def test_a_gzip_of_several_members_is_read_to_its_end(tmp_path: Path) -> None:
    path = tmp_path / "a.csv.gz"
    path.write_bytes(gzip.compress(LINES[:5000]) + gzip.compress(LINES[5000:]))
    assert content_of(path) == LINES


def test_a_changed_byte_is_found_by_the_sum(tmp_path: Path) -> None:
    path = zipped(tmp_path / "a.zip", zipfile.ZIP_STORED)
    packed = bytearray(zipped(tmp_path / "b.zip", zipfile.ZIP_DEFLATED).read_bytes())
    # The sum that the directory and the header before the content tell, changed alike.
    told = zipfile.ZipFile(path).infolist()[0].CRC.to_bytes(4, "little")
    assert packed.count(told) == 2
    path.write_bytes(packed.replace(told, bytes([told[0] ^ 1]) + told[1:]))
    with pytest.raises(BadFile, match="not what was packed"):
        content_of(path)
    content = bytearray(gzip.compress(LINES))
    content[-6] ^= 1
    (tmp_path / "a.csv.gz").write_bytes(content)
    with pytest.raises(BadFile, match="is broken after"):
        content_of(tmp_path / "a.csv.gz")


def test_what_is_cut_off_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.csv.gz"
    path.write_bytes(gzip.compress(LINES)[:-2000])
    with pytest.raises(BadFile, match="is broken after"):
        content_of(path)


class Slow:
    """A source that fails at its third piece and notes in which threads it was read."""

    def __init__(self) -> None:
        self.threads: list[threading.Thread] = []

    def read(self, size: int, /) -> bytes:
        self.threads.append(threading.current_thread())
        if len(self.threads) == 3:
            raise BadFile("broken")
        return b"x" * size


def test_reading_ahead_gives_the_same_and_raises_where_the_source_does() -> None:
    slow = Slow()
    ahead = Ahead(slow)
    assert [ahead.read(3), ahead.read(3)] == [b"xxx", b"xxx"]
    with pytest.raises(BadFile, match="broken"):
        ahead.read(3)
    ahead.close()
    ahead.close()
    assert threading.current_thread() is slow.threads[0] is not slow.threads[1]
    assert not slow.threads[1].is_alive()
