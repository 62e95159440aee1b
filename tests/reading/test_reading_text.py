"""Blocks of lines: the same lines whatever the sizes in which the bytes arrive."""

from __future__ import annotations

import io
from unittest import mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.reading import text as text_room
from core.reading.text import MAX_LINE, blocks


def lines_of(content: bytes, chunk: int) -> list[tuple[int, bytes]]:
    found: list[tuple[int, bytes]] = []
    with mock.patch.object(text_room, "_SAMPLE", 4):  # else short files come in one piece
        cut = list(blocks(io.BytesIO(content), chunk))
    for block in cut:
        assert block.count == block.data.count(b"\n")
        found += [(line, b"!" + text.encode()) for line, _, text in block.rejects]
        found += list(enumerate(block.lines(), start=block.first))
    return found


@settings(max_examples=200, deadline=None)
@given(
    lines=st.lists(st.text(st.characters(exclude_characters="\n\r\0"), max_size=12), max_size=12),
    end=st.sampled_from(["\n", "\r\n"]),
    last=st.booleans(),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-32"]),
    chunk=st.integers(1, 40),
)
def test_lines_survive_any_cut_of_the_bytes(
    lines: list[str], end: str, last: bool, encoding: str, chunk: int
) -> None:
    if encoding == "utf-8":
        lines = [line.replace("\ufeff", "") for line in lines]
    text = end.join(lines) + (end if last and lines else "")
    if end == "\r\n" and not last and lines:
        lines = [*lines[:-1], lines[-1].rstrip("\r")]
    found = lines_of(text.encode(encoding, errors="replace"), chunk)
    expected = [line.encode("utf-8", errors="replace") for line in text.split(end)]
    if expected[-1] == b"":
        expected.pop()
    assert [line for _, line in found] == expected
    assert [number for number, _ in found] == list(range(1, len(expected) + 1))


@pytest.mark.parametrize("chunk", [1, 3, 7, 1000])
def test_lines_that_are_no_utf8_are_latin1_each_for_itself(chunk: int) -> None:
    content = "é1\n".encode() + "é2\n".encode("latin-1") + "Ω3".encode()
    assert [line.decode() for _, line in lines_of(content, chunk)] == ["é1", "é2", "Ω3"]


@pytest.mark.parametrize("most", [1, 3, 7, 100])
def test_blocks_of_very_many_lines_are_parted(most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_room, "MAX_LINES", most)
    lines = [b"%d" % number for number in range(50)]
    content = b"\n".join(lines)
    assert lines_of(content, 2000) == list(enumerate(lines, start=1))
    assert max(block.count for block in blocks(io.BytesIO(content), 2000)) <= most


@pytest.mark.parametrize("chunk", [64, 1000, 4096, 10_000])
def test_too_long_lines_are_left_out_wherever_the_bytes_are_cut(
    chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(text_room, "MAX_LINE", 300)
    lines = [b"a", b"b" * 300, b"c" * 301, b"", b"d" * 5000, b"e" * 900, b"f", b"g" * 2000]
    expected = [line if len(line) <= 300 else b"!" + line[:200] for line in lines]
    for end in (b"", b"\n"):
        found = sorted(lines_of(b"\n".join(lines) + end, chunk))
        assert found == list(enumerate(expected, start=1))


def test_an_endless_line_takes_no_more_memory_than_its_limit() -> None:
    class Endless:
        left = 200

        def read(self, size: int, /) -> bytes:
            self.left -= 1
            return b"x" * size if self.left > 0 else b"\nlast\n" if self.left == 0 else b""

    held = [len(block.data) for block in blocks(Endless(), 2**18)]
    assert max(held) < MAX_LINE
    kept = [(block.first, block.data) for block in blocks(Endless(), 2**18) if block.data]
    assert kept == [(2, b"last\n")]
