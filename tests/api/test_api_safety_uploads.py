"""A file's own name is said back and used for nothing else."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from core.api import incoming
from core.errors import BadFile
from tests.api.conftest import Api, assert_problem

NAMES = [
    ("ticks.ndjson", ".ndjson"),
    ("../../../../tmp/evil.csv", ".csv"),
    ("/etc/cron.d/evil", ""),
    ("..\\..\\evil.PARQUET", ".parquet"),
    ("C:\\evil.csv.gz", ".csv.gz"),
    ("evil.csv/../../../x", ""),
    (".bashrc", ""),
    ("..", ""),
    ("$(touch evil).zip", ".zip"),
    ("evil.csv;rm -rf", ""),
    ("evil.duckdb", ""),
    ("evil.csv.sh", ""),
    ("币安\u202egpj.csv", ".csv"),
    ("x" * 2000 + ".csv", ""),
]


def everything(home: Path) -> set[Path]:
    return {path for path in home.parent.rglob("*") if path.is_file()}


@pytest.mark.parametrize(("name", "kept"), NAMES, ids=[name[:20] for name, _ in NAMES])
def test_what_a_file_is_called_decides_nothing_on_the_disk(
    name: str, kept: str, api: Api, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Path] = []
    before = everything(home)

    def start(_: Path, paths: list[Path], **__: object) -> None:
        seen.extend(everything(home) - before)
        assert paths[0].read_bytes() == b"x"
        raise BadFile("it is none")

    monkeypatch.setattr(incoming, "start_import", start)
    answer = api.ask("POST", "/upload_ndjson", files={"file": (name, b"x")})
    assert_problem(answer, 422)
    # The file itself, in a folder of its own of ours, and the database that it is for.
    (path,) = [one for one in seen if "duckdb" not in one.name]
    # Of a stem that is no word: in messages it gives way to the name that was sent.
    assert re.fullmatch(r"[0-9a-f]{16}" + re.escape(kept), path.name)
    assert re.fullmatch(r"[0-9a-f]{16}", path.parent.name)
    assert path.is_relative_to(home)
    assert "evil" not in str(path.relative_to(home))
    # What was not imported is not left either.
    assert not path.exists()
    assert not path.parent.exists()
