"""Imports: files of others read, staged beside the database, and stored in short transactions.

`jobs` keeps what was asked and how far it is, `running` runs it: `staging` (read, clean, sort,
lay down) knows no database, `committing` stores chunk by chunk with a writer for each kind.
The public functions are those of `core.imports`.
"""

from core.importing.jobs import Job, JobFile, upload_folder

__all__ = ["Job", "JobFile", "upload_folder"]
