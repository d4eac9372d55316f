"""The roles of docs/operations.md are those of schemas/opensearch/roles.json, which the real plugin is tested with."""

import json
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
ROLES = json.loads((ROOT / "schemas" / "opensearch" / "roles.json").read_bytes())


def test_the_document_shows_both_roles_as_they_are() -> None:
    document = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    shown = re.findall(r"PUT _plugins/_security/api/roles/(\w+)\n(.*?)```", document, re.DOTALL)
    assert {name: json.loads(body) for name, body in shown} == ROLES
    assert set(ROLES) == {"issuetide_exporter", "issuetide_reader"}


def test_no_right_is_given_beyond_our_indices() -> None:
    for role in ROLES.values():
        assert set(role) == {"cluster_permissions", "index_permissions"}
        (entry,) = role["index_permissions"]
        assert entry["index_patterns"] == ["issuetide-*"]
        for right in (*role["cluster_permissions"], *entry["allowed_actions"]):
            assert right.count(":") >= 1, right
            assert not right.startswith(("*", "cluster:admin")), right
        assert not [right for right in role["cluster_permissions"] if right.endswith("*")]


def test_a_reader_gets_no_right_to_write() -> None:
    reader = ROLES["issuetide_reader"]
    rights = [*reader["cluster_permissions"], *reader["index_permissions"][0]["allowed_actions"]]
    assert not [right for right in rights if "write" in right or "delete" in right or "create" in right]
