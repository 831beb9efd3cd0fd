"""prefect.yaml on a real server with a real worker: schedules fire, runs wait their turn, failures are told."""

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from mlflow import MlflowClient
from prefect import flow, task
from prefect.blocks.notifications import CustomWebhookNotificationBlock
from prefect.settings import PREFECT_API_URL, temporary_settings

from flows.notify import BLOCK_VARIABLE, notify
from flows.retries import IO_TASK
from sermodels.errors import CorpusError
from tests.end_to_end.conftest import ROOT, TINY

EVERY_MINUTE = "* * * * *"
POOL = "sermodels"


class Listener(BaseHTTPRequestHandler):
    """Keeps the JSON of every POST."""

    heard: list[dict[str, str]]

    def do_POST(self) -> None:
        self.heard.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *arguments: object) -> None:
        """Nothing on standard error."""


@pytest.fixture
def webhook(prefect_api: str) -> Iterator[list[dict[str, str]]]:
    """What a real HTTP server is sent through the block custom-webhook/ops."""
    heard: list[dict[str, str]] = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Own", (Listener,), {"heard": heard}))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    block = CustomWebhookNotificationBlock(
        name="ops",
        url=f"http://127.0.0.1:{server.server_port}/",
        json_data={"subject": "{{subject}}", "body": "{{body}}"},
    )
    with temporary_settings({PREFECT_API_URL: prefect_api}):
        block.save("ops", overwrite=True)
        yield heard
    server.shutdown()
    server.server_close()


class Site:
    """A checkout with prefect.yaml, its deployments on the server, and a worker."""

    def __init__(self, folder: Path, api: str, environment: dict[str, str]) -> None:
        self.folder, self.api = folder, api
        self.environment = environment | {"PWD": str(folder), BLOCK_VARIABLE: "custom-webhook/ops"}
        for name in ("flows", "serve", "sermodels", "presets"):
            (folder / name).symlink_to(ROOT / name)

    def write(self, change: Callable[[dict[str, dict[str, Any]]], None]) -> None:
        """The project's prefect.yaml with a few things changed."""
        content = yaml.safe_load((ROOT / "prefect.yaml").read_text(encoding="utf-8"))
        change({deployment["name"]: deployment for deployment in content["deployments"]})
        (self.folder / "prefect.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")

    def prefect(self, *arguments: str) -> None:
        """Run a command to its end."""
        done = subprocess.run(
            [sys.executable, "-m", "prefect", *arguments],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=600,
        )
        assert done.returncode == 0, done.stdout + done.stderr

    def ask(self, path: str, body: dict[str, Any] | None = None, method: str = "POST") -> Any:
        """What the server answers; while its SQLite is busy it says 503 and is asked again, as by Prefect's client."""
        for _ in range(40):
            response = httpx.request(method, f"{self.api}{path}", json=body, timeout=120)
            if response.status_code != httpx.codes.SERVICE_UNAVAILABLE:
                break
            time.sleep(0.5)
        response.raise_for_status()
        return response.json() if response.content else None

    def deployments(self) -> dict[str, dict[str, Any]]:
        """All deployments by name."""
        return {one["name"]: one for one in self.ask("/deployments/filter", {})}

    def runs(self, deployment: str) -> list[dict[str, Any]]:
        """Runs of a deployment whose time has come, the first first."""
        name = {"any_": [deployment]}
        found = self.ask("/flow_runs/filter", {"deployments": {"name": name}, "sort": "EXPECTED_START_TIME_ASC"})
        return [run for run in found if run["state_name"] != "Scheduled"]

    def wait_for(self, what: Callable[[], Any], says: str, within_s: float = 900.0) -> Any:
        """The first answer that is not empty."""
        deadline = time.monotonic() + within_s
        while time.monotonic() < deadline:
            if answer := what():
                return answer
            time.sleep(0.5)
        log = (self.folder / "worker.log").read_text(encoding="utf-8")
        pytest.fail(f"{says}: not within {within_s} s\n{log[-5000:]}")


@pytest.fixture
def site(tmp_path: Path, prefect_api: str, environment: dict[str, str]) -> Iterator[Site]:
    """Its deployments are deleted at the end, so that no other test's server is busy with them."""
    site = Site(tmp_path, prefect_api, environment)
    yield site
    for deployment in site.deployments().values():
        site.ask(f"/deployments/{deployment['id']}", method="DELETE")


