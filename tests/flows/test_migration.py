"""The tracking database on a real SQLite file: made once, brought up to date, refused when it is too new."""

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from alembic.script import ScriptDirectory
from mlflow.store import db_migrations

from flows.migration import up_to_date
from flows.server_errors import ServerError
from sermodels.errors import StorageError
from tests.flows.first_starts import check_first_starts

HEAD = ScriptDirectory(db_migrations.__path__[0]).get_current_head()


def revision(file: Path) -> str:
    """Which MLflow's tables a database has."""
    with closing(sqlite3.connect(file)) as connection:
        (found,) = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    return str(found)


def set_revision(file: Path, value: str) -> None:
    """Pretend that another MLflow made a database."""
    with closing(sqlite3.connect(file)) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = ?", (value,))


def test_processes_that_start_together_on_a_new_file(tmp_path: Path) -> None:
    check_first_starts(f"sqlite:///{tmp_path / 'new' / 'mlflow.db'}", tmp_path)


@pytest.fixture
def database(tmp_path: Path, new_database: Path) -> Path:
    """A database of this MLflow."""
    file = Path(shutil.copy(new_database, tmp_path / "mlflow.db"))
    assert revision(file) == HEAD
    return file


def test_an_older_database_is_brought_up_to_date_and_kept(database: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from alembic import command
    from mlflow.store.db.utils import _get_alembic_config

    command.downgrade(_get_alembic_config(f"sqlite:///{database}"), "-1")
    older = revision(database)
    assert older != HEAD
    with up_to_date(f"sqlite:///{database}"):
        assert revision(database) == HEAD
    assert revision(database.with_name(f"mlflow.db.{older}")) == older
    assert "as it was before" in capsys.readouterr().out


def test_a_database_of_a_newer_mlflow_is_left_alone(database: Path) -> None:
    set_revision(database, "fffffffffff0")
    with pytest.raises(ServerError, match="tables are of another MLflow"), up_to_date(f"sqlite:///{database}"):
        pass
    assert revision(database) == "fffffffffff0"


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match=r"file/mlflow\.db"), up_to_date(f"sqlite:///{tmp_path}/file/mlflow.db"):
        pass


def test_an_address_that_is_none() -> None:
    with (
        pytest.raises(ServerError, match=r"postgresql://x:\*\*\*@host:port/db"),
        up_to_date("postgresql://x:y@host:port/db"),
    ):
        pass
