"""`dashboards …` as commands: what they print, and how they end."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from etl.cli import wiring
from etl.cli.app import app
from etl.dashboards.panels import Search
from etl.resources import resource_folder
from etl.settings import Settings
from tests.loopback.dashboards import serve_dashboards
from tests.unit.dashboards.boards import answer


def invoke(*words: str, **environment: str) -> Result:
    return CliRunner().invoke(app, ["dashboards", *words], env=environment, prog_name="issuetide")


def test_what_is_imported_can_be_exported_by_the_same_settings(tmp_path: Path) -> None:
    with serve_dashboards() as server:
        settings = {"DASHBOARDS_URL": server.url, "ISSUETIDE_INDEX_PREFIX": "acme"}
        tried = invoke("import", "--dry-run", **settings)
        assert tried.exit_code == 0
        assert "52 objects are sound; nothing was written" in tried.stdout
        assert server.objects() == {}
        imported = invoke("import", **settings)
        assert imported.exit_code == 0
        assert "52 objects imported and read back" in imported.stdout
        assert ("dashboard", "acme-trends") in server.objects()
        exported = invoke("export", "--folder", str(tmp_path), "--json", **settings)
    assert exported.exit_code == 0
    files = {Path(entry["path"]).name: entry["status"] for entry in json.loads(exported.stdout)}
    assert files == {f"issuetide-{name}.ndjson": "written" for name in ("cost", "quality", "trends")}
    for name in files:
        assert (tmp_path / name).read_bytes() == (resource_folder("dashboards") / name).read_bytes()


def test_an_export_that_would_lose_changes_ends_with_3_and_says_how_to_go_on(tmp_path: Path) -> None:
    (tmp_path / "issuetide-cost.ndjson").write_text("mine")
    with serve_dashboards() as server:
        invoke("import", DASHBOARDS_URL=server.url)
        result = invoke("export", "--folder", str(tmp_path), DASHBOARDS_URL=server.url)
        assert result.exit_code == 3
        assert "--force" in result.stderr
        assert invoke("export", "--folder", str(tmp_path), "--force", DASHBOARDS_URL=server.url).exit_code == 0


@pytest.mark.parametrize("command", ["import", "export"])
def test_without_an_address_it_says_which_setting_is_missing(command: str) -> None:
    result = invoke(command)
    assert result.exit_code == 3
    assert "DASHBOARDS_URL" in result.stderr


@pytest.mark.parametrize("command", [("import",), ("check",), ("preview", "--output", "page.html")])
def test_a_task_that_is_not_known_is_refused_before_anything_is_written(
    command: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with serve_dashboards() as server:
        result = invoke(*command, "--task", "nosuch", DASHBOARDS_URL=server.url)
        assert (result.exit_code, server.objects(), list(tmp_path.iterdir())) == (3, {}, [])
    assert "task 'nosuch' is unknown; known are" in result.stderr


def test_the_shipped_files_are_checked_without_any_server() -> None:
    result = invoke("check")
    assert result.exit_code == 0
    assert result.stdout == "52 objects, 0 problems; OpenSearch was not asked (OPENSEARCH_URL)\n"


def test_a_folder_with_faults_ends_with_3_and_names_each(tmp_path: Path) -> None:
    lines = (resource_folder("dashboards") / "issuetide-cost.ndjson").read_text().splitlines()
    kept = [line for line in lines if json.loads(line)["id"] != "issuetide-refused"]
    (tmp_path / "mine.ndjson").write_text("\n".join(kept))
    result = invoke("check", str(tmp_path), "--json")
    assert result.exit_code == 3
    found = json.loads(result.stdout)
    assert found["problems"] == ["dashboard issuetide-cost: visualization issuetide-refused is in none of the files"]
    assert found["panels"] == []


def test_a_folder_without_files_ends_with_3(tmp_path: Path) -> None:
    result = invoke("check", str(tmp_path))
    assert result.exit_code == 3
    assert "holds no .ndjson file" in result.stderr


def test_a_preview_needs_an_index_and_says_so(tmp_path: Path) -> None:
    result = invoke("preview", "-o", str(tmp_path / "p.html"))
    assert result.exit_code == 3
    assert "OPENSEARCH_URL is not set" in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_preview_can_go_to_standard_output(monkeypatch: pytest.MonkeyPatch) -> None:
    def make_search(settings: Settings) -> tuple[str, Search]:
        assert settings.opensearch_url is None
        return "http://search:9200", lambda _, body: answer(body)

    monkeypatch.setattr(wiring, "make_search", make_search)
    result = invoke("preview", "--output", "-")
    assert result.exit_code == 0
    assert result.stdout.startswith("<!doctype html>")
    assert result.stdout.endswith("</html>\n")
    assert not Path("-").exists()
