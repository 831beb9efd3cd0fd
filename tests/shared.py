"""What takes long to make is made by one of the processes that run the tests, and used by all of them."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from filelock import FileLock


def made_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], object]) -> Path:
    """The folder of this name that `make` filled, whoever asked first; to change something, take a copy."""
    base = factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / f"shared-{name}"
    made = folder.with_name(f"{folder.name}.made")
    with FileLock(f"{folder}.lock"):
        if not made.exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            make(folder)
            made.touch()
    return folder


def new_database_file(factory: pytest.TempPathFactory) -> Path:
    """A SQLite file with MLflow's tables and nothing in them, to be copied: making one takes seconds."""

    def make(folder: Path) -> None:
        from flows.migration import up_to_date  # with MLflow, which tests of `sermodels` do without

        with up_to_date(f"sqlite:///{folder / 'mlflow.db'}"):
            pass

    return made_once(factory, "tables", make) / "mlflow.db"
