"""What `python -m flows clean` lists, asks and deletes, on a real SQLite store and a real workspace."""

import os
import time
from pathlib import Path

import pytest
from filelock import FileLock
from mlflow import MlflowClient

from flows import registry, tracking
from flows.__main__ import main
from flows.sweeper import PARENT_TAG
from sermodels.store import StageResult, run_stage

OLD_S = 48 * 3600


class Store:
    """Runs and stages of the past."""

    def __init__(self, client: MlflowClient, workspace: Path) -> None:
        self.client, self.workspace = client, workspace

    def run(
        self, name: str, status: str, *, parent: str = "", stage: StageResult | None = None, old: bool = True
    ) -> str:
        """A run that ended two days ago, with an artifact."""
        at = int((time.time() - (OLD_S if old else 0)) * 1000)
        tags = ({PARENT_TAG: parent} if parent else {}) | ({tracking.STAGE_KEY_TAG: stage.key} if stage else {})
        run_id = str(self.client.create_run(tracking.experiment_id(), at, tags, name).info.run_id)
        self.client.log_text(run_id, "x" * 1000, "note.txt")
        self.client.set_terminated(run_id, status, at)
        return run_id

    def stage(self, number: int, *, old: bool = True) -> StageResult:
        """A stage in the workspace."""
        result = run_stage(self.workspace, "baseline", {"number": number}, lambda folder: None)
        for path in (result.folder, *result.folder.iterdir()):
            at = time.time() - (OLD_S if old else 0)
            os.utime(path, (at, at))
        return result

    def runs(self) -> set[str]:
        """The runs that are there."""
        return {run.info.run_id for run in self.client.search_runs([tracking.experiment_id()])}

    def clean(self, *options: str) -> int:
        return main(["clean", f"--workspace={self.workspace}", *options])


@pytest.fixture
def store(client: MlflowClient, tmp_path: Path) -> Store:
    return Store(client, tmp_path / "workspace")


def fill(store: Store) -> tuple[set[str], set[str], list[StageResult], list[StageResult]]:
    """Runs that stay and that go, stages that stay and that go."""
    again, once, unused, new = store.stage(1), store.stage(2), store.stage(3), store.stage(4, old=False)
    good = store.run("good", "FINISHED")
    stay = {good, store.run("good child", "FINISHED", parent=good, stage=again)}
    goes = {store.run("failed child", "FAILED", parent=good)}
    repeated = store.run("killed, then repeated", "KILLED")
    goes |= {repeated, store.run("logged again", "FINISHED", parent=repeated, stage=again)}
    unrepeated = store.run("killed, and never repeated", "KILLED")
    stay |= {unrepeated, store.run("the only one", "FINISHED", parent=unrepeated, stage=once)}
    stay |= {store.run("failed just now", "FAILED", old=False), store.run("still there", "RUNNING")}
    return stay, goes, [again, once, new], [unused]


def test_what_is_dead_goes_and_the_rest_stays(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    stay, goes, kept, unused = fill(store)
    folder = Path("mlruns") / tracking.experiment_id()
    assert store.clean("--yes") == 0
    out = capsys.readouterr().out
    assert "3 runs and 1 stage folders can go, 0.0 MB" in out
    assert all(run in out for run in goes)
    assert store.runs() == stay
    assert {note.parent.parent.name for note in folder.rglob("note.txt")} == stay
    assert [stage.folder.exists() for stage in (*kept, *unused)] == [True] * 3 + [False]
    assert store.clean("--yes") == 0
    assert "0 runs and 0 stage folders can go" in capsys.readouterr().out


@pytest.mark.parametrize(("answer", "gone"), [("y", 3), ("n", 0), ("", 0)])
def test_it_asks(store: Store, monkeypatch: pytest.MonkeyPatch, answer: str, gone: int) -> None:
    stay, goes, _, _ = fill(store)
    terminal, screen = os.openpty()
    os.write(terminal, f"{answer}\n".encode())
    with os.fdopen(screen) as typed:
        monkeypatch.setattr("sys.stdin", typed)
        assert store.clean() == 0
    os.close(terminal)
    assert len(store.runs()) == len(stay) + len(goes) - gone


def test_nothing_goes_where_nobody_can_be_asked(
    store: Store, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stay, goes, _, unused = fill(store)
    with open("/dev/null") as nobody:
        monkeypatch.setattr("sys.stdin", nobody)
        assert store.clean() == 1
    assert "add --yes" in capsys.readouterr().err
    assert store.runs() == stay | goes
    assert unused[0].folder.exists()


def test_a_registered_version_keeps_its_run(store: Store) -> None:
    failed = store.run("failed after it had registered", "FAILED")
    store.client.create_registered_model(registry.CLASSIFIER_MODEL)
    source = store.client.get_run(failed).info.artifact_uri
    store.client.create_model_version(registry.CLASSIFIER_MODEL, source, failed)
    assert store.clean("--yes") == 0
    assert store.runs() == {failed}


def test_a_workspace_of_another_server_is_left_alone(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    store.run("good", "FINISHED")
    stage = store.stage(1)
    assert store.clean("--yes") == 0
    assert "knows none of its stages" in capsys.readouterr().out
    assert stage.folder.exists()


def test_a_stage_that_is_worked_on_stays(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    known, unused = store.stage(1), store.stage(2)
    store.run("good", "FINISHED", stage=known)
    with FileLock(unused.folder.with_suffix(".lock")):
        assert store.clean("--yes") == 0
    assert "in use, and left alone" in capsys.readouterr().out
    assert unused.folder.exists()
