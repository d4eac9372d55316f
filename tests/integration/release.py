"""Another release of Issuetide: a copy of this one whose mappings differ, for a process of its own."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]


def make_release(folder: Path, fields: Mapping[str, Mapping[str, Any]], *, index: str = "classifications") -> Path:
    """A copy in `folder` that maps `fields` of `index` otherwise, under the next version; give it as PYTHONPATH."""
    for name in ("etl", "migrations", "schemas", "dashboards"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    path = folder / "schemas" / "opensearch" / f"{index}.json"
    body = json.loads(path.read_bytes())
    body["mappings"]["_meta"]["schema_version"] += 1
    body["mappings"]["properties"].update(fields)
    path.write_text(json.dumps(body), encoding="utf-8")
    return folder


def schema_version(index: str, release: Path = ROOT) -> int:
    """The version of a mapping in a release."""
    body = json.loads((release / "schemas" / "opensearch" / f"{index}.json").read_bytes())
    return int(body["mappings"]["_meta"]["schema_version"])
