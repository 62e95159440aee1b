"""The documentation page: made of the OpenAPI document, and of nothing from another host."""

from __future__ import annotations

import json
from typing import Any

from jinja2 import Environment, PackageLoader

from core.api.openapi import words_of

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; "
    "connect-src 'self'; script-src 'unsafe-inline'; base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "private, no-cache",
}
_pages = Environment(loader=PackageLoader("core.api"), autoescape=True)


def page(document: dict[str, Any]) -> bytes:
    """Return the page."""
    operations = [
        _described(path, method, op, document)
        for path, methods in document["paths"].items()
        for method, op in methods.items()
    ]
    tags: dict[str, list[dict[str, Any]]] = {}
    for one in operations:
        tags.setdefault(one["tag"], []).append(one)
    text = _pages.get_template("docs.html").render(tags=tags, version=document["info"]["version"])
    return text.encode()


def _described(
    path: str, method: str, op: dict[str, Any], document: dict[str, Any]
) -> dict[str, Any]:
    return {
        "path": path,
        "method": method.upper(),
        "id": op["operationId"],
        "summary": op["summary"],
        "words": op.get("description", ""),
        "tag": op["tags"][0],
        "parameters": [_parameter(one) for one in op["parameters"]],
        "fields": _fields(op, document),
        "told": _told(op, document),
        "curl": _curl(path, method, op, document),
        "answers": {
            status: ", ".join(found.get("content", {})) or "nothing"
            for status, found in op["responses"].items()
            if status.startswith("2")
        },
    }


def _parameter(one: dict[str, Any]) -> dict[str, str]:
    return {
        "name": one["name"],
        "where": one["in"],
        "kind": _kind(one["schema"]),
        "default": _default(one["schema"]),
        "words": one["description"],
        "required": "required" if one["required"] else "",
    }


def _fields(op: dict[str, Any], document: dict[str, Any]) -> list[dict[str, str]]:
    content = op.get("requestBody", {}).get("content", {})
    for found in content.values():
        schema = _named(found["schema"], document)
        return [
            {
                "name": name,
                "where": "body",
                "kind": _kind(one),
                "default": _default(one),
                "words": words_of(one),
                "required": "required" if name in schema.get("required", ()) else "",
            }
            for name, one in schema["properties"].items()
        ]
    return []


def _told(op: dict[str, Any], document: dict[str, Any]) -> list[dict[str, str]]:
    """Return the fields of the first answer in JSON."""
    answers = (found for status, found in op["responses"].items() if status.startswith("2"))
    for found in answers:
        if schema := found.get("content", {}).get("application/json", {}).get("schema"):
            return [
                {"name": name, "kind": _kind(one), "words": words_of(one) or _inside(one, document)}
                for name, one in _named(schema, document)["properties"].items()
            ]
    return []


def _named(schema: dict[str, Any], document: dict[str, Any]) -> dict[str, Any]:
    """Return the schema that is named, or the one itself where it names none."""
    if "$ref" not in schema:
        return schema
    found: dict[str, Any] = document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    return found


def _inside(schema: dict[str, Any], document: dict[str, Any]) -> str:
    """Return what a part of an answer is, and the names of its fields."""
    kinds = [one for one in schema.get("anyOf", [schema]) if one != {"type": "null"}]
    part = _named(kinds[0].get("items") or kinds[0], document)
    names = ", ".join(part.get("properties", {}))
    return f"{words_of(part)} Fields: {names}." if names else ""


def _kind(schema: dict[str, Any]) -> str:
    if "enum" in schema:
        return " | ".join(str(one) for one in schema["enum"] if one is not None)
    if "anyOf" in schema:
        kinds = [_kind(one) for one in schema["anyOf"] if one != {"type": "null"}]
        return " or ".join(dict.fromkeys(kinds))
    if "$ref" in schema:
        return "object"
    if schema.get("items"):
        return f"array of {_kind(schema['items'])}"
    kind = "file" if schema.get("format") == "binary" else str(schema.get("type", "any"))
    low, high = schema.get("minimum"), schema.get("maximum")
    if low is not None and high is not None:
        return f"{kind}, {low:,} to {high:,}"
    words = {"exclusiveMinimum": "above", "minimum": "from", "exclusiveMaximum": "below",
             "maximum": "to"}  # fmt: skip
    limits = [f"{said} {schema[name]:,}" for name, said in words.items() if name in schema]
    return ", ".join([kind, " ".join(limits)]) if limits else kind


def _default(schema: dict[str, Any]) -> str:
    return json.dumps(schema["default"]) if schema.get("default") is not None else ""


def _curl(path: str, method: str, op: dict[str, Any], document: dict[str, Any]) -> str:
    """Return a command that works as it stands with the practice exchange's symbols."""
    shown = path.replace("{symbol}", "arbusdt").replace("{id}", "ID")
    given = {"x": "opusdt", "y": "arbusdt", "symbols": "arbusdt,opusdt"}
    query = "&".join(
        f"{one['name']}={given[one['name']]}" for one in op["parameters"] if one["name"] in given
    )
    url = f"'http://127.0.0.1:8501{shown}{'?' + query if query else ''}'"
    words = ["curl"] if method == "get" else ["curl", "-X", method.upper()]
    content = op.get("requestBody", {}).get("content", {})
    if "application/json" in content:
        body = _EXAMPLES.get(path, {})
        words += ["-H 'Content-Type: application/json'", f"-d '{json.dumps(body)}'"]
    elif content:
        words = ["curl"]
        bars = "-F symbol=mineusdt -F timeframe=1min -F file=@bars.csv"
        words.append(bars if "ohlcv" in path else "-F file=@ticks.ndjson")
    if op["responses"].get("200", {}).get("content", {}).get("text/csv") is not None:
        words.append("-OJ")
    return " ".join([*words, url])


_EXAMPLES: dict[str, dict[str, Any]] = {
    "/api/ingest/start": {"mode": "ws", "symbols": ["arbusdt", "opusdt"]},
    "/api/alerts": {
        "symbol_y": "arbusdt", "symbol_x": "opusdt", "metric": "zscore", "op": ">", "threshold": 2,
    },
    "/api/backtests": {"y": "arbusdt", "x": "opusdt", "timeframe": "1s", "enter": 2},
}  # fmt: skip
