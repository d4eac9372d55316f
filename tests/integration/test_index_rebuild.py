"""Indices made anew beside those that searches see, on real servers of both majors: nothing lost, nothing doubled."""

import json
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.integration.release import make_release, schema_version
from tests.integration.world import REPOSITORY, World, fill, make_world
from tests.loopback.relay import Relay

INDICES = ("classifications", "daily", "runs")
WIDER = {"comments": {"type": "long"}}
"""A mapping that OpenSearch does not turn an index of the present one into."""

_WANTED = {
    "classifications": "SELECT document_id, row_version, source FROM classification_documents WHERE applies",
    "daily": "SELECT document_id, row_version, source FROM daily_documents",
    "runs": "SELECT document_id, row_version, source FROM run_documents",
}


@pytest.fixture(
    params=[
        pytest.param("opensearch_url", id="3.x", marks=pytest.mark.opensearch),
        pytest.param("opensearch2_url", id="2.19", marks=pytest.mark.opensearch2),
    ]
)
def url(request: pytest.FixtureRequest) -> str:
    return str(request.getfixturevalue(request.param))


@pytest.fixture
def world(database_url: str, url: str, tmp_path: Path) -> Iterator[World]:
    with make_world(database_url, url, tmp_path) as world:
        yield world
        drop_all(world)


def drop_all(world: World) -> None:
    found = requests.get(f"{world.opensearch_url}/{world.prefix}-*", params={"expand_wildcards": "all"}, timeout=120)
    for name in found.json():
        requests.delete(f"{world.opensearch_url}/{name}", timeout=120)


def first(index: str = "classifications") -> str:
    """How the first index of this release's version ends."""
    return f"{index}-v{schema_version(index)}"


def run_rules(world: World, code: int = 0, release: Path | None = None) -> dict[str, Any]:
    changes = {} if release is None else {"PYTHONPATH": str(release)}
    return world.run("--classifier", "rules", code=code, **changes)


def command(world: World, *arguments: str, code: int = 0, release: Path | None = None, **changes: str) -> str:
    if release is not None:
        changes["PYTHONPATH"] = str(release)
    done = world.command(*arguments, **changes)
    assert done.returncode == code, done.stderr
    return done.stdout if code == 0 else done.stderr


def standing(world: World, release: Path | None = None) -> dict[str, dict[str, Any]]:
    """What `index status` says, by real name less the prefix."""
    rows = json.loads(command(world, "index", "status", "--json", release=release))
    return {row["index"].removeprefix(f"{world.prefix}-"): row for row in rows if "index" in row}


def states(world: World) -> dict[str, str]:
    return {name: row["state"] for name, row in standing(world).items()}


def content(world: World, name: str) -> dict[str, tuple[int, dict[str, Any]]]:
    """Every document of an index: version and source by id."""
    address = f"{world.opensearch_url}/{world.prefix}-{name}"
    requests.post(f"{address}/_refresh", timeout=120).raise_for_status()
    query = {"size": 10_000, "version": True}
    hits = requests.post(f"{address}/_search", json=query, timeout=60).json()["hits"]["hits"]
    assert len(hits) < 10_000
    return {hit["_id"]: (hit["_version"], hit["_source"]) for hit in hits}


def check_same(world: World) -> None:
    """What searches see is what PostgreSQL says, source by source, and what is believed of it."""
    for index in INDICES:
        held = content(world, index)
        wanted = {row[0]: (row[1], row[2]) for row in world.rows(_WANTED[index])}
        assert held == wanted, index
        believed = world.rows(f"""
            SELECT document_id, row_version FROM exports
            JOIN current_sinks s ON s.id = sink_id WHERE s.alias LIKE '%/{world.prefix}-{index}'
            AND document_id NOT IN (SELECT document_id FROM deletions)
        """)
        assert dict(believed) == {key: version for key, (version, _) in held.items()}, index


