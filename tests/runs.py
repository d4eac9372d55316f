"""Runs over pages that live in memory, each in a store of its own as every process has, and what they leave behind."""

from dataclasses import replace
from typing import Any

from sqlalchemy import text

from etl.db.store import Store
from etl.pipeline import Fetch, Plan, RunOutcome, run
from etl.records import Item, Scope
from tests.fakes import FakeSource, SilentProgress


def url_of(store: Store) -> str:
    """Where the store's database is, for another store on it."""
    return store.engine.url.render_as_string(hide_password=False)


def run_with(store: Store, plan: Plan, *pages: Any, dry_run: bool = False, **changes: Any) -> RunOutcome:
    """A run of `plan` with these changes that reads these pages; without any it works on what is stored."""
    fetches = (Fetch(FakeSource(*pages), Scope(tuple(plan.repositories))),) if pages else ()
    own = Store(url_of(store), dry_run=dry_run)  # its locks end with it
    try:
        return run(own, replace(plan, fetches=fetches, **changes), SilentProgress())
    finally:
        own.close()


def run_items(store: Store, plan: Plan, *items: Item, dry_run: bool = False, **changes: Any) -> RunOutcome:
    """A run of `plan` with these changes that reads one page of these items, and that page also where it is empty."""
    return run_with(store, plan, items, dry_run=dry_run, **changes)


def rows(store: Store, statement: str) -> list[Any]:
    """What the database answers: rows that are like tuples, and have their columns as attributes."""
    with store.transaction() as connection:
        return list(connection.execute(text(statement)))
