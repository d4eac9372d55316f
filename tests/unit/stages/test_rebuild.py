"""What a rebuild, and what follows it, must not take from the others that change indices at the same time."""

from typing import cast

import pytest
from typer.testing import CliRunner

from etl.cli import wiring
from etl.cli.app import app
from etl.db.queries import exports
from etl.db.store import Store
from etl.errors import LockedError
from etl.settings import Settings
from etl.sinks.base import AliasSink, IndexName, IndexStanding, LiveIndex, Sink
from etl.stages import rebuild
from tests.fakes import FakeSink
from tests.runs import rows

KEY = "memory/fake-classifications"
OLD, NEW, NEWER = (LiveIndex(f"fake-classifications-v{n}", f"{KEY}-v{n}/uuid", 1, True, 0) for n in ("1", "1-2", "1-3"))


def standing(current: LiveIndex | None, *kept: LiveIndex) -> IndexStanding:
    return IndexStanding("classifications", "fake-classifications", KEY, 1, current, kept=kept)


class Changing(FakeSink):
    """One index that stands otherwise each time it is looked at, the last time for good; what is dropped is kept."""

    def __init__(self, *standings: IndexStanding) -> None:
        super().__init__()
        self.standings = list(standings)
        self.dropped: list[str] = []
        self.switched: list[str] = []

    def survey(self) -> list[IndexStanding]:
        """How it stands now."""
        return [self.standings.pop(0) if len(self.standings) > 1 else self.standings[0]]

    def begin_next(self, index: IndexName) -> LiveIndex:
        """Nothing is filled here."""
        raise AssertionError(index)

    def next_sink(self) -> Sink:
        """Likewise."""
        raise AssertionError

    def count_next(self, index: IndexName) -> int:
        """Likewise."""
        raise AssertionError(index)

    def switch(self, standing: IndexStanding, target: LiveIndex) -> None:
        """Keeps to what."""
        assert standing.alias
        self.switched.append(target.index)

    def drop(self, standing: IndexStanding, target: LiveIndex) -> None:
        """Keeps what."""
        assert standing.alias
        self.dropped.append(target.index)


@pytest.fixture(autouse=True)
def _known_indices(store: Store) -> None:
    with store.transaction() as connection:
        for live in (OLD, NEW):
            exports.resolve_sink(connection, live.identity)


def test_what_another_rebuild_made_in_the_moment_before_is_not_forgotten(
    store: Store, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without its row in `sinks` every document would be sent again."""
    sink = Changing(standing(OLD), standing(NEW, OLD))

    def make_sink(settings: Settings) -> Sink:
        assert settings.database_url is not None
        return sink

    monkeypatch.setattr(wiring, "make_sink", make_sink)
    result = CliRunner().invoke(app, ["index", "drop-old"], env={"DATABASE_URL": database_url})
    assert result.exit_code == 0, result.stderr
    assert sink.dropped == [OLD.index]
    assert rows(store, "SELECT identity FROM sinks") == [(NEW.identity,)]


def test_the_switch_waits_for_those_who_export_to_what_has_the_alias_by_now(
    store: Store, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rebuild, "_LOCK_SECONDS", 0)
    before = standing(NEW, OLD)
    sink = Changing(before, standing(NEWER, NEW, OLD))
    other = Store(database_url)
    try:
        assert other.try_lock(f"export {NEWER.identity}")
        with pytest.raises(LockedError, match="another run is exporting"):
            rebuild.switch_back(store, cast("AliasSink", sink), before)
    finally:
        other.close()
    assert sink.switched == []
