"""The OpenSearch sink: bulk writes that may be repeated, and what a person wants to know of the other side.

Every document goes with an external version (`external_gte`): the same version again is harmless, an older one is
answered with a conflict and counted as stale. Documents come as JSON text and are sent as they are: parsing and
serializing them is most of what a bulk client spends its time on (benchmarks/sink_push.py).
"""

import copy
import json
import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from etl.errors import ConfigurationError, StopError, UnavailableError
from etl.records import Check, Document, PushResult
from etl.sinks.base import IndexName, IndexStanding, LiveIndex
from etl.sinks.opensearch_access import Access
from etl.sinks.opensearch_connection import (
    OUTAGE_SECONDS,
    TOO_LARGE,
    Connection,
    Outage,
    describe,
    shorten,
    status_of,
)
from etl.sinks.opensearch_indices import (
    check_indices,
    load_definitions,
    prepare_indices,
    read_cluster,
    read_identities,
)
from etl.sinks.opensearch_versions import (
    begin_next_index,
    count_next_documents,
    drop_index,
    survey_indices,
    switch_alias,
)

CHUNK_BYTES = 8 << 20
"""OpenSearch advises 5 to 15 MiB a request; small managed clusters refuse more than 10."""
CHUNK_DOCUMENTS = 2_000
_SMALLEST_CHUNK_BYTES = 256 << 10
_BULK_SECONDS = 60.0
_LOW_WATERMARK = 85
"""Percent of disk used from which OpenSearch by default allots no new shard; at 95 it blocks every write."""

_IDS_PER_PAGE = 5_000
"""Half of what an index gives in one page by default (`index.max_result_window`)."""
_POINT_IN_TIME = "10m"
"""How long the server keeps a point in time after its last use."""
_log = logging.getLogger(__name__)

_encode_string = json.JSONEncoder().encode
_Entry = tuple[Document, bytes]
_Item = Mapping[str, Any]


