"""The store: one engine, short transactions, the locks of a run. A dry run's store forgets everything at its end."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from hashlib import blake2b

from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import DBAPIError

from etl.db.connection import open_engine, translated_errors

_ITEM_WRITERS = 7_460_321_001
"""Advisory lock of every transaction that writes `items`: they are short, and in turn they cannot deadlock."""


def lock_number(name: str) -> int:
    """The 63-bit number that stands for `name` in PostgreSQL's advisory locks."""
    return int.from_bytes(blake2b(name.encode(), digest_size=8).digest(), "big") >> 1


class Store:
    """Transactions and locks on one database.

    With `dry_run` all transactions are savepoints of one outer transaction on one connection, which `close` rolls
    back: everything is computed on what would be there, nothing stays.
    """

    def __init__(self, url: str, *, dry_run: bool = False) -> None:
        self.engine: Engine = open_engine(url)
        self.dry_run = dry_run
        self._outer: Connection | None = None
        self._guard: Connection | None = None

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """A connection in a transaction: committed at the end of the block, rolled back on any error.

        Raises:
            ConfigurationError: the server refuses the login.
            UnavailableError: the server is out of reach or was lost.
        """
        with translated_errors(self.engine):
            if not self.dry_run:
                with self.engine.begin() as connection:
                    yield connection
                return
            if self._outer is None:
                self._outer = self.engine.connect()
                self._outer.begin()
            with self._outer.begin_nested():
                yield self._outer

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A connection whose long reads see one moment, while other transactions of this store go on writing."""
        if self.dry_run:
            with self.transaction() as connection:
                yield connection
            return
        with translated_errors(self.engine), self.engine.connect() as connection:
            connection = connection.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
            with connection.begin():
                # Between two portions the other side may have to be waited for; no lock is held meanwhile.
                connection.execute(text("SET LOCAL idle_in_transaction_session_timeout = 0"))
                yield connection

    def try_lock(self, name: str) -> bool:
        """Takes the lock `name` until `close`; False if another process holds it. Taking it twice is fine.

        The lock belongs to a transaction on a connection of its own, so it ends with this process however that ends,
        and holds behind a pooler in transaction mode as well (a session's lock would not).
        """
        with translated_errors(self.engine):
            if self._guard is None:
                self._guard = self.engine.connect()
                self._guard.execute(text("SET LOCAL idle_in_transaction_session_timeout = 0"))
            return bool(
                self._guard.execute(text("SELECT pg_try_advisory_xact_lock(:n)"), {"n": lock_number(name)}).scalar_one()
            )

    def close(self) -> None:
        """Lets go of the locks and, on a dry run, of everything that was computed."""
        for connection in (self._outer, self._guard):
            if connection is not None:
                with suppress(DBAPIError):  # the server has gone, and with it what would be let go here
                    connection.close()
        self._outer = self._guard = None
        self.engine.dispose()


def serialize_item_writers(connection: Connection) -> None:
    """Waits until this transaction is the only one that writes `items`; ends with the transaction."""
    connection.execute(text("SELECT pg_advisory_xact_lock(:n)"), {"n": _ITEM_WRITERS})
