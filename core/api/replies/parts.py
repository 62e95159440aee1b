"""What answers are made of."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct, UnsetType

Instant = Annotated[
    str | int,
    Meta(description="UTC: ISO 8601, or milliseconds since 1970 with ts_format=ms."),
]
_KEYED = "By time, as ts_format has it: milliseconds as text, since keys are."
Series = Annotated[dict[str, float | None], Meta(description=_KEYED)]
Note = Annotated[
    str | UnsetType, Meta(description="Only where there is no number: why there is none.")
]


class Reply(Struct, kw_only=True, forbid_unknown_fields=True):
    """An answer, or a part of one, with all of its fields."""
