"""The JSON-lines sink: documents appended to a file, for those without OpenSearch and for a look at the documents."""

import fcntl
import json
import os
import weakref
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO, get_args
from uuid import uuid4

from etl.errors import ConfigurationError, LockedError, StopError
from etl.records import Document, PushResult
from etl.sinks.base import IndexName

_CHUNK_DOCUMENTS = 2_000
_HEADER_INDEX = "_file"
_LONGEST_HEADER = 1_000
_BLOCK = 1 << 16

_encode_string = json.JSONEncoder().encode


class JsonlSink:
    """Appends lines {"index", "id", "version", "source"} to a file; of several lines with one id, the last one counts.

    A line whose source is null says that the document was deleted; its earlier lines stay in the file.

    The first line, index `_file`, carries a UUID as its id. It tells this file from another one that stood at the same
    path before, so that after a deletion every document is written anew. A line that a kill cut short is removed by
    the next `prepare`; it was never acknowledged. A `path` that is no regular file, such as a pipe, is written to.

    Args:
        path: where the file is, or is to be made; its folder must be there.
    """

    name = "jsonl"
    prefix = "jsonl"

    def __init__(self, path: Path) -> None:
        self._path = path.absolute()
        self._file: BinaryIO | None = None

    def prepare(self) -> Mapping[IndexName, str]:
        """Opens the file, making it if it is not there; gives 'path/index/UUID of the file' of each index.

        Raises:
            ConfigurationError: it cannot be written, or holds something that this sink did not write.
            LockedError: another process has it open for the same.
        """
        self.close()
        try:
            identity = self._open()
        except BlockingIOError:
            self.close()
            raise LockedError(f"{self._path} is being written by another run; wait for its end") from None
        except OSError as error:
            self.close()
            raise ConfigurationError(
                f"{self._path} cannot be written: {error.strerror}; name a file in a folder that can"
            ) from None
        return {index: f"{self._path}/{self.prefix}-{index}-v1/{identity}" for index in get_args(IndexName)}

    def identities(self) -> Mapping[IndexName, str]:
        """Nothing: a file is only ever appended to.

        Raises:
            ConfigurationError: always.
        """
        raise self._not_comparable("identities")

    def push(self, index: IndexName, documents: Iterable[Document]) -> Iterator[Sequence[PushResult]]:
        """Appends the documents; gives the results of at most 2,000 at a time, when they have left this process.

        Raises:
            ConfigurationError: `prepare` was not called, or fails as it says.
            StopError: the file system takes no more (a full disk).
        """
        if self._file is None:
            self.prepare()
        chunk: list[tuple[PushResult, bytes]] = []
        for document in documents:
            chunk.append(_render(index, document))
            if len(chunk) == _CHUNK_DOCUMENTS:
                yield self._append(chunk)
                chunk = []
        if chunk:
            yield self._append(chunk)

    def refresh(self) -> None:
        """Makes what was pushed outlive a power cut.

        Raises:
            StopError: the file system refuses.
        """
        if self._file is None or not self._path.is_file():
            return
        try:
            os.fsync(self._file.fileno())
        except OSError as error:
            raise self._full(error) from None

    def held(self, index: IndexName) -> Iterator[tuple[str, int]]:
        """Nothing: a file is only ever appended to.

        Raises:
            ConfigurationError: always.
        """
        raise self._not_comparable(index)

    def close(self) -> None:
        """Closes the file; the next `prepare` or `push` opens it again."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _open(self) -> str:
        """Opens the file for appending, mended if a kill cut its last line short; gives its UUID."""
        if self._path.exists() and not self._path.is_file():
            self._file = self._path.open("wb", buffering=0)
            weakref.finalize(self, self._file.close)
            return uuid4().hex
        self._file = self._path.open("a+b", buffering=0)
        weakref.finalize(self, self._file.close)
        fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        _cut_off_torn_line(self._file)
        self._file.seek(0)
        first = self._file.readline(_LONGEST_HEADER)
        return self._identity_in(first) if first else self._begin(self._file)

    def _begin(self, file: BinaryIO) -> str:
        identity = uuid4().hex
        header = {"index": _HEADER_INDEX, "id": identity, "version": 1, "source": {"format": "issuetide-jsonl"}}
        file.write(json.dumps(header).encode() + b"\n")
        return identity

    def _identity_in(self, first_line: bytes) -> str:
        try:
            header = json.loads(first_line)
        except ValueError:
            header = None
        if not isinstance(header, dict) or header.get("index") != _HEADER_INDEX:
            self.close()
            raise ConfigurationError(f"{self._path} holds something that this sink did not write; name another file")
        return str(header["id"])

    def _append(self, chunk: Sequence[tuple[PushResult, bytes]]) -> list[PushResult]:
        if self._file is None:
            raise StopError(f"{self._path} was closed while documents were written to it; run again")
        rest = memoryview(b"".join([line for _, line in chunk]))
        try:
            while rest:
                rest = rest[self._file.write(rest) :]
        except OSError as error:
            raise self._full(error) from None
        return [result for result, _ in chunk]

    def _not_comparable(self, what: str) -> ConfigurationError:
        return ConfigurationError(
            f"{self._path} cannot be compared ({what}): a file of JSON lines is only appended to; compare an"
            " OpenSearch index, or leave it out with --no-index"
        )

    def _full(self, error: OSError) -> StopError:
        return StopError(f"{self._path} takes no more: {error.strerror}; free space or mend the disk, and run again")


def _render(index: IndexName, document: Document) -> tuple[PushResult, bytes]:
    """A document as its line; no bytes where it is rejected."""
    # Raw line feeds in JSON text stand between tokens only, and would end the line too early.
    source = "null" if document.source is None else document.source.replace("\n", " ")
    about = f'"index":"{index}","id":{_encode_string(document.id)},"version":{document.version}'
    try:
        line = f'{{{about},"source":{source}}}\n'.encode()
    except UnicodeEncodeError:
        return PushResult(document, "rejected", "holds a lone surrogate, which UTF-8 cannot express"), b""
    return PushResult(document, "written"), line


def _cut_off_torn_line(file: BinaryIO) -> None:
    """Shortens the file to its last line feed. A file without any is left alone unless its beginning is ours."""
    end = file.seek(0, os.SEEK_END)
    keep = end
    while keep:
        start = max(0, keep - _BLOCK)
        file.seek(start)
        found = file.read(keep - start).rfind(b"\n")
        if found >= 0:
            keep = start + found + 1
            break
        keep = start
    if keep == 0 and end > 0:
        file.seek(0)
        if not file.read(_LONGEST_HEADER).startswith(f'{{"index": "{_HEADER_INDEX}"'.encode()):
            return
    if keep < end:
        file.truncate(keep)
