"""docs/architecture.md says what the tests keep: who may import whom, and where things are."""

import re
from pathlib import Path

import pytest

from tests.unit.test_layers import ALLOWED

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")


def layers_table() -> str:
    """The table of layers, made from what `test_layers` allows."""
    lines = ["| unit | may import of ours |", "|---|---|"]
    for unit, allowed in ALLOWED.items():
        names = ", ".join(f"`{name}`" for name in sorted(allowed)) or "nothing"
        lines.append(f"| `{unit}` | {names} |")
    return "\n".join(lines)


def test_the_table_of_layers_is_the_one_that_is_kept() -> None:
    found = re.search(r"<!-- layers -->\n(.*?)\n<!-- /layers -->", TEXT, re.DOTALL)
    assert found is not None
    assert found[1] == layers_table()


@pytest.mark.parametrize("heading", ["The GitHub side", "Asking Claude"])
def test_every_module_that_is_named_is_there(heading: str) -> None:
    section = TEXT.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    named = set(re.findall(r"`((?:[a-z_]+/)*[a-z_]+\.py)`", section))
    assert len(named) > 10
    for name in named:
        places = [ROOT / folder / name for folder in ("etl", "etl/sources", "etl/stages", "etl/classifiers")]
        assert any(place.exists() for place in places), name


def test_every_link_leads_to_a_file_or_a_heading_that_is_there() -> None:
    headings = re.findall(r"^#+ (.*)$", TEXT, re.MULTILINE)
    anchors = {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
    for target in re.findall(r"\]\(([^)\s]+)\)", TEXT):
        file, _, anchor = target.partition("#")
        assert file or anchor in anchors, target
        assert not file or (ROOT / "docs" / file).exists(), target
