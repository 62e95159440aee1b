"""The files that have arrived and wait for a decision: what each is, and its way from there.

They lie below the jobs' upload folder, those of one session together, so that a checksum finds
its archive; they outlive the page. What an import takes moves out of the list into its own folder.
"""

from __future__ import annotations

import contextlib
import functools
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from core.bundle_kept import bundle_kind
from core.errors import PerpduckError
from core.importing import upload_folder
from core.reading import kind_of
from pages.shared.upload_route import sweep

BUNDLES = ("pair", "backtest")
CHECKSUM, UNKNOWN = "checksum", "unknown"
# Where the trades of these go is a matter of a name.
NEEDS_DATASET = ("ticks", "trades")
IMPORTABLE = ("aggTrades", "klines", *NEEDS_DATASET)
LABELS = {
    "aggTrades": "aggregate trades, into the live ones",
    "klines": "the exchange's bars",
    "trades": "raw trades, into a dataset",
    "ticks": "ticks, into a dataset",
    "bars": "bars of one symbol",
    "pair": "pair view",
    "backtest": "backtest",
    CHECKSUM: "checksum of its archive",
    UNKNOWN: "not known",
}
_EMPTY_S = 3600.0


@dataclass(frozen=True, slots=True)
class Waiting:
    """One file that has arrived; ``words`` say why it cannot be used, empty where it can."""

    path: Path
    kind: str
    size: int
    words: str = ""


def arrivals(db: Path, session: str) -> Path:
    """Return the folder into which one session uploads."""
    return upload_folder(db) / "waiting" / session


def waiting(db: Path) -> list[Waiting]:
    """Return what has arrived from any session, by name."""
    folder = upload_folder(db) / "waiting"
    sweep(folder)
    found = []
    for path in sorted(folder.glob("*/*"), key=lambda path: path.name.lower()):
        with contextlib.suppress(FileNotFoundError):  # another session took it just now
            if not path.name.startswith("."):
                stat = path.stat()
                kind, words = _kind(path, stat.st_mtime_ns, stat.st_size)
                found.append(Waiting(path, kind, stat.st_size, words))
    _tidy(folder)
    _tidy(upload_folder(db) / "taken")
    return found


@functools.lru_cache(maxsize=1024)
def _kind(path: Path, _mtime_ns: int, _size: int) -> tuple[str, str]:
    """Return the kind and, where there is none, why; asked once a file."""
    if path.suffix == ".CHECKSUM":
        return CHECKSUM, ""
    if (bundle := bundle_kind(path)) is not None:
        return bundle, ""
    try:
        return kind_of(path), ""
    except (PerpduckError, OSError) as error:
        words = str(error)
        return UNKNOWN, words if path.name in words else f"{path.name}: {words}"


def taken(db: Path, files: Sequence[Waiting]) -> list[Path]:
    """Move the files, and the checksums beside them, out of the list; returns the new paths."""
    folder = upload_folder(db) / "taken" / secrets.token_hex(8)
    folder.mkdir(parents=True)
    return [
        _moved(one.path, _room(folder, one.path.name, number)) for number, one in enumerate(files)
    ]


def put_back(files: Sequence[Waiting], moved: Sequence[Path]) -> None:
    """Undo `taken`: the files wait again."""
    for one, path in zip(files, moved, strict=False):
        one.path.parent.mkdir(exist_ok=True)
        _moved(path, one.path)


def _room(folder: Path, name: str, number: int) -> Path:
    """Return where the file can go; two sessions may have brought the same name."""
    if not (folder / name).exists():
        return folder / name
    (folder / str(number)).mkdir()
    return folder / str(number) / name


def _moved(path: Path, to: Path) -> Path:
    beside = path.with_name(f"{path.name}.CHECKSUM")
    if beside.exists():
        beside.replace(to.with_name(f"{to.name}.CHECKSUM"))
    return path.replace(to)


def discard(files: Sequence[Waiting]) -> None:
    """Delete files that have arrived."""
    for one in files:
        one.path.unlink(missing_ok=True)


def _tidy(folder: Path) -> None:
    """Remove folders whose files have gone; one that was just made may be about to get some."""
    for child in folder.glob("*"):
        with contextlib.suppress(OSError):
            if time.time() - child.stat().st_mtime > _EMPTY_S:
                child.rmdir()