def test_an_index_is_made_anew_and_takes_the_alias_and_the_old_one_is_kept_until_it_is_dropped(world: World) -> None:
    fill(world, 30, comments=3)
    run_rules(world)
    before = content(world, "classifications")
    assert command(world, "index", "rebuild").startswith("nothing needs it")

    told = command(world, "index", "rebuild", "classifications", "daily")
    new, old = f"{first()}-2", first()
    assert f"{world.prefix}-{new} instead of {world.prefix}-{old}: 30 documents" in told
    assert states(world) == {
        **{f"{first(index)}-2": "current" for index in ("classifications", "daily")},
        **{first(index): "kept" for index in ("classifications", "daily")},
        first("runs"): "current",
    }
    assert content(world, new) == content(world, old) == before
    checks = json.loads(world.command("doctor", "--json").stdout)
    indices = next(check for check in checks if check["name"] == "opensearch indices")
    assert indices["status"] == "ok"
    assert f"{world.prefix}-{old}, {world.prefix}-{first('daily')} beside them" in indices["detail"]
    world.github.relabel_issue(REPOSITORY, 1, "later")
    assert run_rules(world)["documents_written"] == 1
    check_same(world)
    assert content(world, old) == before
    assert run_rules(world).get("documents_written", 0) == 0

    refused = command(world, "index", "drop-old", f"{world.prefix}-{new}", code=3)
    assert f"the alias {world.prefix}-classifications points to it" in refused
    sinks = world.rows("SELECT count(*) FROM sinks")[0][0]
    told = command(world, "index", "drop-old")
    assert told.splitlines() == [f"dropped {world.prefix}-{first(index)}" for index in ("classifications", "daily")]
    assert set(states(world).values()) == {"current"}
    assert world.rows("SELECT count(*) FROM sinks") == [(sinks - 2,)]
    assert command(world, "index", "drop-old") == "nothing is kept\n"
    check_same(world)
    assert run_rules(world).get("documents_written", 0) == 0


class Writer:
    """The hourly run again and again, and a GitHub that does not stand still, until `stop`."""

    def __init__(self, world: World, **changes: str) -> None:
        self.world = world
        self.changes = changes
        self.codes: list[int] = []
        self.errors: list[str] = []
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._write)

    def __enter__(self) -> "Writer":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._thread.join()

    def wait_for(self, runs: int) -> None:
        """Returns when so many runs have ended, or the writer has."""
        while len(self.codes) < runs and self._thread.is_alive():
            time.sleep(0.1)

    def _write(self) -> None:
        number = 0
        while not self._stopped.is_set():
            for _ in range(7):
                number += 1
                self.world.github.relabel_issue(REPOSITORY, number % 40 + 1, f"wave {number}")
            self.world.github.add_issue(REPOSITORY, f"Crash number {number}", f"It crashes in wave {number}.")
            done = self.world.command(
                "run", "--repo", REPOSITORY, "--task", "issue_kind", "--classifier", "rules", **self.changes
            )
            self.codes.append(done.returncode)
            self.errors.append(done.stderr)


def check_nothing_went_back(world: World, old: str) -> None:
    """All that the old index ever held is in the one that searches see, in the same version or a newer one."""
    held = content(world, "classifications")
    for document, (version, _) in content(world, old).items():
        assert document in held
        assert held[document][0] >= version


def test_an_index_that_is_rebuilt_while_runs_write_loses_nothing(world: World) -> None:
    fill(world, 60)
    run_rules(world)

    bulks: list[str] = []

    def slow(_method: str, path: str) -> None:
        if "-next/_bulk" in path:
            bulks.append(path)
            if len(bulks) == 1:
                writer.wait_for(len(writer.codes) + 1)
            time.sleep(2)

    with Writer(world) as writer, Relay(world.opensearch_url, before=slow) as relay:
        writer.wait_for(1)
        begun = len(writer.codes)
        told = command(world, "index", "rebuild", "all", OPENSEARCH_URL=relay.url)
        during = len(writer.codes) - begun
        writer.wait_for(begun + during + 2)
    assert during > 0
    assert set(writer.codes) == {0}, writer.errors
    assert told.count(" points to ") == 3
    check_nothing_went_back(world, first())
    world.command("export")
    check_same(world)


