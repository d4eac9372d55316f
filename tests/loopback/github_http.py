"""A request to the loopback GitHub, and what is sent for it."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from tests.loopback.github_world import render


@dataclass(slots=True)
class Request:
    """A request as it came, and what it was answered with.

    path: below the API root. headers: names in lower case. token: as sent, '' for none. status: 0 until answered, or
    when no answer was sent.
    """

    method: str
    path: str
    query: dict[str, str]
    target: str
    headers: dict[str, str]
    token: str
    status: int = 0
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class Answer:
    """What is sent. cut: send only half of the body, then close."""

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    cut: bool = False


def said(status: int, message: str, **headers: str) -> Answer:
    """GitHub's way of saying a thing; an underscore in a header's name stands for a hyphen."""
    body = {"message": message, "documentation_url": "https://docs.github.com/rest", "status": str(status)}
    return Answer(status, render(body), {name.replace("_", "-"): value for name, value in headers.items()})
