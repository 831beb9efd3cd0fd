"""The tracking database, made and brought up to date once, however many processes start at the same time."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import mlflow.db
import mlflow.store.db_migrations
import sqlalchemy
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from filelock import FileLock
from sqlalchemy.engine import URL, Connection, make_url

from flows.server_errors import ServerError, masked
from sermodels.files import storage_error

CONNECT_TIMEOUT_S = 10
ADVISORY_LOCK = 0x5E12_0DE1
"""Any number that nobody else takes; of processes that ask PostgreSQL for it, one gets it."""


@contextmanager
def up_to_date(uri: str) -> Iterator[None]:
    """Migrate the database at `uri`; until the block ends, no other process of this project opens it.

    Nothing happens to an http address: its server looks after its database. Raises ServerError and StorageError.
    """
    backend = uri.partition(":")[0].partition("+")[0]
    if backend not in ("sqlite", "postgresql"):
        yield
        return
    try:
        url = make_url(uri)
    except (sqlalchemy.exc.ArgumentError, ValueError) as error:
        raise ServerError(f"MLFLOW_TRACKING_URI={masked(uri)}: not the address of a database ({error})") from error
    with _sqlite_lock(url) if backend == "sqlite" else _postgresql_lock(url):
        _migrate(url)
        yield


@contextmanager
def _sqlite_lock(url: URL) -> Iterator[None]:
    """A lock file beside the database."""
    if not url.database or url.database == ":memory:":
        yield
        return
    file = Path(url.database)
    lock = FileLock(f"{file}.lock")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except OSError as error:
        raise storage_error(file, error) from error
    try:
        yield
    finally:
        lock.release()


@contextmanager
def _postgresql_lock(url: URL) -> Iterator[None]:
    """An advisory lock in the database; it ends with the connection, so that a killed process holds nobody up."""
    with _connected(url) as connection:
        connection.exec_driver_sql(f"SELECT pg_advisory_lock({ADVISORY_LOCK})")
        yield


@contextmanager
def _connected(url: URL) -> Iterator[Connection]:
    """A connection, without the minutes of retries in which MLflow would repeat a wrong password."""
    waiting = {"connect_timeout": CONNECT_TIMEOUT_S} if url.get_backend_name() == "postgresql" else {}
    engine = sqlalchemy.create_engine(url, connect_args=waiting, isolation_level="AUTOCOMMIT")
    try:
        with engine.connect() as connection:
            yield connection
    finally:
        engine.dispose()


def _migrate(url: URL) -> None:
    """Create the tables, or bring those of an older MLflow up to date; a copy of a SQLite file is kept then."""
    with _connected(url) as connection:
        found = MigrationContext.configure(connection).get_current_revision()
    wanted = ScriptDirectory(mlflow.store.db_migrations.__path__[0]).get_current_head()
    if found == wanted:
        return
    if found and url.get_backend_name() == "sqlite":
        print(f"{url.database}: brought up to date for this MLflow; as it was before: {_backup(url, found)}")
    whole = url.render_as_string(hide_password=False)
    try:
        mlflow.db.upgrade.main([whole], standalone_mode=False)
    except CommandError as error:
        raise ServerError(
            f"{masked(whole)}: its tables are of another MLflow ({error}); use that MLflow, or restore a backup"
        ) from error


def _backup(url: URL, revision: str) -> Path:
    """A copy of a SQLite database, consistent also while others write."""
    file = Path(str(url.database))
    copy = file.with_name(f"{file.name}.{revision}")
    with closing(sqlite3.connect(file)) as source, closing(sqlite3.connect(copy)) as target:
        source.backup(target)
    return copy
