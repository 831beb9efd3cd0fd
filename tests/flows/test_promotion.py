"""Promotion and rollback on a real registry: worse refused, better promoted, crashes, races, nothing there."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import mlflow
import pytest
from mlflow import MlflowClient
from mlflow.entities import Run

from flows import aliases, registry, tracking
from flows.aliases import LostLockError
from flows.promotion import gate_registered
from flows.registry import CLASSIFIER_MODEL, RegistryError
from flows.rollback import rollback
from flows.served import fetch_bundle
from serve.bundle import CLASSIFIER
from tests.flows.small_registry import HALF, RIGHT, WRONG, SmallRegistry, holder, make_registry, register, served

ROOT = Path(__file__).resolve().parents[2]
LOCK = aliases.LOCK_NAME.format(CLASSIFIER_MODEL, "champion")
GATE = "import sys; from flows.promotion import gate_registered; gate_registered.fn(sys.argv[1])"


def use(database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let MLflow work on this database."""
    for name in ("MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_NAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{database}")
    monkeypatch.chdir(database.parent)
    mlflow.set_tracking_uri(f"sqlite:///{database}")


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SmallRegistry]:
    """Made once; tests work on copies of its database."""
    folder = tmp_path_factory.mktemp("registry")
    with pytest.MonkeyPatch.context() as patch:
        use(folder / "mlflow.db", patch)
        yield make_registry(folder)