def test_a_release_with_another_mapping_fills_its_index_while_the_earlier_one_goes_on(
    world: World, tmp_path: Path
) -> None:
    fill(world, 50)
    run_rules(world)
    release = make_release(tmp_path / "next", WIDER)
    old, new = first(), f"classifications-v{schema_version('classifications') + 1}"

    world.github.relabel_issue(REPOSITORY, 1, "new")
    refused = run_rules(world, code=3, release=release)
    assert "`issuetide index rebuild`" in refused["error"]
    assert refused["items_changed"] == 1
    assert standing(world, release=release)[old]["fits"] is False
    assert standing(world, release=release)[old]["waiting_documents"] == 1

    with Writer(world) as writer:
        writer.wait_for(1)
        told = command(world, "index", "rebuild", "--json", release=release)
    assert [(each["name"], each["new"]) for each in json.loads(told)["rebuilt"]] == [
        ("classifications", f"{world.prefix}-{new}")
    ]
    assert set(writer.codes) <= {0, 3}
    assert all("use the release that made it" in error for code, error in zip(writer.codes, writer.errors, strict=True)
               if code == 3)  # fmt: skip
    check_nothing_went_back(world, old)
    assert run_rules(world, release=release)["status"] == "ok"
    check_same(world)
    live = requests.get(f"{world.opensearch_url}/{world.prefix}-classifications/_mapping", timeout=120).json()
    assert live[f"{world.prefix}-{new}"]["mappings"]["properties"]["comments"] == {"type": "long"}

    # Back to the earlier release, and to the index that it had.
    told = command(world, "index", "switch-back", "classifications")
    assert f"points to {world.prefix}-{old} again" in told
    assert run_rules(world)["status"] == "ok"
    check_same(world)
    assert states(world)[new] == "kept"


class Killed:
    """A rebuild that is ended with kill -9 around its n-th request of a kind."""

    def __init__(self, world: World, part: str, at: int, *, before: bool) -> None:
        self.seen = 0
        self.part, self.at, self.drops = part, at, before
        hooks: dict[str, Any] = {"before" if before else "after": self.strike}
        with Relay(world.opensearch_url, **hooks) as relay:
            self.process = world.start("index", "rebuild", "all", OPENSEARCH_URL=relay.url)
            _, errors = self.process.communicate(timeout=240)
        assert self.process.returncode == -signal.SIGKILL, errors

    def strike(self, _method: str, path: str) -> None:
        """Called around every request."""
        if self.part in path:
            self.seen += 1
            if self.seen == self.at:
                self.process.kill()
                self.process.wait()
                if self.drops:
                    raise ConnectionError("the request never left")


@pytest.mark.kill
@pytest.mark.parametrize(
    ("part", "at", "before"),
    [
        ("-v", 2, False),  # the new index was made
        ("-next/_bulk", 1, True),
        ("-next/_bulk", 1, False),
        ("-next/_bulk", 2, False),
        ("_aliases", 1, True),
        ("_aliases", 1, False),
        ("_aliases", 2, False),
    ],
)
def test_a_rebuild_that_was_killed_goes_on_where_it_was(world: World, part: str, at: int, before: bool) -> None:
    fill(world, 40)
    run_rules(world)
    Killed(world, part, at, before=before)
    world.github.relabel_issue(REPOSITORY, 3, "meanwhile")
    assert run_rules(world)["status"] == "ok"
    check_same(world)
    command(world, "index", "rebuild")
    assert "next" not in states(world).values()
    run_rules(world)
    check_same(world)
    for name in standing(world):
        assert name in {first(index) for index in INDICES} | {f"{first(index)}-2" for index in INDICES}
    command(world, "index", "drop-old")
    check_same(world)


def test_two_rebuilds_at_once_are_one_and_an_unwanted_one_is_ended_by_its_name(world: World) -> None:
    fill(world, 5)
    run_rules(world)
    entered, go_on = threading.Event(), threading.Event()

    def hold(_method: str, path: str) -> None:
        if "-next/_bulk" in path:
            entered.set()
            go_on.wait(240)

    with Relay(world.opensearch_url, before=hold) as relay:
        rebuilding = world.start("index", "rebuild", "classifications", OPENSEARCH_URL=relay.url)
        try:
            assert entered.wait(120)
            assert "works on" in command(world, "index", "rebuild", "classifications", code=7)
            assert "works on" in command(world, "index", "drop-old", code=7)
            assert states(world)[f"{first()}-2"] == "next"
            assert standing(world)[f"{first()}-2"]["waiting_documents"] == 5
            # What waits is told of the index that searches see.
            waiting = json.loads(command(world, "status", "--json"))["sink"]["waiting_documents"]
            rebuilding.kill()
        finally:
            go_on.set()
            rebuilding.communicate(timeout=240)
    assert waiting == 0
    assert command(world, "index", "drop-old") == "nothing is kept\n"
    assert command(world, "index", "drop-old", f"{world.prefix}-{first()}-2") == f"dropped {world.prefix}-{first()}-2\n"
    assert set(states(world)) == {first(index) for index in INDICES}
    run_rules(world)  # brings the records of the runs that were locked out
    check_same(world)


