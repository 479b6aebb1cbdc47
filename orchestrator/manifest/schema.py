"""The JSON Schema of the manifest, as it is shipped."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

from orchestrator.engines import DIALECTS, dialects

SCHEMA_FILE = Path(__file__).with_name("databases.schema.json")
"""What `orch schema` prints."""


@cache
def schema(*, rendered: bool = True) -> dict[str, Any]:
    """Return the schema as plain data; do not change it.

    Not `rendered`: for a manifest without the section `render`. Then the records of the engines need not be loaded.
    """
    data: dict[str, Any] = json.loads(SCHEMA_FILE.read_bytes())
    data["$defs"]["engine"]["enum"] = list(DIALECTS)
    render, text = data["properties"]["render"]["properties"], {"$ref": "#/$defs/text"}
    if rendered:
        render["compose"]["properties"] |= {f"{one.name}_image": text for one in dialects() if one.container}
    render["k8s"]["properties"]["keys"]["properties"] = dict.fromkeys(DIALECTS, text)
    return data
