"""The OpenAPI document, made of the operations themselves."""

from __future__ import annotations

import re
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

import msgspec

from core.api.answers import JSON, own_version
from core.api.calls import Operation
from core.api.problems import MEDIA

_REF = "#/components/schemas/{name}"
_PART = re.compile(r"{(\w+)}")
_EVERY = (400, 401, 403, 404, 408, 413, 429, 500, 503)
_PROBLEM = {
    "type": "object",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string", "description": "What happened, and what to do."},
        "parameter": {"type": "string", "description": "The parameter that cannot be used."},
        "allowed": {"description": "What it may be."},
    },
}
_PARTS = {
    "symbol": "A symbol as the exchange writes it, in any case; SYMBOL@dataset names a dataset.",
    "id": "The id that was given.",
}
_LIKE = {"symbol": {"examples": ["arbusdt"]}}


def document(operations: Sequence[Operation]) -> dict[str, Any]:
    """Return the document of those operations."""
    kinds = [
        one
        for op in operations
        for one in (op.query, op.body, *op.replies.values())
        if one is not None
    ]
    _, schemas = msgspec.json.schema_components(list(dict.fromkeys(kinds)), ref_template=_REF)
    for one in schemas.values():
        # What follows a docstring's first line is for who reads the code.
        one["description"] = one.get("description", "").partition("\n")[0]
    paths: dict[str, Any] = {}
    for op in operations:
        paths.setdefault(op.path, {})[op.method.lower()] = _operation(op, schemas)
    queries = {op.query.__name__ for op in operations}
    bodies = {op.body.__name__ for op in operations if op.body is not None}
    kept = {name: one for name, one in schemas.items() if name not in queries - bodies}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Perpduck",
            "version": own_version(),
            "description": "Everything on the screen, for programs. Times are UTC; NaN is null.",
        },
        "paths": paths,
        "components": {
            "schemas": {**kept, "Problem": _PROBLEM},
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{}, {"token": []}],
    }


def _operation(op: Operation, schemas: dict[str, Any]) -> dict[str, Any]:
    made: dict[str, Any] = {
        "operationId": f"{op.method.lower()}{re.sub(r'[^a-z]+', '_', op.path.lower())}".rstrip("_"),
        "summary": op.summary,
        "tags": [op.tag],
        "parameters": [*_path_parts(op), *_query(op, schemas)],
        "responses": _responses(op),
    }
    if op.words:
        made["description"] = op.words
    if op.body is not None:
        ref = _REF.replace("{name}", op.body.__name__)
        made["requestBody"] = {"required": True, "content": {JSON: {"schema": {"$ref": ref}}}}
    elif op.form:
        made["requestBody"] = {"required": True, "content": {"multipart/form-data": _form(op)}}
    return made


def _path_parts(op: Operation) -> list[dict[str, Any]]:
    return [
        {
            "name": name, "in": "path", "required": True, "description": _PARTS[name],
            "schema": {"type": "string", "minLength": 1, "maxLength": 80, **_LIKE.get(name, {})},
        }
        for name in _PART.findall(op.path)
    ]  # fmt: skip


def _query(op: Operation, schemas: dict[str, Any]) -> list[dict[str, Any]]:
    schema = schemas[op.query.__name__]
    return [
        {
            "name": name,
            "in": "query",
            "required": name in schema.get("required", ()),
            "description": words_of(found),
            "schema": {key: one for key, one in _bare(found).items() if key != "description"},
        }
        for name, found in schema["properties"].items()
    ]


def words_of(schema: dict[str, Any]) -> str:
    """Return a schema's description, or that of what it may be besides null."""
    inner = (one.get("description", "") for one in schema.get("anyOf", ()))
    return str(schema.get("description") or next(filter(None, inner), ""))


def _bare(schema: dict[str, Any]) -> dict[str, Any]:
    """Return the schema without null: in a query what is not given is left out."""
    if "anyOf" in schema:
        kinds = [one for one in schema["anyOf"] if one != {"type": "null"}]
        return {**kinds[0], **{k: v for k, v in schema.items() if k in ("examples",)}}
    if None in schema.get("enum", ()):
        kept = {key: one for key, one in schema.items() if key != "default"}
        return {**kept, "enum": [one for one in schema["enum"] if one is not None]}
    return schema


def _form(op: Operation) -> dict[str, Any]:
    texts = {"type": "string", "minLength": 1, "maxLength": 80}
    properties = {
        name: {"type": "string", "format": "binary", "description": words}
        if name == "file"
        else {**texts, "description": words}
        for name, words in op.form.items()
    }
    required = [name for name, words in op.form.items() if not words.startswith("Optional")]
    return {"schema": {"type": "object", "properties": properties, "required": required}}


def _content(op: Operation, status: int, media: str) -> dict[str, Any]:
    """Return the schema of an answer: of JSON its struct's; tables are files."""
    kind = op.replies.get(status) if media == JSON else None
    return {} if kind is None else {"schema": {"$ref": _REF.replace("{name}", kind.__name__)}}


def _responses(op: Operation) -> dict[str, Any]:
    found: dict[str, Any] = {
        str(status): {
            "description": HTTPStatus(status).phrase,
            **({"content": {one: _content(op, status, one) for one in medias}} if medias else {}),
        }
        for status, medias in op.answers.items()
    }
    if op.has_etag:
        found["304"] = {"description": "Unchanged since the ETag that was sent."}
    problem = {MEDIA: {"schema": {"$ref": _REF.replace("{name}", "Problem")}}}
    for status in sorted({*_EVERY, *op.problems}):
        found[str(status)] = {"description": HTTPStatus(status).phrase, "content": problem}
    return found
