"""Kept objects that could not be used, read once more: a newer release may know what to do with them."""

from datetime import UTC, datetime
from io import BytesIO

from etl.errors import SkipError
from etl.records import Page, Repository, Scope, Stream
from etl.sources.files import Files
from etl.sources.github_json import decode_json, parse_item

_EVERYTHING = Scope(kinds=("issue", "pull_request"))


def parse_rejected(payload: bytes, repository: Repository, source: str) -> Page:
    """What a kept object is, by the rules of today; an empty page where it is nothing that is stored.

    payload: the object's bytes as they were kept. repository: what it was read of. source: where from; an object of a
    file names its repository itself, and may be an event of GH Archive.

    Raises:
        SkipError: it still cannot be used.
    """
    if source == Files.name:
        file = Files("-", BytesIO(payload))
        pages = list(file.fetch(Stream(source, repository, "file"), _EVERYTHING, None))
        page = pages[0] if pages else Page((), origin="file")
        if page.skipped:
            raise SkipError(page.skipped[0].line)
        return page
    try:
        decoded = decode_json(payload)
    except ValueError:
        raise SkipError("it was cut when it was kept, or is no JSON") from None
    item = parse_item(decoded.value, repository, doubtful=decoded.doubtful, now=datetime.now(UTC))
    return Page((item,), origin="file")
