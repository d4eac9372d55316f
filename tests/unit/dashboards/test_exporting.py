"""Tests of taking dashboards back into files, against a loopback Dashboards."""

import json
import subprocess
from pathlib import Path

import pytest

from etl.dashboards.api import DashboardsApi
from etl.dashboards.build import build_saved_objects
from etl.dashboards.exporting import ExportedFile, export_dashboards
from etl.dashboards.importing import import_dashboards
from etl.dashboards.normal_form import file_text, normalize
from etl.errors import ConfigurationError
from etl.resources import resource_folder
from tests.loopback.dashboards import LoopbackDashboards, serve_dashboards

FOLDER = resource_folder("dashboards")
NAMES = ["issuetide-cost", "issuetide-quality", "issuetide-trends"]


def export(
    server: LoopbackDashboards, folder: Path, *, force: bool = False, dry_run: bool = False, prefix: str = "issuetide"
) -> list[ExportedFile]:
    with DashboardsApi(server.url) as api:
        return export_dashboards(api, folder, prefix=prefix, force=force, dry_run=dry_run)


def git(folder: Path, *words: str) -> None:
    subprocess.run(
        ["git", "-c", "user.name=a", "-c", "user.email=a@b.c", *words], cwd=folder, check=True, capture_output=True
    )


@pytest.mark.parametrize("prefix", ["issuetide", "team-a"])
def test_what_was_imported_comes_back_byte_by_byte(tmp_path: Path, prefix: str) -> None:
    with serve_dashboards() as server:
        import_dashboards(server.url, FOLDER, prefix=prefix)
        exported = export(server, tmp_path, prefix=prefix)
    assert [(entry.path.stem, entry.status) for entry in exported] == [(name, "written") for name in NAMES]
    for name in NAMES:
        assert (tmp_path / f"{name}.ndjson").read_text() == (FOLDER / f"{name}.ndjson").read_text(), name


def test_one_change_by_hand_is_one_line_that_differs(tmp_path: Path) -> None:
    with serve_dashboards() as server:
        import_dashboards(server.url, FOLDER)
        share = server.objects()["visualization", "issuetide-share"]["attributes"]
        share["visState"] = json.dumps({**json.loads(share["visState"]), "title": "Shares"}, indent=2)
        export(server, tmp_path)
    before = (FOLDER / "issuetide-trends.ndjson").read_text().splitlines()
    after = (tmp_path / "issuetide-trends.ndjson").read_text().splitlines()
    (changed,) = [new for old, new in zip(before, after, strict=True) if old != new]
    assert json.loads(changed)["id"] == "issuetide-share"


def test_a_title_may_hold_what_ends_a_line_elsewhere(tmp_path: Path) -> None:
    with serve_dashboards() as server:
        import_dashboards(server.url, FOLDER)
        server.objects()["dashboard", "issuetide-cost"]["attributes"]["title"] = "two\u2028lines"
        export(server, tmp_path)
    assert "two\u2028lines" in (tmp_path / "issuetide-cost.ndjson").read_text(encoding="utf-8")


def test_a_moved_panel_and_what_dashboards_counts_on_its_own_are_told_apart() -> None:
    objects = build_saved_objects()["issuetide-trends"]
    looked_at = json.loads(json.dumps(objects))
    fields = json.loads(looked_at[0]["attributes"]["fields"])
    fields[5]["count"] = 7
    looked_at[0] = {**looked_at[0], "updated_at": "2026-11-20T10:00:00.000Z", "version": "WzQsMV0="}
    looked_at[0]["attributes"]["fields"] = json.dumps(fields)
    assert normalize(looked_at) == objects
    panels = json.loads(looked_at[-1]["attributes"]["panelsJSON"])
    # Dashboards appends a panel that was moved to the end of the list.
    looked_at[-1]["attributes"]["panelsJSON"] = json.dumps([*panels[1:], panels[0]])
    assert normalize(looked_at) == objects


