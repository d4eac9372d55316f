"""Tests of the import, against a loopback Dashboards."""

import base64
import json
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import trustme

from etl.dashboards.importing import check_dashboards, import_dashboards
from etl.errors import ConfigurationError, IssuetideError, UnavailableError
from etl.resources import resource_folder
from tests.loopback.dashboards import serve_dashboards

FOLDER = resource_folder("dashboards")
OBJECTS = 52
"""What the three files hold together; index patterns and controls are in several, and count once."""


@contextmanager
def answering(status: int, body: bytes, headers: dict[str, str] | None = None) -> Iterator[str]:
    """A server that gives every request the same answer."""

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None: ...

        def do_GET(self) -> None:
            self.send_response(status)
            for name, value in (headers or {}).items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_every_object_is_written_read_back_and_named() -> None:
    with serve_dashboards() as server:
        imported = import_dashboards(server.url, FOLDER)
        assert {(item.type, item.id) for item in imported} == set(server.objects())
    assert len(imported) == len({(item.type, item.id) for item in imported}) == OBJECTS
    assert ("dashboard", "issuetide-trends", "Issuetide: trends of issues") in [
        (item.type, item.id, item.title) for item in imported
    ]


def test_a_broken_file_is_named_also_where_a_task_is_chosen(tmp_path: Path) -> None:
    meta = {"searchSourceJSON": "{oops"}
    item = {"type": "dashboard", "id": "x", "attributes": {"title": "a", "kibanaSavedObjectMeta": meta}}
    (tmp_path / "a.ndjson").write_text(json.dumps(item))
    with serve_dashboards() as server, pytest.raises(ConfigurationError, match="problem"):
        import_dashboards(server.url, tmp_path, task="user_error")


def test_what_is_not_imported_becomes_no_default_index(tmp_path: Path) -> None:
    (tmp_path / "cost.ndjson").write_bytes((FOLDER / "issuetide-cost.ndjson").read_bytes())
    with serve_dashboards() as server:
        imported = import_dashboards(server.url, tmp_path)
        assert ("index-pattern", "issuetide-classifications") not in server.objects()
        assert server.settings == {}
    assert {item.status for item in imported} == {"written"}


def test_importing_twice_leaves_one_of_each() -> None:
    with serve_dashboards() as server:
        first = import_dashboards(server.url, FOLDER)
        held = dict(server.objects())
        second = import_dashboards(server.url, FOLDER)
        assert server.objects() == held
        assert [item.id for item in first] == [item.id for item in second]


def test_a_dry_run_writes_nothing_and_tells_what_would_be_new_or_changed() -> None:
    with serve_dashboards() as server:
        assert {item.status for item in import_dashboards(server.url, FOLDER, dry_run=True)} == {"new"}
        assert server.objects() == {}
        assert server.imports == 0
        import_dashboards(server.url, FOLDER)
        server.objects()["dashboard", "issuetide-cost"]["attributes"]["title"] = "Mine"
        again = import_dashboards(server.url, FOLDER, dry_run=True)
        assert [(item.id, item.status) for item in again if item.status != "same"] == [("issuetide-cost", "changed")]
        assert server.objects()["dashboard", "issuetide-cost"]["attributes"]["title"] == "Mine"


def test_the_default_index_is_set_only_where_there_is_none() -> None:
    with serve_dashboards() as server:
        imported = import_dashboards(server.url, FOLDER)
        assert server.settings == {"defaultIndex": "issuetide-classifications"}
        assert [item.id for item in imported if item.status == "default"] == ["issuetide-classifications"]
        server.settings["defaultIndex"] = "mine"
        again = import_dashboards(server.url, FOLDER)
        assert server.settings == {"defaultIndex": "mine"}
        assert {item.status for item in again} == {"written"}


def test_a_prefix_and_a_task_reach_the_server() -> None:
    with serve_dashboards() as server:
        import_dashboards(server.url, FOLDER, prefix="acme", task="user_error")
        assert server.objects()["index-pattern", "acme-daily"]["attributes"]["title"] == "acme-daily"
        dashboard = server.objects()["dashboard", "acme-trends"]
        assert "user_error" in dashboard["attributes"]["kibanaSavedObjectMeta"]["searchSourceJSON"]
        assert server.settings == {"defaultIndex": "acme-classifications"}