def test_no_run_writes_while_the_aliases_are_switched_one_after_the_other(world: World) -> None:
    fill(world, 20)
    run_rules(world)
    entered, go_on = threading.Event(), threading.Event()
    switches: list[str] = []

    def hold(_method: str, path: str) -> None:
        if path.startswith("/_aliases"):
            switches.append(path)
            if len(switches) == 2:
                entered.set()
                go_on.wait(240)

    with Relay(world.opensearch_url, before=hold) as relay:
        rebuilding = world.start("index", "rebuild", "all", OPENSEARCH_URL=relay.url)
        try:
            assert entered.wait(120)
            world.github.relabel_issue(REPOSITORY, 1, "meanwhile")
            world.github.add_issue(REPOSITORY, "Crash on start", "It crashes on start.")
            running = world.start("run", "--repo", REPOSITORY, "--task", "issue_kind", "--classifier", "rules")
            fetched = "SELECT count(*) FROM items WHERE kind = 'issue'"
            while world.rows(fetched) == [(20,)] and running.poll() is None:
                time.sleep(0.1)
            with pytest.raises(subprocess.TimeoutExpired):
                running.communicate(timeout=6)
            assert world.rows(fetched) == [(21,)]
        finally:
            go_on.set()
            rebuilding.communicate(timeout=240)
        assert running.communicate(timeout=240)[0]
    assert (rebuilding.returncode, running.returncode) == (0, 0)
    check_nothing_went_back(world, first())
    check_same(world)
    assert run_rules(world).get("documents_written", 0) == 0


def test_an_index_that_took_the_alias_right_before_drop_old_is_not_forgotten(world: World) -> None:
    fill(world, 5)
    run_rules(world)
    rebuilt = threading.Event()

    def rebuild(_method: str, path: str) -> None:
        if "_count" in path and not rebuilt.is_set():
            rebuilt.set()
            command(world, "index", "rebuild", "all")

    with Relay(world.opensearch_url, after=rebuild) as relay:
        told = command(world, "index", "drop-old", OPENSEARCH_URL=relay.url)
    assert rebuilt.is_set()
    assert told.splitlines() == [f"dropped {world.prefix}-{first(index)}" for index in INDICES]
    assert run_rules(world).get("documents_written", 0) == 0
    check_same(world)


def test_an_alias_goes_back_alone(world: World) -> None:
    fill(world, 1)
    assert "'all' is no index; there are classifications" in command(world, "index", "switch-back", "all", code=3)


@pytest.mark.parametrize("is_alias", [True, False])
def test_what_has_the_name_of_the_index_being_filled_is_not_written_to(world: World, is_alias: bool) -> None:
    fill(world, 3)
    run_rules(world)
    name = f"{world.prefix}-{'other' if is_alias else 'classifications-next'}"
    body: dict[str, Any] = {"aliases": {f"{world.prefix}-classifications-next": {}}} if is_alias else {}
    requests.put(f"{world.opensearch_url}/{name}", json=body, timeout=120).raise_for_status()
    told = command(world, "index", "rebuild", "classifications", code=3)
    what = f"points to {name}, but it belongs to the index" if is_alias else "is an index but must be an alias"
    assert f"{world.prefix}-classifications-next {what}" in told
    assert run_rules(world)["status"] == "ok"
    requests.delete(f"{world.opensearch_url}/{name}", timeout=120).raise_for_status()
    command(world, "index", "rebuild", "classifications")
    run_rules(world)
    check_same(world)


