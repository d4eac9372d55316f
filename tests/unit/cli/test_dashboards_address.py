"""Which address `dashboards import` tells people to open."""

from typer.testing import CliRunner, Result

from etl.cli.app import app
from tests.loopback.dashboards import serve_dashboards


def invoke(*words: str, **environment: str) -> Result:
    return CliRunner().invoke(app, ["dashboards", *words], env=environment, prog_name="issuetide")


def test_the_address_to_open_has_the_base_path() -> None:
    with serve_dashboards(base_path="/_dashboards") as server:
        result = invoke("import", DASHBOARDS_URL=server.url)
    assert f"open {server.url}/app/dashboards" in result.stdout
