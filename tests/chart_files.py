"""Files of the Helm chart that are made from others: rules, dashboards, what settings may be.

Helm reads nothing outside the chart's folder. ``make docs`` writes them (``tests/docs.py``).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

from streams.edges.settings.specs import SPECS, Spec

DEPLOY: Final = Path(__file__).parents[1] / "deploy"
CHART: Final = DEPLOY / "helm/surgewatch"
OWN_SETTINGS: Final = ("kafka_instance_id", "metrics_host", "metrics_port")
"""Settings that the chart makes by itself."""


def chart_files(dashboards: Mapping[Path, str]) -> Mapping[Path, str]:
    """Each file that is made, as it has to be; dashboards by their own path."""
    rules = {
        path: path.read_text(encoding="utf-8") for path in (DEPLOY / "prometheus").glob("*.yml")
    }
    copies = {"prometheus": rules, "dashboards": dashboards}
    return {
        CHART / "values.schema.json": schema_text(),
        **{
            CHART / "files" / folder / path.name: text
            for folder, files in copies.items()
            for path, text in sorted(files.items())
        },
    }


def schema_text() -> str:
    """The values' schema: what is there by hand, with settings and secrets from the list."""
    schema = json.loads((CHART / "values.schema.json").read_text(encoding="utf-8"))
    secrets = [spec.name for spec in SPECS.values() if spec.secret]
    settings = {
        spec.name: schema_of(spec)
        for spec in SPECS.values()
        if not spec.secret and spec.name not in OWN_SETTINGS
    }
    key = {"$ref": "#/definitions/secretKey"}
    for name, properties in (("settings", settings), ("secrets", dict.fromkeys(secrets, key))):
        schema["properties"][name] = {
            "type": "object",
            "additionalProperties": False,
            "properties": properties,
        }
    return json.dumps(schema, indent=2) + "\n"


def schema_of(spec: Spec) -> dict[str, Any]:
    """JSON Schema of one setting.

    Helm's patterns are Go's, which look at nothing ahead: ``.`` and ``..`` pass as names here,
    and the worker refuses them.
    """
    schema = msgspec.json.schema(spec.hint)
    (schema,) = [one for one in schema.get("anyOf", [schema]) if one != {"type": "null"}]
    schema.pop("allowed", None)
    if schema.pop("budget", False):  # in words, too
        number = {name: value for name, value in schema.items() if name != "description"}
        schema = {"anyOf": [number, {"type": "string", "minLength": 1}]}
    if "pattern" in schema:
        schema["pattern"] = re.sub(r"\(\?!.*?\)", "", schema["pattern"]).replace(r"\Z", "$")
    return {"description": f"{spec.meaning} ({spec.allowed})"} | {
        name: value for name, value in schema.items() if name not in {"description", "secret"}
    }
