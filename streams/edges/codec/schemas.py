"""The JSON Schemas (draft 2020-12) of records and of what commands tell, shipped in the package."""

import json
from importlib import resources
from typing import Any, Final

SCHEMA_NAMES: Final = (
    *("follow", "comment", "surge", "dead_letter", "retry_mark", "wave_report"),
    *("lag", "doctor"),
)


def read_schema(name: str) -> dict[str, Any]:
    """Read one of ``SCHEMA_NAMES``.

    >>> read_schema("follow")["title"]
    'Follow'
    """
    if name not in SCHEMA_NAMES:
        message = f"no schema {name!r}: there are {', '.join(SCHEMA_NAMES)}"
        raise KeyError(message)
    file = resources.files("streams") / "schemas" / f"{name}.json"
    schema: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return schema
