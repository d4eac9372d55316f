"""The README names what there is: settings, commands, exit codes, files."""

import re
import tomllib
from pathlib import Path

import pytest
from typer.main import get_command

from etl.cli.app import app
from etl.errors import install_words
from etl.settings import Settings

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def settings_table() -> str:
    """The README's settings table, made from the settings."""
    lines = ["| setting | default | meaning |", "|---|---|---|"]
    for name, field in Settings.model_fields.items():
        default = (
            "the user's data folder" if field.default_factory else "" if field.default is None else f"`{field.default}`"
        )
        lines.append(f"| `{name.upper()}` | {default} | {field.description} |")
    return "\n".join(lines)


def test_the_settings_table_is_that_of_the_program() -> None:
    found = re.search(r"<!-- settings -->\n(.*?)\n<!-- /settings -->", README, re.DOTALL)
    assert found is not None
    assert found[1] == settings_table()


def test_messages_and_documentation_install_extras_from_a_checkout() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    for extra in extras:
        assert install_words(extra) == f"pip install '/path/to/the/checkout[{extra}]'"
    code = [path for path in (ROOT / "etl").rglob("*.py") if path.name != "errors.py"]
    assert [path.name for path in code if "pip install" in path.read_text(encoding="utf-8")] == []
    assert [path.name for path in code if "issuetide[" in path.read_text(encoding="utf-8")] == []
    for path in (ROOT / "README.md", *(ROOT / "docs").glob("*.md")):
        for place, named in re.findall(
            r"pip install[^\n`]*?'([^'\[]*)\[([a-z,]+)\]'", path.read_text(encoding="utf-8")
        ):
            assert place in {".", "/path/to/the/checkout"}, path
            assert set(named.split(",")) <= set(extras), path


def command_names() -> set[str]:
    """Every command and subcommand of the program, as typed."""
    root = get_command(app)
    names = set()
    for name, command in root.commands.items():  # type: ignore[attr-defined]  # the root is a group
        inner = getattr(command, "commands", None)
        names |= {f"{name} {sub}" for sub in inner} if inner else {name}
    return names


@pytest.mark.parametrize("name", sorted(command_names()))
def test_every_command_is_in_the_readme_and_teaches(name: str) -> None:
    group, _, sub = name.partition(" ")
    assert re.search(rf"`{group}\b", README)
    assert not sub or re.search(rf"`(?:{group} )?{sub}`", README)


def test_every_file_the_readme_links_to_is_there() -> None:
    for target in re.findall(r"\]\((?!http)([^)#]+)", README):
        assert (ROOT / target).exists(), target