@pytest.fixture
def worker(site: Site) -> Iterator["subprocess.Popen[bytes]"]:
    """A worker of the pool, in the checkout."""
    site.prefect("work-pool", "create", POOL, "--type", "process", "--overwrite")
    command = [sys.executable, "-m", "prefect", "worker", "start", "--pool", POOL]
    with open(site.folder / "worker.log", "w") as log:
        process = subprocess.Popen(
            command,
            cwd=site.folder,
            env=site.environment | {"PREFECT_WORKER_QUERY_SECONDS": "1"},
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    yield process
    process.terminate()
    try:
        process.wait(timeout=30)
    except subprocess.TimeoutExpired:  # it waits for a run that the server still thinks of
        process.kill()
        process.wait()


@pytest.mark.usefixtures("worker")
def test_schedules_fire_queue_and_report(
    site: Site, corpus: Path, webhook: list[dict[str, str]], tmp_path: Path
) -> None:
    def change(deployments: dict[str, dict[str, Any]]) -> None:
        for name in ("nightly", "data-watch"):
            deployments[name]["schedules"][0]["cron"] = EVERY_MINUTE
        deployments["nightly"]["parameters"]["training"]["preset"] = "nowhere"
        small = {"preset": str(TINY), "data_dir": str(corpus), "stages": "A", "overrides": "training.epochs=1"}
        deployments["data-watch"]["parameters"]["training"] = small

    site.write(change)
    site.prefect("--no-prompt", "deploy", "--all")
    deployed = site.deployments()
    check_deployed(deployed)

    site.wait_for(lambda: site.runs("nightly") and started(site), "schedules fire")
    for name in ("nightly", "data-watch"):  # once is enough
        site.ask(f"/deployments/{deployed[name]['id']}/pause_deployment", {})
    second = site.ask(f"/deployments/{deployed['data-watch']['id']}/create_flow_run", {"name": "second"})
    site.wait_for(lambda: is_queued(site, second["id"]), "a second run waits its turn")
    site.wait_for(lambda: any("nightly" in message["subject"] for message in webhook), "a failure is told")
    site.wait_for(lambda: state_of(site, second["id"]) == "Completed", "the second run has its turn")
    check_runs(site, second["id"])
    check_message(webhook)
    check_tracking(tmp_path)


def check_deployed(deployed: dict[str, dict[str, Any]]) -> None:
    """Every deployment, one run at a time, and a form with titles, limits and choices."""
    assert set(deployed) == {"nightly", "data-watch", "drift-watch", "synthesis-on-demand"}
    for deployment in deployed.values():
        assert deployment["concurrency_options"]["collision_strategy"] == "ENQUEUE"
        assert deployment["global_concurrency_limit"]["limit"] == 1
    form = deployed["synthesis-on-demand"]["parameter_openapi_schema"]["definitions"]["SynthesisRequest"]["properties"]
    assert all(field["title"] and field["description"] and "default" in field for field in form.values())
    assert (form["count"]["minimum"], form["count"]["maximum"]) == (1, 200)
    assert form["emotions"]["items"]["enum"][:2] == ["anger", "disgust"]


def state_of(site: Site, run_id: str) -> str:
    """The name of a run's state."""
    return str(site.ask(f"/flow_runs/{run_id}", method="GET")["state_name"])


def started(site: Site) -> bool:
    """Whether the first run of the watch is at work."""
    return [run["state_name"] for run in site.runs("data-watch")][:1] == ["Running"]


def is_queued(site: Site, run_id: str) -> bool:
    """Whether the run waits for the one before it, which still runs."""
    return state_of(site, run_id) == "AwaitingConcurrencySlot" and started(site)


def check_runs(site: Site, second: str) -> None:
    """Runs of the schedule and the one asked for trained, never two at once."""
    done = [run for run in site.runs("data-watch") if run["state_name"] == "Completed"]
    first, *later = sorted(done, key=lambda run: str(run["start_time"]))
    assert first["auto_scheduled"]
    assert second in [run["id"] for run in later]
    times = [(run["start_time"], run["end_time"]) for run in (first, *later)]
    assert all(end <= start for (_, end), (start, _) in pairwise(times)), times
    failed = [run for run in site.runs("nightly") if run["state_name"] == "Failed"]
    assert failed
    assert failed[0]["auto_scheduled"]


def check_message(webhook: list[dict[str, str]]) -> None:
    """The message says which run failed and why."""
    (message, *_) = [message for message in webhook if "nightly" in message["subject"]]
    assert message["subject"].endswith("Failed")
    assert "ConfigError" in message["body"]
    assert "nowhere" in message["body"]
    assert not [message for message in webhook if "data-watch" in message["subject"]]


def check_tracking(folder: Path) -> None:
    """The pipeline ran once, on the corpus that the watch found changed, and registered what it trained."""
    client = MlflowClient(f"sqlite:///{folder / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("sermodels")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id])
    (parent,) = [run for run in runs if "mlflow.parentRunId" not in run.data.tags]
    assert parent.info.status == "FINISHED"
    assert len(parent.data.tags["corpus_digest"]) == 64
    assert {run.data.tags.get("stage") for run in runs} == {None, "caching", "baseline", "gate", "export"}
    assert client.get_model_version_by_alias("ser-classifier", "champion").tags["letter"] == "A"


def test_variants_fit_their_work_pools(prefect_api: str) -> None:
    pools = (
        httpx.get(f"{prefect_api}/collections/views/aggregate-worker-metadata", timeout=30).raise_for_status().json()
    )
    templates = {kind: worker for package in pools.values() for kind, worker in package.items()}
    variants = yaml.safe_load((ROOT / "prefect.yaml").read_text(encoding="utf-8"))["definitions"]
    for kind in ("process", "docker", "kubernetes"):
        known = templates[kind]["default_base_job_configuration"]["variables"]["properties"]
        assert set(variants[kind]["work_pool"].get("job_variables", {})) <= set(known)


@pytest.mark.parametrize(("error", "tries"), [(ConnectionError, 3), (CorpusError, 1), (FileNotFoundError, 1)])
def test_only_what_may_pass_is_tried_again(prefect_api: str, error: type[Exception], tries: int) -> None:
    calls = []

    @task(**IO_TASK | {"retry_delay_seconds": 0})
    def reads() -> None:
        calls.append(error)
        raise error("recordings")

    @flow
    def once() -> None:
        reads()

    with temporary_settings({PREFECT_API_URL: prefect_api}), pytest.raises(error):
        once()
    assert len(calls) == tries


def test_notifications_never_fail(webhook: list[dict[str, str]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(BLOCK_VARIABLE, raising=False)
    assert not notify("nobody", "hears")
    monkeypatch.setenv(BLOCK_VARIABLE, "custom-webhook/missing")
    assert not notify("no", "such block")
    monkeypatch.setenv(BLOCK_VARIABLE, "custom-webhook/ops")
    assert notify("ser-classifier", "version 2 is champion")
    assert webhook == [{"subject": "ser-classifier", "body": "version 2 is champion"}]
