"""What is wrong with a request: what the real API would refuse."""

import re
from collections.abc import Mapping
from typing import Any

VERSION = "2023-06-01"
OAUTH_BETA = "oauth-2025-04-20"
_TOOL_NAME = re.compile(r"[A-Za-z0-9_-]{1,128}")
_TYPES = {"object", "string", "integer", "number", "boolean", "array", "null"}


def of_headers(headers: Mapping[str, str]) -> list[str]:
    """Return what is wrong with a request's headers, its credential apart."""
    faults = []
    if headers.get("anthropic-version") != VERSION:
        faults.append(f"anthropic-version is {headers.get('anthropic-version')!r}")
    if headers.get("content-type", "").partition(";")[0] != "application/json":
        faults.append(f"content-type is {headers.get('content-type')!r}")
    return faults


def of_body(body: Mapping[str, Any]) -> list[str]:
    """Return what is wrong with a request's body."""
    faults = [f"{key} is missing" for key in ("model", "max_tokens", "messages") if not body.get(key)]
    if faults:
        return faults
    faults += _of_tools(body.get("tools") or [])
    faults += _of_messages(body["messages"])
    return faults


def _of_tools(tools: list[dict[str, Any]]) -> list[str]:
    names = [str(tool.get("name")) for tool in tools]
    faults = [f"tool {name!r} has no proper name" for name in names if not _TOOL_NAME.fullmatch(name)]
    faults += [f"tool {name} is there twice" for name in {*names} if names.count(name) > 1]
    for tool in tools:
        if "input_schema" not in tool:
            continue  # one of the API's own
        schema = tool["input_schema"]
        if schema.get("type") != "object":
            faults.append(f"tool {tool['name']}: its schema is no object")
        if not tool.get("description"):
            faults.append(f"tool {tool['name']} has no description")
        faults += [f"tool {tool['name']}: {fault}" for fault in _of_schema(schema)]
    return faults


def _of_schema(schema: object) -> list[str]:
    if isinstance(schema, bool):
        return []
    if not isinstance(schema, dict):
        return [f"{schema!r} is no schema"]
    faults = []
    if "$ref" in schema:
        faults.append(f"a reference: {schema['$ref']}")
    types = schema.get("type", [])
    unknown = {*([types] if isinstance(types, str) else types)} - _TYPES
    faults += [f"type {name}" for name in unknown]
    properties = schema.get("properties", {})
    faults += [f"{key} is required and not there" for key in schema.get("required", []) if key not in properties]
    for inner in properties.values():
        faults += _of_schema(inner)
    if "items" in schema:
        faults += _of_schema(schema["items"])
    return faults


def _of_messages(messages: list[dict[str, Any]]) -> list[str]:
    faults = []
    asked: list[str] = []
    for number, message in enumerate(messages):
        blocks = message["content"] if isinstance(message["content"], list) else []
        if message["role"] == "user":
            answered = [block["tool_use_id"] for block in blocks if block["type"] == "tool_result"]
            if sorted(answered) != sorted(asked):
                faults.append(f"message {number} answers {answered} where {asked} were asked")
            asked = []
        elif message["role"] == "assistant":
            if asked:
                faults.append(f"message {number}: {asked} were not answered")
            asked = [block["id"] for block in blocks if block["type"] == "tool_use"]
        elif message["role"] != "system":
            faults.append(f"message {number} is of {message['role']!r}")
    if asked:
        faults.append(f"{asked} were not answered")
    return faults
