"""The notebook for Colab, run as it is on the demo corpus; and its server, watched for drift from its training data."""

import io
import json
import shutil
import socket
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import mlflow
import pytest
import soundfile
from mlflow import MlflowClient
from mlflow.entities import Run
from prefect.client.orchestration import get_client
from prefect.settings import PREFECT_API_URL, temporary_settings

from flows.drift import DETECTED, EVENT, NONE, TOO_FEW, drift
from sermodels.audio import resample
from sermodels.errors import SermodelsError
from tests.end_to_end.conftest import ROOT, TINY, clean_environment

NOTEBOOK = ROOT / "notebooks" / "colab.ipynb"
RETRAIN = "speech-emotion-recognition/on-drift"


@dataclass(frozen=True)
class Colab:
    """A notebook that has run: its table, and its server that still runs."""

    table: list[dict[str, Any]]
    link: str
    workspace: Path
    watch_dir: Path
    environment: dict[str, str]

    @property
    def tracking_uri(self) -> str:
        return f"sqlite:///{self.workspace / 'mlflow.db'}"

    def drift_run(self) -> Run:
        """The newest drift run."""
        client = MlflowClient(self.tracking_uri)
        experiment = client.get_experiment_by_name("sermodels")
        assert experiment is not None
        return client.search_runs([experiment.experiment_id], "tags.stage = 'drift'")[0]

    def answer(self, recordings: Sequence[bytes]) -> None:
        """Send recordings to the server, and wait until each has its record."""
        before = self._kept()
        with httpx.Client(base_url=self.link, timeout=60) as client:
            for recording in recordings:
                assert client.post("/v1/classify", files={"file": recording}).status_code == 200
        deadline = time.monotonic() + 30
        while self._kept() < before + len(recordings):
            assert time.monotonic() < deadline
            time.sleep(0.1)

    def _kept(self) -> int:
        return sum(len(path.read_text("utf-8").splitlines()) for path in self.watch_dir.glob("*.jsonl"))


@pytest.fixture(scope="module")
def colab(
    tmp_path_factory: pytest.TempPathFactory, corpus: Path, prefect_api: str, prefect_home: Path
) -> Iterator[Colab]:
    folder = tmp_path_factory.mktemp("colab")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    settings = {
        "CORPORA": "folder",
        "DATA_DIR": str(corpus),
        "PRESET": str(TINY),
        "OVERRIDES": "training.epochs=2 diffusion.epochs=1",
        "WORKSPACE": str(folder / "workspace"),
        "PORT": port,
    }
    environment = clean_environment() | {
        "PREFECT_API_URL": prefect_api,
        "PREFECT_HOME": str(prefect_home),
        "PYTHONPATH": str(ROOT),
        "OMP_NUM_THREADS": "1",
        "TQDM_DISABLE": "1",
        "SERMODELS_DEVICE": "cpu",
        "SERMODELS_WATCH_DIR": str(folder / "watch"),
    }
    environment.pop("MLFLOW_TRACKING_URI", None)  # the notebook chooses it
    command = [sys.executable, str(Path(__file__).with_name("notebook.py")), str(NOTEBOOK), json.dumps(settings)]
    with (
        open(folder / "log", "w+", encoding="utf-8") as log,
        subprocess.Popen(
            command, cwd=folder, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True
        ) as kernel,
    ):
        assert kernel.stdout is not None
        last = next((line for line in kernel.stdout if line.startswith("ENDED ")), None)
        assert last is not None, (folder / "log").read_text("utf-8")[-3000:]
        table = json.loads(last.removeprefix("ENDED "))
        yield Colab(table, f"http://127.0.0.1:{port}", folder / "workspace", folder / "watch", environment)
        kernel.communicate()  # ends its input, at which it stops the server
        assert kernel.returncode == 0


def test_the_notebook_is_thin_and_clean() -> None:
    notebook = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    assert set(notebook) == {"cells", "metadata", "nbformat", "nbformat_minor"}
    assert (notebook["nbformat"], notebook["nbformat_minor"]) == (4, 5)
    common = {"cell_type", "id", "metadata", "source"}
    for cell in notebook["cells"]:
        assert set(cell) == common | ({"execution_count", "outputs"} if cell["cell_type"] == "code" else set())
        assert cell.get("outputs", []) == []
        assert cell.get("execution_count") is None
    assert len({cell["id"] for cell in notebook["cells"]}) == len(notebook["cells"])
    lines = [line for cell in notebook["cells"] for line in cell["source"]]
    assert len(lines) < 100, "its logic belongs into the package"
    assert not [line for line in lines if line.startswith(("def ", "class "))]


def test_what_the_notebook_installs_has_its_presets(tmp_path: Path) -> None:
    for name in ("sermodels", "serve", "flows", "presets", "pyproject.toml", "README.md", "LICENSE"):
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, tmp_path / name)
    options = ["--wheel", "--no-build-isolation", "--offline", "--python", sys.executable]
    command = [str(Path(sys.executable).with_name("uv")), "build", *options]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (wheel,) = (tmp_path / "dist").glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    presets = {f"presets/{path.name}" for path in (ROOT / "presets").glob("*.yaml")}
    assert presets == {name for name in names if name.startswith("presets/")}
    assert {"flows/__main__.py", "serve/export/bundle_writer.py", "sermodels/presets.py"} <= set(names)


def test_the_notebook_trains_shows_its_table_and_opens_the_demo(colab: Colab) -> None:
    assert [row["stage"] for row in colab.table] == ["A", "B", "C", "D"]
    assert all(0 <= row["test UAR"] <= 1 for row in colab.table)
    assert "Classify" in httpx.get(colab.link, timeout=60).text


