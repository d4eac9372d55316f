"""The same load with dlt, tuned: nested objects as one JSON column each, COPY of CSV files, merge by primary key.

As Issuetide does, it keeps the whole object as received.

Needs an environment of its own (`pip install 'dlt[postgres]' requests`); run by `benchmarks/load.py --dlt-python`.

    python benchmarks/dlt_load.py API_URL OWNER/NAME DATABASE_URL
"""

import os
import sys
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qsl, urlsplit

os.environ.update(
    {
        "RUNTIME__DLTHUB_TELEMETRY": "false",
        "NORMALIZE__DATA_WRITER__DISABLE_COMPRESSION": "true",
        "DATA_WRITER__DISABLE_COMPRESSION": "true",
        "EXTRACT__WORKERS": "1",
        "NORMALIZE__WORKERS": "1",
        "LOAD__WORKERS": "1",
        "RUNTIME__LOG_LEVEL": "ERROR",
        "NORMALIZE__JSON_NORMALIZER": '{"module":"dlt.common.normalizers.json.relational"}',
    }
)

import dlt  # type: ignore[import-not-found, unused-ignore]
import orjson
import requests

COLUMNS = {
    "closed_at": {"data_type": "timestamp"},
    "state_reason": {"data_type": "text"},
}


def _pages(api_url: str, repository: str) -> Iterator[list[dict[str, Any]]]:
    session = requests.Session()
    url = f"{api_url}/repos/{repository}/issues?state=all&sort=updated&direction=asc&per_page=100"
    while url:
        reply = session.get(url, timeout=60)
        yield orjson.loads(reply.content)
        url = reply.links.get("next", {}).get("url", "")


def _credentials(url: str) -> dict[str, Any]:
    """The parts of a URL; the embedded PostgreSQL's names a Unix socket's folder as host."""
    parts = urlsplit(url)
    query = dict(parse_qsl(parts.query))
    return {
        "database": parts.path.strip("/"),
        "username": parts.username,
        "password": parts.password or "none",
        "host": parts.hostname or "localhost",
        "port": parts.port or 5432,
        "query": query,
    }


def main() -> None:
    """Loads once."""
    api_url, repository, database_url = sys.argv[1:]
    pipeline = dlt.pipeline(
        "bench",
        pipelines_dir=".dlt_work",
        destination=dlt.destinations.postgres(_credentials(database_url)),
        dataset_name="bench",
    )
    resource = dlt.resource(
        _pages(api_url, repository),
        name="issues",
        write_disposition={"disposition": "merge", "strategy": "upsert"},
        primary_key="number",
        columns=COLUMNS,
        max_table_nesting=0,
    )
    pipeline.run(resource, loader_file_format="csv")


if __name__ == "__main__":
    main()
