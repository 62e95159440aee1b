"""Bring files into the database: archives, ticks, klines and bars.

    python -m core.imports PATH… [--db FILE] [--practice] [--dataset NAME]
                           [--symbol SYMBOL] [--bars SYMBOL:TIMEFRAME] [--yes]

PATH is a file or a folder of files, of any kind that is known. Importing is done in chunks that
are stored whole; what was interrupted goes on when the same command is given again. A worker and
the app may run meanwhile. Ends with 0 when all is imported, 1 when something is not, 2 when it
could not begin.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from core.config import Settings, load_settings
from core.errors import ConfigError, PerpduckError
from core.importing.bars import delete_bars, import_bars
from core.importing.datasets import delete_dataset
from core.importing.jobs import (
    ACTIVE,
    DONE,
    Job,
    JobFile,
    cancel,
    forget,
    jobs_folder,
    list_jobs,
    load_job,
    new_job,
    reset,
    resume,
    start_import,
    upload_folder,
)
from core.importing.records import ImportedFile
from core.importing.running import run_job
from core.reading import archive_files
from core.store import open_store

__all__ = [
    "ImportedFile",
    "Job",
    "JobFile",
    "cancel",
    "delete_bars",
    "delete_dataset",
    "forget",
    "import_bars",
    "jobs_folder",
    "list_jobs",
    "load_job",
    "resume",
    "start_import",
    "upload_folder",
]


@dataclass(frozen=True, slots=True)
class _Asked:
    """What the command line asks for."""

    db: Path
    venue: str
    paths: tuple[Path, ...]
    dataset: str | None
    symbol: str | None
    timeframe: str | None
    is_sure: bool


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit status."""
    options = _parser().parse_args(arguments)
    if options.job is not None:
        return _run_folder(options.job)
    try:
        asked = _asked(options, load_settings(db=options.db))
        if not asked.is_sure and not _confirmed(asked):
            return 1
        _prepare(asked)
        job = _job(asked)
    except (PerpduckError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    return _status(_shown(job))


def _run_folder(folder: Path) -> int:
    """Run the job of a folder without a word; what happens is written down there."""
    job = load_job(folder)
    if job is None:
        print(f"{folder} holds no import", file=sys.stderr)
        return 2
    return _status(run_job(job))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m core.imports",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("paths", nargs="*", type=Path, metavar="PATH")
    parser.add_argument("--db", type=Path, help="the database file")
    parser.add_argument("--practice", action="store_true", help="the practice exchange's file")
    parser.add_argument("--dataset", help="where ticks and raw trades go")
    parser.add_argument("--symbol", help="of ticks that name none")
    parser.add_argument(
        "--bars",
        metavar="SYMBOL:TIMEFRAME",
        help="what OHLCV files are of; uploaded ones of the same stretch are replaced",
    )
    parser.add_argument("--yes", action="store_true", help="ask nothing")
    parser.add_argument("--job", type=Path, help=argparse.SUPPRESS)
    return parser


def _asked(options: argparse.Namespace, settings: Settings) -> _Asked:
    if not options.paths:
        raise ConfigError("There is nothing to import; give files or folders")
    symbol, timeframe = options.symbol, None
    if options.bars is not None:
        symbol, _, timeframe = options.bars.rpartition(":")
        if not symbol or not timeframe:
            raise ConfigError(f"--bars is {options.bars!r}; write it as btcusdt:1min")
    practice = settings.practice_venue()
    db = settings.db
    if options.practice and options.db is None:
        db = settings.practice_db()
    paths = tuple(path.resolve() for path in archive_files(options.paths))
    if not paths:
        raise ConfigError(f"{options.paths[0]} holds no files")
    return _Asked(
        db, practice if options.practice else settings.venue, paths, options.dataset, symbol,
        timeframe, options.yes or not sys.stdin.isatty(),
    )  # fmt: skip


def _confirmed(asked: _Asked) -> bool:
    size = sum(path.stat().st_size for path in asked.paths)
    made = "" if asked.db.exists() else ", which is made"
    words = f"Import {len(asked.paths)} files ({size / 1e6:,.1f} MB) into {asked.db}{made}? [Y/n] "
    return input(words).strip().lower() in ("", "y", "yes")


def _prepare(asked: _Asked) -> None:
    """Make the file where there is none; one that is there keeps its venue."""
    store = open_store(asked.db)
    stamped = store.venue() or asked.venue
    is_practice = stamped.startswith("practice:")
    if asked.venue.startswith("practice:") and not is_practice:
        raise ConfigError(
            f"{asked.db} holds trades of {stamped!r}, not of the practice exchange; leave out "
            "--practice, or give another file with --db"
        )
    store.prepare(stamped)


def _job(asked: _Asked) -> Job:
    """Return a new job, or the one that was interrupted in doing the same."""
    made = new_job(
        asked.db, asked.paths, dataset=asked.dataset, symbol=asked.symbol,
        timeframe=asked.timeframe,
    )  # fmt: skip
    for job in list_jobs(asked.db):
        if job.id == made.id or job.asked != made.asked or job.state == DONE:
            continue
        if job.state not in ACTIVE:
            shutil.rmtree(made.folder)
            return reset(job)
    return made


def _shown(job: Job) -> Job:
    """Run the job with a bar for its progress, then print what became of each file."""
    with tqdm(total=100, unit="%", bar_format="{l_bar}{bar}| {elapsed}{postfix}") as bar:

        def told(now: Job) -> None:
            bar.n = round(100 * now.progress, 1)
            current = next((one.name for one in now.files if one.state == "running"), now.state)
            bar.set_postfix_str(f"{now.rows_per_s:,.0f} rows/s, {current}", refresh=False)
            bar.refresh()

        ended = run_job(job, told)
    for number, one in enumerate(ended.files):
        words = (
            f"{one.name}: {one.state}; {one.read:,} rows read, {one.kept:,} kept, "
            f"{one.duplicate:,} duplicate, {one.rejected:,} rejected"
        )
        print(f"{words}. {one.message}" if one.message else words)
        for line, reason, _ in one.rejects:
            print(f"    line {line:,}: {reason}")
        if one.rejected > len(one.rejects):
            print(f"    all of them: {ended.rejects_path(number)}")
    if ended.message:
        print(ended.message, file=sys.stderr)
    return ended


def _status(job: Job) -> int:
    return 0 if job.state == DONE else 1


if __name__ == "__main__":
    sys.exit(main())
