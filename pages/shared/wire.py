"""A figure on its way to the browser: one full block, then only what changed since.

A message is ``<u4 header length><header JSON><padding to 8><column bytes>``. Columns travel as
raw little-endian arrays, not as text. The full block of a figure is kept for all sessions of
the process; a session that already has it gets a patch: how many leading points fell out, how
many stayed the same, and the rest. A lost message does no harm, because patches are always
taken from the full block; a browser that lacks the block asks for it.
"""

from __future__ import annotations

import json
import secrets
import threading
from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any

import numpy as np

from core.charts import Spec

# A patch larger than this share of its full block is not worth it: cut a new block.
PATCH_SHARE = 0.25
KEPT_BLOCKS = 64
KEPT_PATCHES = 256

_DTYPES = {"float64": "f8", "float32": "f4"}


@dataclass(frozen=True, slots=True)
class Block:
    """One figure as sent in full; ``base`` is the id that patches refer to."""

    base: str
    spec: Spec
    message: bytes


class _Writer:
    """Collects columns behind one header; a column used twice is written once."""

    def __init__(self) -> None:
        self.parts: list[bytes] = []
        self.size = 0
        self.seen: dict[tuple[int, int], tuple[list[Any], Any]] = {}

    def column(self, values: Any, first: int = 0) -> list[Any]:
        if found := self.seen.get((id(values), first)):
            return found[0]
        raw = np.ascontiguousarray(values[first:]).tobytes()
        place = [_DTYPES[str(values.dtype)], self.size, len(values) - first]
        padded = raw + b"\0" * (-len(raw) % 8)
        self.parts.append(padded)
        self.size += len(padded)
        # The array is held on to: its id must not pass on to another one meanwhile.
        self.seen[id(values), first] = (place, values)
        return place

    def message(self, header: Spec) -> bytes:
        text = json.dumps(header, separators=(",", ":")).encode()
        text += b" " * (-(len(text) + 4) % 8)
        return len(text).to_bytes(4, "little") + text + b"".join(self.parts)


def full_message(spec: Spec, base: str) -> bytes:
    """Return the whole figure as bytes."""
    writer = _Writer()
    traces = []
    for trace in spec["data"]:
        columns = {k: writer.column(v) for k, v in trace.items() if isinstance(v, np.ndarray)}
        rest = {k: v for k, v in trace.items() if not isinstance(v, np.ndarray)}
        traces.append({"static": rest, "columns": columns})
    return writer.message({"base": base, "traces": traces, "layout": spec["layout"]})


def patch_message(old: Spec, new: Spec, base: str) -> bytes | None:
    """Return what turns ``old`` into ``new``, None where the traces are of another make."""
    if len(old["data"]) != len(new["data"]):
        return None
    writer = _Writer()
    changes = []
    for before, after in zip(old["data"], new["data"], strict=True):
        change = _trace_patch(before, after, writer)
        if change is None:
            return None
        changes.append(change)
    return writer.message({"base": base, "changes": changes, "layout": _moved(old, new)})


def _moved(old: Spec, new: Spec) -> Spec:
    return {k: v for k, v in new["layout"].items() if old["layout"].get(k) != v}


def _trace_patch(before: Spec, after: Spec, writer: _Writer) -> Spec | None:
    columns = [k for k, v in after.items() if isinstance(v, np.ndarray)]
    if before.keys() != after.keys() or any(
        before[k] != v for k, v in after.items() if k not in columns
    ):
        return None
    old_x, new_x = before["x"], after["x"]
    dropped = int(np.searchsorted(old_x, new_x[0])) if len(new_x) else len(old_x)
    shared = min(len(old_x) - dropped, len(new_x))
    same = np.ones(shared, dtype=bool)
    for name in columns:
        was, now = before[name][dropped : dropped + shared], after[name][:shared]
        same &= (was == now) | ((was != was) & (now != now))
    kept = shared if same.all() else int(same.argmin())
    return {
        "drop": dropped,
        "keep": kept,
        "columns": {name: writer.column(after[name], kept) for name in columns},
    }


class Blocks:
    """The full blocks and patches that the sessions of one process share."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._blocks: OrderedDict[Hashable, Block] = OrderedDict()
        self._patches: OrderedDict[Hashable, tuple[Block, bytes]] = OrderedDict()

    def messages(self, view: Hashable, version: Hashable, spec: Spec) -> tuple[Block, bytes]:
        """Return the view's full block and the patch that leads from it to ``spec``."""
        with self._lock:
            if found := self._patches.get((view, version)):
                self._patches.move_to_end((view, version))
                return found
            block = self._blocks.get(view)
            patch = patch_message(block.spec, spec, block.base) if block else None
            if block is None or patch is None or len(patch) > PATCH_SHARE * len(block.message):
                base = secrets.token_hex(8)
                block = Block(base, spec, full_message(spec, base))
                patch = patch_message(spec, spec, base) or b""
                _keep(self._blocks, view, block, KEPT_BLOCKS)
            _keep(self._patches, (view, version), (block, patch), KEPT_PATCHES)
            return block, patch


def _keep(store: OrderedDict[Any, Any], key: Hashable, value: Any, limit: int) -> None:
    store[key] = value
    store.move_to_end(key)
    while len(store) > limit:
        store.popitem(last=False)


def envelope(head: Spec, patch: bytes, block: Block | None) -> bytes:
    """Return the message of one session: its own few words, the patch, the block if needed."""
    full = block.message if block else b""
    text = json.dumps(head | {"patch": len(patch)}, separators=(",", ":")).encode()
    text += b" " * (-(len(text) + 4) % 8)
    return len(text).to_bytes(4, "little") + text + patch + full
