"""Servers for trying and testing, without Docker: the embedded PostgreSQL and the local OpenSearch.

Both live in the user's data folder, listen on nothing but a Unix socket or the loopback address, go on after the
command that started them has ended, and are found again by the next one: `issuetide servers start|stop|status`.
"""

from dataclasses import dataclass
from pathlib import Path

from etl.errors import install_words

INSTALL_HINT = install_words("servers")


@dataclass(frozen=True)
class ServerStatus:
    """One local server as it is right now.

    `url` is set while the server answers there; a URL of ours carries no secret. `folder` holds all that belongs to the
    server, its data included. `detail` is a sentence for people, empty where there is nothing to say.
    """

    name: str
    running: bool
    url: str | None
    pid: int | None
    version: str | None
    folder: Path
    detail: str = ""