def test_an_alias_that_is_an_index_is_refused_with_the_way_out(world: World) -> None:
    fill(world, 3)
    address = f"{world.opensearch_url}/{world.prefix}-daily"
    requests.put(address, timeout=120).raise_for_status()
    for words in (("index", "rebuild", "daily"), ("index", "status"), ("export",)):
        told = command(world, *words, code=3)
        assert f"{world.prefix}-daily is an index but must be an alias; the database holds all of it, so delete" in told
    requests.delete(address, timeout=120).raise_for_status()
    run_rules(world)
    command(world, "index", "rebuild", "daily")
    check_same(world)


def test_what_a_narrower_mapping_refuses_stops_the_switch_until_it_is_mended_or_left_out(
    world: World, tmp_path: Path
) -> None:
    fill(world, 3)
    for _ in range(130):
        world.github.add_comment(REPOSITORY, 2, "me too")
    run_rules(world)
    narrow = make_release(tmp_path / "narrow", {"comments": {"type": "byte"}})
    refused = command(world, "index", "rebuild", code=3, release=narrow)
    assert f"refuses 1 documents that {world.prefix}-{first()} holds" in refused
    assert "comments" in refused
    assert states(world)[first()] == "current"
    assert json.loads(command(world, "status", "--json"))["dead_letters"] == []

    left_out = world.command("index", "rebuild", "--leave-out-refused", PYTHONPATH=str(narrow))
    assert left_out.returncode == 4, left_out.stderr
    assert sorted(source["number"] for _, source in content(world, "classifications").values()) == [1, 3]
    letters = json.loads(command(world, "status", "--json", release=narrow))["dead_letters"]
    assert [letter["document"].rsplit("-", 2)[1] for letter in letters] == ["2"]
    command(world, "export", "--replay-dead-letters", code=4, release=narrow)

    # Mended: by an issue that fits, and by a mapping that takes it.
    mended = make_release(tmp_path / "mended", WIDER)
    path = tmp_path / "mended" / "schemas" / "opensearch" / "classifications.json"
    version = schema_version("classifications")
    path.write_text(path.read_text().replace(f'"schema_version": {version + 1}', f'"schema_version": {version + 2}'))
    command(world, "index", "rebuild", release=mended)
    assert run_rules(world, release=mended)["status"] == "ok"
    check_same(world)
    assert json.loads(command(world, "status", "--json", release=mended))["dead_letters"] == []


def test_what_the_new_index_lost_of_what_it_acknowledged_is_sent_again_before_the_switch(world: World) -> None:
    fill(world, 10)
    run_rules(world)
    spoilt = threading.Event()

    def spoil(_method: str, path: str) -> None:
        if "-next/_refresh" in path and not spoilt.is_set():
            spoilt.set()
            address = f"{world.opensearch_url}/{world.prefix}-classifications-next"
            ((gone, version),) = world.rows("SELECT document_id, row_version FROM document_versions LIMIT 1")
            same = {"version": version, "version_type": "external_gte"}
            requests.delete(f"{address}/_doc/{gone}", params=same, timeout=120).raise_for_status()

    with Relay(world.opensearch_url, before=spoil) as relay:
        command(world, "index", "rebuild", "classifications", OPENSEARCH_URL=relay.url)
    assert spoilt.is_set()
    run_rules(world)
    check_same(world)


def test_a_purged_issue_is_in_no_index_that_is_filled_and_is_told_of_those_that_are_kept(world: World) -> None:
    fill(world, 5)
    run_rules(world)
    Killed(world, "_aliases", 1, before=True)
    assert states(world)[f"{first()}-2"] == "next"
    purged = json.loads(command(world, "purge", f"{REPOSITORY}#2", "--why", "a test", "--yes", "--json"))
    assert purged["documents"] == 2
    command(world, "index", "rebuild")
    assert sorted(source["number"] for _, source in content(world, "classifications").values()) == [1, 3, 4, 5]
    run_rules(world)
    check_same(world)
    told = command(world, "purge", f"{REPOSITORY}#4", "--why", "a test", "--yes")
    assert "issuetide index drop-old" in told
    command(world, "index", "drop-old")
    check_same(world)


def delete(world: World, name: str) -> None:
    requests.delete(f"{world.opensearch_url}/{world.prefix}-{name}", timeout=30).raise_for_status()


