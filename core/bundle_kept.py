"""Bundles kept beside the database: of pairs and of backtests, each found by a name of its own."""

from __future__ import annotations

import hashlib
import zipfile
from pathlib import Path
from typing import Literal

from core.backtests.bundle import BACKTEST_MEMBERS, BacktestBundle, read_backtest_bundle
from core.bundle import Bundle, read_bundle
from core.bundle_members import MEMBERS
from core.errors import BadFile

BundleKind = Literal["pair", "backtest"]


def bundle_kind(path: Path) -> BundleKind | None:
    """Return what a file is a bundle of by its members' names; None for anything else."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = set(archive.namelist())
    except (OSError, zipfile.BadZipFile):
        return None
    return "pair" if names == MEMBERS else "backtest" if names == BACKTEST_MEMBERS else None


def bundle_folder(db: Path) -> Path:
    """Return where bundles of that database's owner are kept."""
    return Path(f"{db}.bundles")


def keep(db: Path, data: bytes, kind: BundleKind = "pair") -> str:
    """Keep a bundle beside the database; returns the name by which it is found again.

    Raises BadFile for what is no whole bundle of that kind; the same bundle twice is one.
    """
    _READERS[kind](data)
    name = hashlib.sha256(data).hexdigest()[:16]
    folder = bundle_folder(db)
    folder.mkdir(parents=True, exist_ok=True)
    part = folder / f"{name}.part"
    part.write_bytes(data)
    part.replace(folder / f"{name}.zip")
    return name


def kept(db: Path, name: str) -> Bundle:
    """Return a kept pair's bundle; raises BadFile where there is none of that name."""
    return read_bundle(kept_bytes(db, name))


def kept_backtest(db: Path, name: str) -> BacktestBundle:
    """Return a kept backtest's bundle; raises BadFile where there is none of that name."""
    return read_backtest_bundle(kept_bytes(db, name))


def kept_bytes(db: Path, name: str) -> bytes:
    """Return a kept bundle's ZIP; raises BadFile where there is none of that name."""
    path = bundle_folder(db) / f"{name}.zip"
    if not name.isalnum() or not path.is_file():
        raise BadFile(f"no bundle {name!r} is kept here; open its ZIP on the Data page first")
    return path.read_bytes()


_READERS = {"pair": read_bundle, "backtest": read_backtest_bundle}