def test_a_base_path_and_a_login_in_the_address_are_used() -> None:
    login = base64.b64encode(b"ann:p@ss").decode()
    with serve_dashboards(base_path="/dash", login=login) as server:
        url = server.url.replace("http://", "http://ann:p%40ss@") + "/"
        assert len(import_dashboards(url, FOLDER)) == OBJECTS
        assert len(import_dashboards(server.url, FOLDER, auth=("ann", "p@ss"))) == OBJECTS


def test_a_tenant_keeps_its_objects_to_itself() -> None:
    with serve_dashboards() as server:
        import_dashboards(server.url, FOLDER, tenant="global")
        assert len(server.objects("global")) == OBJECTS
        assert server.objects() == {}


def test_a_wrong_login_is_told_without_the_password() -> None:
    with serve_dashboards(login="c2VjcmV0") as server:
        url = server.url.replace("http://", "http://ann:hunter2@")
        with pytest.raises(ConfigurationError, match=r"refused the login \(HTTP 401\)") as caught:
            import_dashboards(url, FOLDER)
    assert "hunter2" not in str(caught.value)


def test_a_missing_base_path_is_told() -> None:
    with serve_dashboards(base_path="/dash") as server:
        url = server.url.removesuffix("/dash")
        with pytest.raises(ConfigurationError, match=r"is no OpenSearch Dashboards; .* its base path included"):
            import_dashboards(url, FOLDER)
        assert server.imports == 0


def test_the_address_of_opensearch_is_recognised() -> None:
    root = json.dumps(
        {"cluster_name": "c", "version": {"number": "3.8.0"}, "tagline": "The OpenSearch Project"}
    ).encode()
    with answering(200, root) as url, pytest.raises(ConfigurationError, match="is OpenSearch itself, not Dashboards"):
        import_dashboards(url, FOLDER)


def test_another_web_page_is_recognised() -> None:
    with answering(200, b"<html>hello</html>") as url, pytest.raises(ConfigurationError, match="is no OpenSearch Dash"):
        import_dashboards(url, FOLDER)


def test_a_login_page_in_between_is_named_without_its_query() -> None:
    with (
        answering(302, b"", {"Location": "https://sso.test/login?state=abc"}) as url,
        pytest.raises(ConfigurationError, match=r"sends on to https://sso\.test/login;"),
    ):
        import_dashboards(url, FOLDER)


def test_a_server_that_is_not_there_is_told() -> None:
    with serve_dashboards() as server:
        url = server.url
    with pytest.raises(UnavailableError, match=r"cannot be reached \(no connection\)"):
        import_dashboards(url, FOLDER)


@pytest.mark.parametrize("url", ["localhost:5601", "ftp://host", "http://"])
def test_an_address_that_is_no_url_is_told(url: str) -> None:
    with pytest.raises(ConfigurationError, match="must be an absolute http"):
        import_dashboards(url, FOLDER)


def test_a_missing_certificate_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"OPENSEARCH_CA_FILE .*ca\.pem is no file"):
        import_dashboards("https://localhost:1", FOLDER, ca_file=tmp_path / "ca.pem")


@pytest.mark.parametrize(
    "url",
    [
        "https://ann:12/hunter2@h:5601",
        "https://ann:12?hunter2@h:5601",
        "https://ann:12#hunter2@h:5601",
        "https://ann:hunter2@[h:5601",
        "https://ann:x@h:hunter2",
        "ftp://ann:hunter2@h",
    ],
)
def test_an_address_that_cannot_be_used_is_refused_without_showing_it(url: str) -> None:
    with pytest.raises(ConfigurationError, match="DASHBOARDS_URL must be") as caught:
        import_dashboards(url, FOLDER)
    assert "hunter2" not in str(caught.value)
    assert "12" not in str(caught.value)


def test_a_login_of_any_characters_arrives_as_utf_8() -> None:
    login = base64.b64encode("änn:p@ß/wörd€".encode()).decode()
    with serve_dashboards(login=login) as server:
        assert check_dashboards(server.url, auth=("änn", "p@ß/wörd€")).startswith("OpenSearch Dashboards")