def test_the_normal_form_of_a_file_is_the_file() -> None:
    for name, objects in build_saved_objects().items():
        assert file_text(normalize(reversed(objects))) == (FOLDER / f"{name}.ndjson").read_text()


def test_a_file_that_git_has_is_written_over_and_a_changed_one_is_not(tmp_path: Path) -> None:
    with serve_dashboards() as server:
        import_dashboards(server.url, FOLDER)
        export(server, tmp_path)
        git(tmp_path, "init")
        git(tmp_path, "add", ".")
        git(tmp_path, "commit", "-m", "all")
        server.objects()["dashboard", "issuetide-cost"]["attributes"]["title"] = "By hand"
        assert [entry.status for entry in export(server, tmp_path)] == ["written", "same", "same"]
        assert "By hand" in (tmp_path / "issuetide-cost.ndjson").read_text()
        server.objects()["dashboard", "issuetide-cost"]["attributes"]["title"] = "Later"
        with pytest.raises(ConfigurationError, match=r"issuetide-cost\.ndjson: changed here, and git has not got it"):
            export(server, tmp_path)
        assert "By hand" in (tmp_path / "issuetide-cost.ndjson").read_text()
        assert [entry.status for entry in export(server, tmp_path, force=True)] == ["written", "same", "same"]
        assert "Later" in (tmp_path / "issuetide-cost.ndjson").read_text()


def test_outside_of_git_a_file_with_other_content_stays_and_no_other_is_written(tmp_path: Path) -> None:
    (tmp_path / "issuetide-quality.ndjson").write_text("mine\n")
    with serve_dashboards() as server:
        import_dashboards(server.url, FOLDER)
        with pytest.raises(ConfigurationError, match="give --force"):
            export(server, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["issuetide-quality.ndjson"]
    assert (tmp_path / "issuetide-quality.ndjson").read_text() == "mine\n"


def test_a_dry_run_tells_which_files_would_change_and_writes_none(tmp_path: Path) -> None:
    (tmp_path / "issuetide-quality.ndjson").write_text("mine\n")
    with serve_dashboards() as server:
        import_dashboards(server.url, FOLDER)
        assert [entry.status for entry in export(server, tmp_path, dry_run=True)] == ["new", "changed", "new"]
    assert [path.name for path in tmp_path.iterdir()] == ["issuetide-quality.ndjson"]


def test_another_dashboard_is_taken_when_it_is_named(tmp_path: Path) -> None:
    with serve_dashboards() as server:
        import_dashboards(server.url, FOLDER)
        held = server.objects()
        held["dashboard", "my-own"] = {**held["dashboard", "issuetide-cost"], "id": "my-own"}
        with DashboardsApi(server.url) as api:
            (entry,) = export_dashboards(api, tmp_path, identifiers=["my-own"])
        assert entry.path.name == "my-own.ndjson"
        assert len(export(server, tmp_path)) == 3, "and only then"


def test_an_id_that_is_no_file_name_writes_nothing(tmp_path: Path) -> None:
    with serve_dashboards() as server:
        import_dashboards(server.url, FOLDER)
        held = server.objects()
        held["dashboard", "../evil"] = {**held["dashboard", "issuetide-cost"], "id": "../evil"}
        with (
            DashboardsApi(server.url) as api,
            pytest.raises(ConfigurationError, match="cannot be a file's name"),
        ):
            export_dashboards(api, tmp_path / "in", identifiers=["../evil"])
    assert list(tmp_path.iterdir()) == []


def test_a_reference_to_something_gone_is_named(tmp_path: Path) -> None:
    with serve_dashboards() as server:
        import_dashboards(server.url, FOLDER)
        del server.objects()["visualization", "issuetide-share"]
        with pytest.raises(ConfigurationError, match=r"are gone \(visualization issuetide-share\)"):
            export(server, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_dashboards_without_ours_says_how_they_come_in(tmp_path: Path) -> None:
    with serve_dashboards() as server, pytest.raises(ConfigurationError, match="`issuetide dashboards import` brings"):
        export(server, tmp_path)
