"""Files that were imported before, recognised without parsing them again."""

from __future__ import annotations

from pathlib import Path

from core.importing.committing import READ_S, READ_WAIT_S
from core.importing.records import ImportedFile, known_as
from core.reading.limits import Limits
from core.reading.source import Source
from core.store import Store

_BLOCK = 4 << 20


class KnownFiles:
    """Looks a file up by name and, only where that is known, by its content; reads once."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._known: dict[tuple[str, str], dict[str, ImportedFile]] | None = None

    def find(self, path: Path, dataset: str, symbol: str | None) -> ImportedFile | None:
        """Return what became of the file when it was imported so, None where it was not."""
        if self._known is None:
            self._known = self._load()
        known = self._known.get((dataset, path.name))
        return known.get(known_as(_content_hash(path), path.name, symbol)) if known else None

    def _load(self) -> dict[tuple[str, str], dict[str, ImportedFile]]:
        with self._store.read(wait_s=READ_WAIT_S, limit_s=READ_S) as con:
            rows = con.execute(
                "select dataset, name, content_hash, rows_read, rows_kept, rows_duplicate, "
                "rows_rejected from imported_files"
            ).fetchall()
        known: dict[tuple[str, str], dict[str, ImportedFile]] = {}
        for dataset, name, content_hash, *counts in rows:
            file = ImportedFile(name, content_hash, *counts)
            known.setdefault((dataset, name), {})[content_hash] = file
        return known


def _content_hash(path: Path) -> str:
    with Source(path, Limits()) as source:
        while source.read(_BLOCK):
            pass
        return source.content_hash