def test_a_certificate_is_trusted_by_the_authority_that_is_named_and_refused_without(tmp_path: Path) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    with serve_dashboards(context=context) as server:
        assert check_dashboards(server.url, ca_file=tmp_path / "ca.pem").startswith("OpenSearch Dashboards")
        with pytest.raises(ConfigurationError, match=r"cannot be trusted \(.*\); .* OPENSEARCH_CA_FILE"):
            check_dashboards(server.url)
        address = server.url.replace("localhost", "127.0.0.1")
        with pytest.raises(ConfigurationError, match="write the host in DASHBOARDS_URL as the certificate has it"):
            check_dashboards(address, ca_file=tmp_path / "ca.pem")


def test_tls_to_a_server_without_it_is_told() -> None:
    with serve_dashboards() as server:
        url = server.url.replace("http://", "https://ann:hunter2@")
        with pytest.raises(
            ConfigurationError, match="it speaks plain HTTP, not TLS; write http:// in DASHBOARDS_URL"
        ) as e:
            check_dashboards(url)
    assert "hunter2" not in str(e.value)


def test_files_with_a_problem_are_never_sent(tmp_path: Path) -> None:
    shipped = (FOLDER / "issuetide-trends.ndjson").read_text()
    (tmp_path / "a.ndjson").write_text("\n".join(shipped.splitlines()[3:]))
    with serve_dashboards() as server:
        with pytest.raises(ConfigurationError, match=r"the first: .*is in none of the files"):
            import_dashboards(server.url, tmp_path)
        assert server.imports == 0


def test_an_object_the_server_lost_is_found_by_reading_back() -> None:
    with serve_dashboards() as server:
        server.lose.add("issuetide-cost-daily")
        with pytest.raises(IssuetideError, match="visualization issuetide-cost-daily is not there"):
            import_dashboards(server.url, FOLDER)


def test_an_object_the_server_kept_in_an_older_form_is_found_by_reading_back() -> None:
    with serve_dashboards() as server:
        import_dashboards(server.url, FOLDER)
        server.objects()["dashboard", "issuetide-trends"]["attributes"]["title"] = "old"
        server.lose.add("issuetide-trends")
        with pytest.raises(IssuetideError, match="dashboard issuetide-trends holds another 'title'"):
            import_dashboards(server.url, FOLDER)


def test_a_partial_failure_behind_http_200_is_an_error() -> None:
    """An answer as the real server gives it: status 200, `success` false, the reason per object."""
    answer = {
        "success": False,
        "successCount": 20,
        "errors": [
            {
                "type": "search",
                "id": "s",
                "error": {"type": "missing_references", "references": [{"type": "index-pattern", "id": "p"}]},
            }
        ],
    }
    with serve_dashboards() as server:
        server.import_answer = (200, answer)
        with pytest.raises(
            ConfigurationError,
            match=r"refused 1 of 52 objects; the first: search s: missing_references \(index-pattern p\)",
        ):
            import_dashboards(server.url, FOLDER)


def test_a_file_refused_as_a_whole_is_told_in_the_servers_words() -> None:
    with serve_dashboards() as server:
        server.import_answer = (422, {"message": "belongs to a more recent version"})
        with pytest.raises(ConfigurationError, match=r"belongs to a more recent version \(HTTP 422\)"):
            import_dashboards(server.url, FOLDER)


def test_a_file_that_is_too_large_is_told_with_the_limits_to_raise() -> None:
    with serve_dashboards() as server:
        server.import_answer = (413, {"message": "Payload content length greater than maximum allowed: 26214400"})
        with pytest.raises(
            ConfigurationError,
            match=r"maximum allowed: 26214400 \(HTTP 413\); raise savedObjects.maxImportPayloadBytes and "
            r"server.maxPayloadBytes in opensearch_dashboards.yml, .*client_max_body_size",
        ):
            import_dashboards(server.url, FOLDER)


def test_a_check_tells_the_version_and_writes_nothing() -> None:
    with serve_dashboards() as server:
        url = server.url.replace("http://", "http://ann:hunter2@")
        assert check_dashboards(url) == f"OpenSearch Dashboards 3.7.0 at {server.url}"
        assert server.imports == 0
        assert server.objects() == {}


def test_a_check_of_a_wrong_login_fails() -> None:
    with serve_dashboards(login="c2VjcmV0") as server, pytest.raises(ConfigurationError, match="refused the login"):
        check_dashboards(server.url)
