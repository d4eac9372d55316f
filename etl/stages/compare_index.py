"""PostgreSQL against OpenSearch: the ids and versions that each index holds, and those that it should."""

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import get_args

from etl.db.queries import verification
from etl.db.queries.verification import IndexFinding
from etl.db.store import Store
from etl.records import Document
from etl.sinks.base import IndexName
from etl.stages.base import Advance, Progress
from etl.stages.export import PreparedSink
from etl.stages.verification import Check, Comparison

_PORTION = 2_000
_CHECKS: dict[str, Check] = {
    "extra": "extra",
    "missing": "unsent",
    "absent": "absent",
    "version": "version",
    "refused": "refused",
    "orphaned": "orphaned",
}


class IndexComparison:
    """Compares all indices of a sink, and with `fix` corrects what is believed of them. One that is not there is empty.

    comparisons: by the key of each repository that is wanted, where to enter what is found. rest: where to enter what
    belongs to no repository that is stored; None: that is left out, and so are the runs' records.
    """

    def __init__(
        self,
        store: Store,
        prepared: PreparedSink,
        comparisons: dict[int, Comparison],
        rest: Comparison | None,
        stored_keys: frozenset[int],
    ) -> None:
        self._store = store
        self._prepared = prepared
        self._comparisons = comparisons
        self._rest = rest
        self._stored_keys = stored_keys

    def compare(self, progress: Progress, *, fix: bool) -> None:
        """Compares, and with `fix` mends so far that the next export does the rest.

        Raises:
            StopError: the sink cannot say what it holds.
        """
        for index in get_args(IndexName):
            if index == "runs" and self._rest is None:
                continue
            with progress.stage(f"compare {index}") as advance, self._store.transaction() as connection:
                verification.fill_held(connection, self._counted(index, advance))
                sink_id = self._prepared.ids[index]
                counts = verification.count_documents(connection, index, sink_id)
                for key, (wanted, held) in counts.items():
                    comparison = self._comparison_of(key)
                    if comparison is not None:
                        counted = comparison.counted(f"documents {index}")
                        counted.postgresql, counted.opensearch = wanted, held
                findings = verification.stream_index_findings(connection, index, sink_id)
                wrong = [finding for finding in findings if self._enter(index, finding)]
            if fix:
                is_empty = not any(held for _, held in counts.values())
                for begin in range(0, len(wrong), _PORTION):
                    self._mend(index, wrong[begin : begin + _PORTION], is_empty=is_empty)

    def _counted(self, index: IndexName, advance: Advance) -> Iterator[tuple[str, int]]:
        held = self._prepared.sink.held(index) if index in self._prepared.identities else iter(())
        while portion := list(islice(held, _PORTION)):
            yield from portion
            advance(len(portion))

    def _comparison_of(self, key: int) -> Comparison | None:
        if key in self._stored_keys:
            return self._comparisons.get(key)
        return self._rest

    def _enter(self, index: IndexName, finding: IndexFinding) -> bool:
        """Enters a finding where it belongs; True where that is wanted and something is to be mended."""
        key = "" if index == "runs" else finding.document_id.split("-", 1)[0]
        comparison = self._comparison_of(int(key) if key.isascii() and key.isdecimal() else 0)
        if comparison is None:
            return False
        if finding.check == "pending":
            self._enter_pending(comparison, index, finding)
            return False
        detail = f"{finding.held} instead of {finding.wanted}" if finding.check == "version" else ""
        comparison.add(_CHECKS[finding.check], index, finding.document_id, detail)
        return True

    def _enter_pending(self, comparison: Comparison, index: IndexName, finding: IndexFinding) -> None:
        """Enters what the next export sees to. Runs that export nothing leave records that wait: those are counted."""
        if index == "runs":
            comparison.aside["waiting_runs"] = comparison.aside.get("waiting_runs", 0) + 1
            return
        check: Check = "extra" if finding.wanted is None else "unsent" if finding.held is None else "version"
        comparison.add(check, index, finding.document_id, behind=True)

    def _mend(self, index: IndexName, findings: Sequence[IndexFinding], *, is_empty: bool) -> None:
        """Corrects what is believed of these documents; deletes those that should not be there."""
        sink_id = self._prepared.ids[index]
        extra = {
            finding.document_id: finding.held
            for finding in findings
            if finding.check == "extra" and finding.held is not None
        }
        # OpenSearch remembers the version of what was deleted for a minute, and takes no older one meanwhile. Where an
        # index is empty all is sent as it is: that was made anew.
        newer = {
            finding.document_id: max(finding.held or 0, finding.wanted)
            for finding in findings
            if finding.wanted is not None
            and ((finding.held is None and not is_empty) or (finding.held or 0) > finding.wanted)
        }
        with self._store.transaction() as connection:
            verification.raise_versions(connection, index, newer)
            verification.correct_exports(
                connection,
                sink_id,
                {finding.document_id: finding.held for finding in findings if finding.document_id not in extra},
            )
        deletions = (Document(identity, version, None) for identity, version in extra.items())
        for results in self._prepared.sink.push(index, deletions):
            gone = {result.document.id: None for result in results if result.status == "written"}
            with self._store.transaction() as connection:
                verification.correct_exports(connection, sink_id, gone)