@pytest.fixture
def small(template: SmallRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[MlflowClient]:
    """A copy of the registry: version 1, always wrong, is champion; 2 and 3 are candidates."""
    shutil.copy(template.database, tmp_path / "mlflow.db")
    use(tmp_path / "mlflow.db", monkeypatch)
    yield MlflowClient()
    while mlflow.active_run():
        mlflow.end_run()


def gate(version: str) -> str:
    """The gate's word on a version, in this process and without Prefect."""
    return gate_registered.fn(version).word


def test_better_is_promoted_worse_refused_and_rollback_undoes(small: MlflowClient, tmp_path: Path) -> None:
    assert gate(RIGHT) == "passed"
    assert (holder("champion"), served("champion")) == (RIGHT, RIGHT)
    assert (holder("challenger"), served("challenger")) == ("", "")
    bundle = fetch_bundle(tmp_path / "served")
    assert bundle is not None
    assert bundle.manifest.provenance.classifier.version == RIGHT

    assert gate(HALF) == "refused"
    assert (holder("champion"), served("champion")) == (RIGHT, RIGHT)
    assert (holder("challenger"), served("challenger")) == (HALF, HALF)
    tags = small.get_model_version(CLASSIFIER_MODEL, HALF).tags
    assert tags["gate.against"] == f"{CLASSIFIER_MODEL} {RIGHT}"
    assert "recall of sadness (champion 1.000): 0, at least 0.95" in tags["gate.reasons"]
    assert "recall of anger" not in tags["gate.reasons"]
    check_runs(small, tags["gate.run"])

    with pytest.raises(RegistryError, match="champion already"):
        gate(RIGHT)
    check_rollback(small)


def check_runs(client: MlflowClient, run_id: str) -> None:
    """The gate's run has the candidate's figures, the one below it the champion's, both of the held-out clips."""
    run = client.get_run(run_id)
    assert (run.info.status, run.data.tags["decision"]) == ("FINISHED", "refused")
    (below,) = client.search_runs([run.info.experiment_id], f"tags.`mlflow.parentRunId` = '{run_id}'")
    figures = ("uar", "recall_anger", "recall_sadness")
    assert [run.data.metrics[name] for name in figures] == [0.5, 1.0, 0.0]
    assert [below.data.metrics[name] for name in figures] == [1.0, 1.0, 1.0]
    assert run.data.metrics["gate/uar_gain_low"] == -0.5
    assert run.data.metrics["gate/latency_ratio"] > 0
    assert {"decision.md"} <= {file.path for file in client.list_artifacts(run_id)}


def check_rollback(client: MlflowClient) -> None:
    """Back to the champion before, never on again by itself, and forth by name."""
    rollback(CLASSIFIER_MODEL, "", "users complained")
    assert (holder("champion"), served("champion")) == (WRONG, WRONG)
    assert client.get_model_version(CLASSIFIER_MODEL, RIGHT).tags[aliases.WITHDRAWN_TAG] == "users complained"
    assert gate(RIGHT) == "refused"
    assert "rolled back" in client.get_model_version(CLASSIFIER_MODEL, RIGHT).tags["gate.reasons"]

    with pytest.raises(RegistryError, match=f"replaced no champion; versions .* before: {RIGHT} "):
        rollback(CLASSIFIER_MODEL, "", "once more")
    with pytest.raises(RegistryError, match=f"version {HALF} has never been champion"):
        rollback(CLASSIFIER_MODEL, HALF, "by hand")
    assert (holder("champion"), served("champion")) == (WRONG, WRONG)
    rollback(CLASSIFIER_MODEL, RIGHT, "it was the microphone")
    assert (holder("champion"), served("champion")) == (RIGHT, RIGHT)
    assert aliases.WITHDRAWN_TAG not in client.get_model_version(CLASSIFIER_MODEL, RIGHT).tags


@pytest.mark.timeout(1200)
def test_a_crash_leaves_the_old_champion_and_a_race_ends_with_the_best(small: MlflowClient, tmp_path: Path) -> None:
    """Two processes judge against the same champion and wait to move the alias; one dies there, and a third comes."""
    small.create_registered_model(LOCK, description="the test")
    racing, dying = (start_gate(tmp_path, version) for version in (HALF, RIGHT))
    with ThreadPoolExecutor(1) as pool:
        try:
            wait_for_decisions(small, 2)
            dying.kill()
            dying.wait()
            assert small.get_model_version(CLASSIFIER_MODEL, RIGHT).tags["gate.decision"] == "passed"
            assert (holder("champion"), served("champion")) == (WRONG, WRONG)
            again = pool.submit(gate, RIGHT)
            wait_for_decisions(small, 3)
        finally:
            small.delete_registered_model(LOCK)
            dying.kill()
        assert again.result(timeout=900) == "passed"
        assert racing.wait(timeout=900) == 0, (tmp_path / f"{HALF}.log").read_text(encoding="utf-8")
    assert (holder("champion"), served("champion")) == (RIGHT, RIGHT)
    half, right = (small.get_model_version(CLASSIFIER_MODEL, version).tags for version in (HALF, RIGHT))
    half_came_first = aliases.PREVIOUS_TAG in half
    assert half["gate.decision"] == ("passed" if half_came_first else "refused")
    replaced = HALF if half_came_first else WRONG
    assert right[aliases.PREVIOUS_TAG] == replaced
    assert right["gate.against"] == f"{CLASSIFIER_MODEL} {replaced}"
    assert half["gate.against"] == f"{CLASSIFIER_MODEL} {WRONG if half_came_first else RIGHT}"
    tracking.setup()
    assert sorted(run.info.status for run in gate_runs(small)) == ["FINISHED", "FINISHED", "KILLED"]


def start_gate(folder: Path, version: str) -> "subprocess.Popen[bytes]":
    """A process that lets a version through the gate."""
    own = {"PYTHONPATH": str(ROOT), "PREFECT_HOME": str(folder / "prefect"), "OMP_NUM_THREADS": "1"}
    with open(folder / f"{version}.log", "wb") as log:
        return subprocess.Popen(
            [sys.executable, "-c", GATE, version], env=os.environ | own, cwd=folder, stdout=log, stderr=log
        )


def gate_runs(client: MlflowClient, query: str = "tags.stage = 'gate'") -> list[Run]:
    experiment = client.get_experiment_by_name(tracking.EXPERIMENT)
    assert experiment is not None
    return list(client.search_runs([experiment.experiment_id], query))


def wait_for_decisions(client: MlflowClient, count: int) -> None:
    """Until so many gates have let their candidate through; who holds the lock shows that it is alive."""
    deadline = time.monotonic() + 1500
    while len(gate_runs(client, "tags.decision = 'passed'")) < count:
        assert time.monotonic() < deadline, f"fewer than {count} gates have decided"
        client.update_registered_model(LOCK, description=f"the test at {time.monotonic()}")
        time.sleep(0.2)


def test_the_champion_is_compared_with_the_champion_of_the_moment(small: MlflowClient) -> None:
    wrong, half, right = (small.get_model_version(CLASSIFIER_MODEL, number) for number in (WRONG, HALF, RIGHT))
    assert aliases.crown(right, None, replacing=wrong)
    assert not aliases.crown(half, None, replacing=wrong)
    assert aliases.crown(right, None, replacing=wrong), "two that promote the same version agree"
    assert holder("champion") == RIGHT
    assert aliases.PREVIOUS_TAG not in small.get_model_version(CLASSIFIER_MODEL, HALF).tags


def test_the_lock_of_a_dead_process_is_taken_over(small: MlflowClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aliases, "LEASE_S", 0.3)
    small.create_registered_model(LOCK, description="dead")
    with aliases.locked(CLASSIFIER_MODEL, "champion") as still_held:
        still_held()
        small.update_registered_model(LOCK, description="another")
        with pytest.raises(LostLockError, match="run it again"):
            still_held()
    assert small.get_registered_model(LOCK).description == "another", "nobody else's lock is given up"


@pytest.mark.parametrize(
    ("parts", "tags", "reason"),
    [
        (None, {"synthetic_speech": "true"}, "trained on people, as the champion is"),
        ({"training": ("10", "11"), "development": ("13",), "test": ("03", "08", "09")}, {}, "held-out speakers"),
        ({"training": ("03",), "development": ("08",), "test": ("10", "11")}, {}, "held-out speakers"),
    ],
    ids=["synthetic speech", "another split", "two speakers"],
)
def test_what_cannot_be_compared_is_refused_before_anything_is_exported(
    small: MlflowClient,
    template: SmallRegistry,
    tmp_path: Path,
    parts: dict[str, tuple[str, ...]] | None,
    tags: dict[str, str],
    reason: str,
) -> None:
    given = {"parts": parts} if parts else {}
    version = register(template, tmp_path, "new", lambda classifier: None, tags=tags, **given)
    assert gate(str(version.version)) == "refused"
    assert reason in small.get_model_version(CLASSIFIER_MODEL, version.version).tags["gate.reasons"]
    assert (holder("champion"), holder("challenger")) == (WRONG, "")
    assert registry.exports_of(version) == []


@pytest.mark.usefixtures("small")
def test_recordings_that_are_elsewhere_are_named(template: SmallRegistry) -> None:
    data = Path(template.context.config.corpus.data_dir)
    data.rename(data.with_name("elsewhere"))
    try:
        with pytest.raises(RegistryError, match=r"\.wav: is not on this machine"):
            gate(RIGHT)
    finally:
        data.with_name("elsewhere").rename(data)
    assert holder("champion") == WRONG


def test_without_a_champion_absolute_checks_decide(small: MlflowClient) -> None:
    for name in (CLASSIFIER_MODEL, registry.ONNX_NAMES[CLASSIFIER_MODEL]):
        small.delete_registered_model_alias(name, "champion")
    with pytest.raises(RegistryError, match="no ser-classifier@champion is registered; there is nothing to undo"):
        rollback(CLASSIFIER_MODEL, "", "by hand")
    assert gate(HALF) == "passed"
    assert (holder("champion"), served("champion")) == (HALF, HALF)
    assert small.get_model_version(CLASSIFIER_MODEL, HALF).tags["gate.against"] == ""


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda: gate("challenger"), "there is no ser-classifier@challenger; name one"),
        (lambda: gate("99"), "there is no ser-classifier 99; name one"),
        (lambda: gate("first"), "there is no ser-classifier first; name one"),
        (lambda: rollback(CLASSIFIER_MODEL, "", "by hand"), "replaced no champion; .* before: none"),
        (lambda: rollback(CLASSIFIER_MODEL, "99", "by hand"), "version 99 has never been champion"),
    ],
)
@pytest.mark.usefixtures("small")
def test_what_is_not_there_is_named(ask: Callable[[], object], message: str) -> None:
    with pytest.raises(RegistryError, match=message):
        ask()
    assert (holder("champion"), served("champion")) == (WRONG, WRONG)