class OpenSearchSink:
    """Writes documents to OpenSearch 2.19+ or 3.x.

    Args:
        url: one URL, or several of one cluster with commas between; credentials inside, percent-encoded.
        prefix: PREFIX-classifications, PREFIX-daily and PREFIX-runs are the aliases that documents go to.
        access: whom to trust and as whom to ask, beside what the URL says.
        deadline: when to stop waiting for a server that is away, in seconds of `clock`.
        chunk_bytes: the size of a bulk request at most; a larger document goes alone.
        sleep, clock: `time.sleep` and `time.monotonic`, unless a test brings its own.

    Attributes:
        aliases: the name that each index is written and searched by.

    Raises:
        ConfigurationError: `url`, `prefix` or `access` cannot be used.
    """

    name = "opensearch"

    def __init__(
        self,
        url: str,
        prefix: str,
        *,
        access: Access | None = None,
        deadline: float | None = None,
        chunk_bytes: int = CHUNK_BYTES,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._connection = Connection(url, access=access, deadline=deadline, sleep=sleep, clock=clock)
        self.prefix = prefix
        self._definitions = load_definitions(prefix)
        self.aliases: Mapping[IndexName, str] = {each.name: each.alias for each in self._definitions}
        self._by_name = {each.name: each for each in self._definitions}
        self._chunk_bytes = chunk_bytes

    def __repr__(self) -> str:
        return f"OpenSearchSink({self._connection.name!r}, {', '.join(self.aliases.values())})"

    def prepare(self) -> Mapping[IndexName, str]:
        """Makes sure that every index is there; gives 'cluster UUID/index/index UUID' of each.

        Raises:
            ConfigurationError: wrong credentials or server, an alias that is an index or points elsewhere, a mapping
                of another version.
            UnavailableError: no answer within the retries.
        """
        return prepare_indices(self._connection, self._definitions)

    def identities(self) -> Mapping[IndexName, str]:
        """What `prepare` gives, of those indices that are there and have their alias; makes and changes nothing.

        Raises:
            ConfigurationError, UnavailableError: as `prepare`.
        """
        return read_identities(self._connection, self._definitions)

    def push(self, index: IndexName, documents: Iterable[Document]) -> Iterator[Sequence[PushResult]]:
        """Writes the documents; gives the results chunk by chunk, each as soon as the server acknowledged it.

        Those without a source are deleted; that one was not there is fine.
        A server that is away or overloaded is waited for; only what it did not acknowledge is sent again.

        Raises:
            UnavailableError: the server kept failing beyond the bounded retries; results given before stand.
            ConfigurationError: the right to write is missing, the index is closed or blocked.
        """
        alias = self.aliases[index]
        outage = self._connection.outage(f"writing {alias}", OUTAGE_SECONDS)
        for entries, refused in self._chunks(documents):
            if refused:
                yield refused
            yield from self._push_entries(alias, entries, outage)

    def refresh(self) -> None:
        """Makes everything pushed so far visible to searches.

        Raises:
            ConfigurationError, UnavailableError: as `prepare`.
        """
        names = ",".join(self.aliases.values())
        self._connection.call(
            "refreshing its indices", lambda client: client.indices.refresh(index=names), OUTAGE_SECONDS
        )

    def held(self, index: IndexName) -> Iterator[tuple[str, int]]:
        """Id and version of every document of `index`, each once, in no order; everything pushed before is among them.

        Read at one point in time, shard by shard, in pages without sources: Lucene's own numbers of the documents are
        unique and lasting within a shard and a point in time, and nowhere else.

        Raises:
            ConfigurationError: the index is not there, or may not be read.
            UnavailableError: the server kept failing, or lost the point in time; what was given before is not all.
        """
        alias = self.aliases[index]
        action = f"reading the ids of {alias}"
        self._connection.call(action, lambda client: client.indices.refresh(index=alias), OUTAGE_SECONDS)
        moment = self._connection.call(
            action,
            lambda client: client.create_pit(
                index=alias, params={"keep_alive": _POINT_IN_TIME, "allow_partial_pit_creation": "false"}
            ),
            OUTAGE_SECONDS,
        )
        shards = int(moment["_shards"]["total"])
        try:
            for shard in range(shards):
                yield from self._held_by_shard(action, str(moment["pit_id"]), shard, shards)
        finally:
            self._forget_point_in_time(str(moment["pit_id"]))

    def _held_by_shard(self, action: str, moment: str, shard: int, shards: int) -> Iterator[tuple[str, int]]:
        body: dict[str, Any] = {
            "pit": {"id": moment, "keep_alive": _POINT_IN_TIME},
            "size": _IDS_PER_PAGE,
            "sort": [{"_doc": "asc"}],
            "version": True,
            "_source": False,
            "track_total_hits": False,
        }
        if shards > 1:
            # As many slices as shards: each is one shard.
            body["slice"] = {"id": shard, "max": shards}
        wanted = {
            "allow_partial_search_results": "false",
            "filter_path": "hits.hits._id,hits.hits._version,hits.hits.sort",
        }
        while True:
            answer = self._connection.call(
                action, lambda client: client.search(body=body, params=wanted), OUTAGE_SECONDS
            )
            hits = answer.get("hits", {}).get("hits", [])
            yield from ((hit["_id"], hit["_version"]) for hit in hits)
            if len(hits) < _IDS_PER_PAGE:
                return
            body["search_after"] = hits[-1]["sort"]

    def _forget_point_in_time(self, moment: str) -> None:
        """Lets go of it now; where the server does not answer, it does so by itself."""
        try:
            self._connection.call(
                "letting go of a point in time", lambda client: client.delete_pit(body={"pit_id": [moment]}), 0
            )
        except StopError as error:
            _log.debug("a point in time stays until it expires reason=%s", error)

    def survey(self) -> Sequence[IndexStanding]:
        """How all indices stand: what each alias points to, what is being filled, what is kept. Changes nothing.

        Raises:
            ConfigurationError: wrong credentials or server, an alias that is an index or points to several.
            UnavailableError: no answer within the retries.
        """
        return survey_indices(self._connection, self._definitions)

    def begin_next(self, index: IndexName) -> LiveIndex:
        """The index that is to take the place of `index`, behind PREFIX-INDEX-next; made, or found as it was left.

        Raises:
            ConfigurationError, UnavailableError: as `survey`.
        """
        return begin_next_index(self._connection, self._by_name[index])

    def next_sink(self) -> "OpenSearchSink":
        """A sink that writes to the indices that `begin_next` made."""
        twin = copy.copy(self)
        twin.aliases = {each.name: each.next_alias for each in self._definitions}
        return twin

    def count_next(self, index: IndexName) -> int:
        """How many documents the index that `begin_next` made holds, everything pushed before among them.

        Raises:
            ConfigurationError, UnavailableError: as `survey`.
        """
        return count_next_documents(self._connection, self._by_name[index])

    def switch(self, standing: IndexStanding, target: LiveIndex) -> None:
        """Points the alias to `target` instead of `standing.current`, in one step. Doing it twice is harmless.

        Raises:
            ConfigurationError: the alias points to something else by now, or `target` is another index.
            UnavailableError: no answer within the retries.
        """
        switch_alias(self._connection, self._by_name[standing.name], standing.current, target)

    def drop(self, standing: IndexStanding, target: LiveIndex) -> None:
        """Deletes an index that no alias points to, but for PREFIX-INDEX-next. One that is gone is fine.

        Raises:
            ConfigurationError: an alias points to it.
            UnavailableError: no answer within the retries.
        """
        drop_index(self._connection, self._by_name[standing.name], target)

    def count(self, index: IndexName) -> int:
        """How many documents searches see in `index`; 0 where it does not exist yet.

        Raises:
            ConfigurationError, UnavailableError: as `prepare`.
        """
        alias = self.aliases[index]
        answer = self._connection.call(
            f"counting {alias}", lambda client: client.count(index=alias, params={"ignore": 404})
        )
        return int(answer.get("count", 0))

    def get(self, index: IndexName, document_id: str) -> dict[str, Any] | None:
        """The source of one document, seen also before a refresh; None where the sink does not hold it.

        Raises:
            ConfigurationError, UnavailableError: as `prepare`.
        """
        alias = self.aliases[index]
        answer = self._connection.call(
            f"reading {alias}", lambda client: client.get(index=alias, id=document_id, params={"ignore": 404})
        )
        source = answer.get("_source")
        return None if source is None else dict(source)

    def check(self) -> list[Check]:
        """What `doctor` tells: server and release, health, indices, disk. Makes and changes nothing; one try each."""
        try:
            cluster = read_cluster(self._connection, patience=0)
        except StopError as error:
            return [Check("opensearch", "failed", str(error), "start the server, or correct OPENSEARCH_URL")]
        checks = [Check("opensearch", "ok", f"OpenSearch {cluster.release} at {self._connection.name}")]
        parts: dict[str, Callable[[], Check]] = {
            "opensearch health": self._check_health,
            "opensearch indices": lambda: check_indices(self._connection, self._definitions, cluster),
            "opensearch disk": self._check_disk,
        }
        for name, part in parts.items():
            try:
                checks.append(part())
            except StopError as error:
                checks.append(Check(name, "failed", str(error), "see the message"))
        return checks

    def _check_health(self) -> Check:
        answer = self._connection.call("asking for its health", lambda client: client.cluster.health(), 0)
        status = answer["status"]
        detail = f"{status}: {answer['number_of_nodes']} node(s), {answer['unassigned_shards']} unassigned shard(s)"
        if status == "red":
            return Check(
                "opensearch health", "failed", detail, "find the missing shard: GET _cluster/allocation/explain"
            )
        if status == "yellow":
            return Check("opensearch health", "warning", detail, "a replica has no node: fine while one restarts")
        return Check("opensearch health", "ok", detail)

    def _check_disk(self) -> Check:
        answer = self._connection.call(
            "asking for its disk space",
            lambda client: client.nodes.stats(metric="fs", filter_path="nodes.*.fs.total"),
            0,
        )
        totals = [node["fs"]["total"] for node in answer.get("nodes", {}).values()]
        used = [100 - 100 * total["available_in_bytes"] // total["total_in_bytes"] for total in totals]
        if not used:
            return Check("opensearch disk", "skipped", "the server does not tell")
        detail = f"the fullest of {len(used)} node(s) uses {max(used)} % of its disk"
        if max(used) >= _LOW_WATERMARK:
            return Check("opensearch disk", "warning", detail, "free space: at 95 % OpenSearch blocks every write")
        return Check("opensearch disk", "ok", detail)

    def _chunks(self, documents: Iterable[Document]) -> Iterator[tuple[list[_Entry], list[PushResult]]]:
        """As many documents as fit one request, with their bulk lines; beside them those that no request can carry."""
        entries: list[_Entry] = []
        refused: list[PushResult] = []
        size = 0
        for document in documents:
            try:
                lines = _bulk_lines(document)
            except UnicodeEncodeError:
                refused.append(PushResult(document, "rejected", "holds a lone surrogate, which UTF-8 cannot express"))
                continue
            if entries and (size + len(lines) > self._chunk_bytes or len(entries) == CHUNK_DOCUMENTS):
                yield entries, refused
                entries, refused, size = [], [], 0
            entries.append((document, lines))
            size += len(lines)
        yield entries, refused

    def _push_entries(self, alias: str, entries: list[_Entry], outage: Outage) -> Iterator[Sequence[PushResult]]:
        """Sends one chunk until each of its documents has a result."""
        from opensearchpy.exceptions import OpenSearchException

        while entries:
            try:
                items = self._send(alias, entries)
            except OpenSearchException as error:
                if status_of(error) in {400, 413, 429}:
                    yield from self._push_smaller(alias, entries, outage, error)
                    return
                self._connection.wait_or_raise(error, outage)
                continue
            results, entries, trouble = _sort(entries, items)
            if results:
                outage.end()
                yield results
            if trouble is not None:
                self._stop_or_wait(alias, trouble, outage)

    def _push_smaller(
        self, alias: str, entries: list[_Entry], outage: Outage, error: Exception
    ) -> Iterator[Sequence[PushResult]]:
        """Goes on after the server refused a whole request: too busy for it, too large, or one document's fault.

        The halves are sent apart, so a bad document ends up alone and is the only one rejected.
        """
        status = status_of(error)
        if status == 429:
            self._connection.wait_or_raise(error, outage)
        elif len(entries) == 1:
            document, lines = entries[0]
            too_large = (
                f"status 413: {len(lines):,} bytes are more than the server takes in one request; {TOO_LARGE}, then"
                " `issuetide export --replay-dead-letters`"
            )
            yield [PushResult(document, "rejected", too_large if status == 413 else describe(error))]
            return
        if status != 400:
            size = sum(len(lines) for _, lines in entries)
            self._chunk_bytes = min(self._chunk_bytes, max(_SMALLEST_CHUNK_BYTES, size // 2))
        half = (len(entries) + 1) // 2
        yield from self._push_entries(alias, entries[:half], outage)
        yield from self._push_entries(alias, entries[half:], outage)

    def _send(self, alias: str, entries: Sequence[_Entry]) -> list[_Item] | None:
        """The server's answer per document, in their order; None where every one was written."""
        if any(document.source is None for document, _ in entries):
            self._require_alias(alias)
        answer = self._connection.client.bulk(
            body=b"".join([lines for _, lines in entries]),
            index=alias,
            require_alias=True,
            refresh=False,
            # The position says which document an item is about. Nested causes are left out: they quote documents.
            filter_path="errors,items.*.status,items.*.error.type,items.*.error.reason",
            request_timeout=self._connection.seconds_for(_BULK_SECONDS),
        )
        items = answer.get("items") if isinstance(answer, dict) else None
        if not isinstance(items, list) or len(items) != len(entries):
            raise UnavailableError(
                f"OpenSearch at {self._connection.name}, writing {alias}: this is no answer to a bulk request; check "
                "what stands between (a proxy?) and run again"
            )
        return [next(iter(item.values())) for item in items] if answer["errors"] else None

    def _require_alias(self, alias: str) -> None:
        """Passes if the alias is there: `require_alias` does not hold for deletions, which would make an index of it.

        Raises:
            UnavailableError: it is not.
        """
        if not self._connection.client.indices.exists(index=alias):
            raise self._index_is_gone(alias)

    def _index_is_gone(self, alias: str) -> UnavailableError:
        return UnavailableError(
            f"OpenSearch at {self._connection.name}, writing {alias}: the index was deleted meanwhile; run again: it is"
            " made and filled anew"
        )

    def _stop_or_wait(self, alias: str, trouble: _Item, outage: Outage) -> None:
        """Waits where the index is only busy; raises where the index, and no document, is what has to be mended."""
        status, kind, reason = _reported(trouble)
        where = f"OpenSearch at {self._connection.name}, writing {alias}: "
        if status == 404:
            raise self._index_is_gone(alias)
        if kind == "security_exception":
            raise ConfigurationError(f"{where}the user may not write it; docs/operations.md lists the rights it needs")
        if kind == "cluster_block_exception" and status == 429:
            outage.wait(reason, "free disk space on the server (the block then goes by itself) and run again")
        elif status in {403, 400}:
            raise ConfigurationError(f"{where}{kind}: {reason}; open the index or lift its block, and run again")
        else:
            outage.wait(f"status {status}, {kind}: {reason}", "give the server room or more nodes, then run again")


def _bulk_lines(document: Document) -> bytes:
    """The two lines of one document in a bulk request, or the one that deletes it.

    Raises:
        UnicodeEncodeError: its source holds a lone surrogate.
    """
    about = f'"_id":{_encode_string(document.id)},"version":{document.version},"version_type":"external_gte"'
    source = document.source
    if source is None:
        return f'{{"delete":{{{about}}}}}\n'.encode()
    if "\n" in source:
        # Raw line feeds in JSON text stand between tokens only, and would end the line too early.
        source = source.replace("\n", " ")
    return f'{{"index":{{{about}}}}}\n{source}\n'.encode()


def _sort(
    entries: Sequence[_Entry], items: Sequence[_Item] | None
) -> tuple[list[PushResult], list[_Entry], _Item | None]:
    """The results that are final, the entries to send again, and the answer that says why (None: nothing is left)."""
    if items is None:
        return [PushResult(document, "written") for document, _ in entries], [], None
    results: list[PushResult] = []
    again: list[_Entry] = []
    trouble: _Item | None = None
    writes = any(item["status"] < 300 for item in items)
    for entry, item in zip(entries, items, strict=True):
        status, kind, reason = _reported(item)
        if status < 300 or _is_no_longer_there(entry[0], status, kind):
            results.append(PushResult(entry[0], "written"))
        elif status == 409:
            results.append(PushResult(entry[0], "stale", reason))
        elif _is_about_the_index(status, kind, reason) or (status == 500 and _is_the_servers(kind, writes=writes)):
            again.append(entry)
            trouble = item
        else:
            results.append(PushResult(entry[0], "rejected", f"{kind}: {reason}"))
    return results, again, trouble


def _is_no_longer_there(document: Document, status: int, kind: str) -> bool:
    """Whether a document that was to be deleted is not there: no error is given then, as where its index is not."""
    return document.source is None and status == 404 and not kind


def _is_about_the_index(status: int, kind: str, reason: str) -> bool:
    """Whether the server refused a document for what it does not answer for: load, rights, a block, a closed index."""
    if status in {403, 404, 429} or status > 500:
        return True
    return kind == "index_closed_exception" or (status == 400 and "no write index is defined" in reason)


def _is_the_servers(kind: str, *, writes: bool) -> bool:
    """Whether a 500 is the server's fault: its disk, or all that it was sent; not a pipeline that fails on a document.

    A disk that fills up faster than OpenSearch looks is an `i_o_exception` for each document (measured).

    Args:
        kind: the type of the error.
        writes: whether it took another document of the same request.
    """
    return kind == "i_o_exception" or not (writes or kind.endswith("processor_exception"))


def _reported(item: _Item) -> tuple[int, str, str]:
    """Status, type and reason of one item, without values of the document."""
    error = item.get("error") or {}
    return int(item["status"]), str(error.get("type", "")), shorten(str(error.get("reason", "")))