def voices(corpus: Path, *, telephone: bool = False, count: int = 54) -> list[bytes]:
    """Every second recording of the corpus; by telephone there is nothing of it above 2 kHz, and it is quiet."""
    return [_by_telephone(path) if telephone else path.read_bytes() for path in sorted(corpus.rglob("*.wav"))[::2]][
        :count
    ]


def _by_telephone(path: Path) -> bytes:
    waveform, rate_hz = soundfile.read(path, dtype="float32")
    file = io.BytesIO()
    soundfile.write(file, 0.1 * resample(waveform, from_hz=rate_hz, to_hz=4_000), 4_000, format="WAV")
    return file.getvalue()


@pytest.fixture
def here(colab: Colab, prefect_api: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """This process on the notebook's MLflow and the session's Prefect."""
    before = mlflow.get_tracking_uri()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", colab.tracking_uri)
    monkeypatch.delenv("MLFLOW_EXPERIMENT_NAME", raising=False)
    mlflow.set_tracking_uri(colab.tracking_uri)
    with temporary_settings({PREFECT_API_URL: prefect_api}):
        yield
    mlflow.set_tracking_uri(before)


@pytest.mark.usefixtures("here")
def test_what_it_was_trained_on_is_no_drift(colab: Colab, corpus: Path) -> None:
    colab.answer(voices(corpus))
    assert drift(colab.watch_dir, colab.workspace, min_records=50) == NONE
    run = colab.drift_run()
    assert run.info.status == "FINISHED"
    assert run.data.tags["outcome"] == NONE
    assert run.data.metrics["records"] == 54
    assert run.data.metrics["drifted_share"] < 0.3

    assert drift(colab.watch_dir, colab.workspace, min_records=1_000) == TOO_FEW
    run = colab.drift_run()
    assert run.info.status == "FINISHED"
    assert run.data.tags["outcome"] == TOO_FEW
    assert "54 answers" in run.data.tags["mlflow.note.content"]


@pytest.mark.usefixtures("here")
def test_drift_is_reported_and_retrains_once(colab: Colab, corpus: Path) -> None:
    with get_client(sync_client=True) as prefect:
        flow = prefect.create_flow_from_name(RETRAIN.split("/")[0])
        deployment = prefect.create_deployment(flow, RETRAIN.split("/")[1])
    shutil.rmtree(colab.watch_dir)
    colab.answer(voices(corpus, telephone=True))
    options = [f"--watch-dir={colab.watch_dir}", f"--workspace={colab.workspace}", "--min-records=50"]
    done = subprocess.run(
        [sys.executable, "-m", "flows", "drift", *options, f"--retrain={RETRAIN}"],
        env=colab.environment | {"MLFLOW_TRACKING_URI": colab.tracking_uri},
        cwd=colab.workspace,
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert "drift in 54 answers" in done.stdout + done.stderr
    first = colab.drift_run()
    check_report(colab, first)
    assert drift(colab.watch_dir, colab.workspace, min_records=50, retrain=RETRAIN) == DETECTED
    assert colab.drift_run().data.tags["retraining"] == first.data.tags["retraining"], "one retraining a version"
    with get_client(sync_client=True) as prefect:
        (started,) = [run for run in prefect.read_flow_runs() if run.deployment_id == deployment]
        prefect.delete_deployment(deployment)
    assert str(started.id) == first.data.tags["retraining"]
    check_event(colab, first)


def check_report(colab: Colab, run: Run) -> None:
    """Figures, and a page that loads nothing from elsewhere."""
    assert run.info.status == "FINISHED"
    drifted = run.data.tags["drifted"].split(", ")
    assert {"high_band_db", "level_db"} <= set(drifted)
    assert run.data.metrics["drifted_share"] == pytest.approx(len(drifted) / 11)
    client = MlflowClient(colab.tracking_uri)
    page = Path(client.download_artifacts(run.info.run_id, "drift.html")).read_text("utf-8")
    assert "//" not in page.replace(page[page.index("base64,") : page.rindex('"')], "")
    assert "<script" not in page
    figures = json.loads(Path(client.download_artifacts(run.info.run_id, "drift.json")).read_text("utf-8"))
    assert {name for name, column in figures.items() if column["drifted"]} == set(drifted)
    assert figures["level_db"]["answers"]["median"] < figures["level_db"]["reference"]["median"] - 10


def check_event(colab: Colab, run: Run) -> None:
    """Prefect has heard of it, so that an automation can react."""
    deadline = time.monotonic() + 60
    query = {"filter": {"event": {"name": [EVENT]}}}
    while not (
        found := httpx.post(f"{colab.environment['PREFECT_API_URL']}/events/filter", json=query).json()["events"]
    ):
        assert time.monotonic() < deadline
        time.sleep(1)
    assert run.info.run_id in {event["payload"]["mlflow_run_id"] for event in found}
    assert found[0]["resource"]["prefect.resource.id"] == "sermodels.model.ser-classifier"


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"watch_dir": Path("nowhere")}, "nowhere: no such folder"),
        ({"min_share": 0.0}, "min_share 0.0"),
        ({"retrain": "speech-emotion-recognition/on-drfit"}, "no deployment 'speech-emotion-recognition/on-drfit'"),
        ({"model": "ser-classifier@nobody"}, "there is no ser-classifier@nobody"),
    ],
    ids=lambda value: str(value)[:20],
)
def test_what_drift_refuses(colab: Colab, options: dict[str, Any], named: str) -> None:
    values = {"watch_dir": colab.watch_dir, "workspace": colab.workspace, "min_records": 1} | options
    with pytest.raises(SermodelsError, match=named):
        drift.fn(**values)