def test_an_empty_registry_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use(tmp_path / "mlflow.db", monkeypatch)
    with pytest.raises(RegistryError, match="no ser-classifier is registered; train one: make run"):
        gate("challenger")
    with pytest.raises(RegistryError, match="no ser-classifier@champion is registered"):
        rollback(CLASSIFIER_MODEL, "", "by hand")
    assert MlflowClient().search_runs([MlflowClient().get_experiment_by_name(tracking.EXPERIMENT).experiment_id]) == []


def test_a_rollback_keeps_to_whole_bundles(small: MlflowClient, tmp_path: Path) -> None:
    """A version that was exported again as challenger, the classifier alone, is served with all that it has."""
    bundle, wrong = fetch_bundle(tmp_path / "served"), small.get_model_version(CLASSIFIER_MODEL, WRONG)
    assert bundle is not None
    whole = holder("champion", registry.ONNX_NAMES[CLASSIFIER_MODEL])
    with tracking.open_run("export", tags={}):
        alone = registry.register_onnx(bundle.path(CLASSIFIER), wrong, key="alone", place="bundle-challenger")
    assert int(alone.version) > int(whole)
    rollback(CLASSIFIER_MODEL, WRONG, "once more")
    assert holder("champion", registry.ONNX_NAMES[CLASSIFIER_MODEL]) == whole
