"""A real PostgreSQL of Debian's package, in a folder of its own, on a free port, with a password."""

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.services.servers import free_port

USER, PASSWORD = "sermodels", "correctHorse1"


@dataclass(frozen=True)
class Postgres:
    """A running server, and the programs that go with it."""

    programs: Path
    port: int

    def url(self, database: str, *, driver: str = "postgresql", password: str = PASSWORD) -> str:
        """The address of a database."""
        return f"{driver}://{USER}:{password}@127.0.0.1:{self.port}/{database}"

    def run(self, program: str, *arguments: str) -> None:
        """A program such as pg_dump on this server."""
        place = ["--host=127.0.0.1", f"--port={self.port}", f"--username={USER}"]
        environment = os.environ | {"PGPASSWORD": PASSWORD}
        command = [str(self.programs / program), *place, *arguments]
        subprocess.run(command, env=environment, check=True, capture_output=True, text=True, timeout=60)

    def create(self, *databases: str) -> None:
        """New, empty databases."""
        for database in databases:
            self.run("createdb", database)


@contextmanager
def running_postgres() -> Iterator[Postgres]:
    """Start a server on a new cluster; skips the test where PostgreSQL is not installed."""
    programs = _programs()
    with tempfile.TemporaryDirectory(prefix="postgres-") as name:
        folder, user = Path(name), _user()
        password = folder / "password"
        password.write_text(PASSWORD)
        for path in (folder, password):
            shutil.chown(path, **user)
        cluster = ["-D", str(folder / "data")]
        _call([programs / "initdb", *cluster, "-U", USER, "-A", "scram-sha-256", f"--pwfile={password}", "-N"], user)
        port = free_port()
        options = f"-h 127.0.0.1 -p {port} -k {folder} -c fsync=off"
        _call([programs / "pg_ctl", *cluster, "-w", "-l", folder / "log", "-o", options, "start"], user)
        try:
            yield Postgres(programs, port)
        finally:
            _call([programs / "pg_ctl", *cluster, "-w", "-m", "immediate", "stop"], user)


def _programs() -> Path:
    """The folder of the newest version's programs."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    if found:
        return found[-1].parent
    on_path = shutil.which("initdb")
    if on_path is None:
        pytest.skip("PostgreSQL is not installed; on Debian: apt-get install postgresql")
    return Path(on_path).parent


def _user() -> dict[str, Any]:
    """Whose process it is: PostgreSQL refuses to run as root."""
    if os.geteuid() != 0:
        return {"user": os.geteuid(), "group": os.getegid()}
    entry = pwd.getpwnam("postgres")
    return {"user": entry.pw_uid, "group": entry.pw_gid}


def _call(command: list[str | Path], user: dict[str, Any]) -> None:
    """Run a program as that user. Its output is dropped: the server, its child, would keep a pipe open."""
    other = {**user, "extra_groups": []} if os.geteuid() == 0 else {}
    environment = {"PATH": os.defpath, "LC_ALL": "C.UTF-8"}
    subprocess.run(
        [str(part) for part in command],
        env=environment,
        cwd="/",
        check=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        timeout=60,
        **other,
    )
