"""The queries, one .sql file each; migrations are the files that start with a number."""

from __future__ import annotations

from functools import cache
from importlib.resources import files


@cache
def sql(name: str) -> str:
    """Return the text of ``core/sql/<name>.sql``."""
    return files(__package__).joinpath(f"{name}.sql").read_text(encoding="utf-8").strip()


@cache
def migrations() -> tuple[tuple[int, str], ...]:
    """Return (version, text) of every migration, lowest version first."""
    found = [
        (int(entry.name.split("_", 1)[0]), entry.read_text(encoding="utf-8"))
        for entry in files(__package__).iterdir()
        if entry.name.endswith(".sql") and entry.name[:4].isdigit()
    ]
    return tuple(sorted(found))