def test_an_index_that_is_deleted_by_hand_is_made_anew_by_the_next_export_although_others_are_kept(
    world: World,
) -> None:
    fill(world, 12)
    run_rules(world)
    command(world, "index", "rebuild", "classifications")
    world.github.relabel_issue(REPOSITORY, 1, "later")
    run_rules(world)
    command(world, "index", "rebuild", "classifications")
    kept, current = {first(): "kept", f"{first()}-2": "kept"}, f"{first()}-3"
    delete(world, current)
    assert f"{world.prefix}-classifications: points to nothing; the next export" in command(world, "index", "status")
    assert "points to nothing" in command(world, "index", "switch-back", "classifications", code=3)

    done = world.command("export", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["documents_written"] == 12
    assert f"another index than before is sent all that it lacks now={world_identity(world, current)}" in done.stderr
    assert states(world) == {**kept, current: "current", first("daily"): "current", first("runs"): "current"}
    check_same(world)
    done = world.command("export", "--json")
    assert json.loads(done.stdout).get("documents_written", 0) == 0
    assert "another index" not in done.stderr

    # An index that only lost its alias is told from those that gave theirs away.
    alias = f"{world.opensearch_url}/{world.prefix}-{current}/_alias/{world.prefix}-classifications"
    requests.delete(alias, timeout=30).raise_for_status()
    assert run_rules(world).get("documents_written", 0) == 0
    assert states(world)[current] == "current"
    # Going back turns them round.
    command(world, "index", "switch-back", "classifications")
    delete(world, f"{first()}-2")
    assert run_rules(world)["documents_written"] == 12
    check_same(world)
    command(world, "index", "drop-old")
    assert set(states(world).values()) == {"current"}
    check_same(world)


def world_identity(world: World, name: str) -> str:
    """As the database knows the index that has this name now."""
    index = f"{world.prefix}-{name}"
    settings = requests.get(f"{world.opensearch_url}/{index}/_settings", timeout=30).json()[index]["settings"]
    cluster = requests.get(world.opensearch_url, timeout=30).json()["cluster_uuid"]
    return f"{cluster}/{index}/{settings['index']['uuid']}"


def test_an_index_that_is_deleted_while_it_is_filled_is_begun_again_by_the_next_rebuild(world: World) -> None:
    fill(world, 10)
    run_rules(world)
    deleted = threading.Event()

    def spoil(_method: str, path: str) -> None:
        if "-next/_bulk" in path and not deleted.is_set():
            deleted.set()
            delete(world, f"{first()}-2")

    with Relay(world.opensearch_url, before=spoil) as relay:
        told = command(world, "index", "rebuild", "classifications", code=8, OPENSEARCH_URL=relay.url)
    assert "the index was deleted meanwhile; run again" in told
    assert f"{world.prefix}-{first()}-2 instead of {world.prefix}-{first()}: 10 documents" in command(
        world, "index", "rebuild"
    )
    run_rules(world)
    check_same(world)
    assert command(world, "index", "rebuild").startswith("nothing needs it")

    # One that another release had begun goes, and what is known of it as well.
    other = f"{world.prefix}-classifications-v9"
    body: dict[str, Any] = {"aliases": {f"{world.prefix}-classifications-next": {}}}
    requests.put(f"{world.opensearch_url}/{other}", json=body, timeout=30).raise_for_status()
    identity = world_identity(world, "classifications-v9")
    world.execute(f"INSERT INTO sinks (identity) VALUES ('{identity}')")
    assert f"{world.prefix}-{first()}-3 instead of" in command(world, "index", "rebuild")
    assert world.rows(f"SELECT count(*) FROM sinks WHERE identity = '{identity}'") == [(0,)]
    assert command(world, "index", "rebuild").startswith("nothing needs it")


def test_a_rebuild_that_has_nothing_to_do_does_nothing_and_fills_what_is_not_there(world: World) -> None:
    fill(world, 4)
    run_rules(world)
    records = content(world, "runs")
    assert command(world, "index", "rebuild").startswith("nothing needs it")
    assert content(world, "runs") == records

    delete(world, first("daily"))
    assert states(world).keys() == {first("classifications"), first("runs")}
    told = command(world, "index", "rebuild")
    assert told.startswith(f"{world.prefix}-daily points to {world.prefix}-{first('daily')}: ")
    assert content(world, "daily")
    assert run_rules(world).get("documents_written", 0) == 0
    check_same(world)
