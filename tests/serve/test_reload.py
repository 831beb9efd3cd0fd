"""A newer bundle is served without a restart and without a request that fails; a bad one is not served at all."""

import asyncio
import gc
import json
import re
import signal
import time
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from serve.answers import GeneratedClip, GenerationRequest
from serve.errors import BundleError
from serve.models import Models
from serve.service import Service
from serve.settings import Settings
from tests.serve.serving import Server, serving, some_wav, within
from tests.serve.versions import LABELS, damage, point_at, write_version

REQUESTS_PER_S = 50
RECORDING = some_wav(0.3)


class Load:
    """Requests at a steady rate, whatever becomes of those before; when each began, and who answered what."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.answers: list[tuple[float, str, str]] = []
        """When the request was sent, the version that answered, and the emotion that it heard."""
        self.failed: list[str] = []
        self.took_s: list[float] = []
        self.switched: float | None = None

    async def run(self, switch: Callable[[], None], *, before_s: float, after_s: float) -> None:
        """Load the server, switch in the middle, and go on for a while after the other version was seen."""
        async with httpx.AsyncClient(base_url=self.url, timeout=60) as client:
            began, requests = time.perf_counter(), []
            waiting = asyncio.create_task(self._until_switched(client, switch, before_s))
            while self.switched is None or time.perf_counter() < self.switched + after_s:
                await asyncio.sleep(max(0.0, began + len(requests) / REQUESTS_PER_S - time.perf_counter()))
                requests.append(asyncio.create_task(self._ask(client)))
            await asyncio.gather(waiting, *requests)

    async def _until_switched(self, client: httpx.AsyncClient, switch: Callable[[], None], before_s: float) -> None:
        await asyncio.sleep(before_s)
        before = version_of((await client.get("/v1/model")).json())
        switch()
        while version_of((await client.get("/v1/model")).json()) == before:
            await asyncio.sleep(0.05)
        self.switched = time.perf_counter()

    async def _ask(self, client: httpx.AsyncClient) -> None:
        sent = time.perf_counter()
        try:
            answer = await client.post("/v1/classify", files={"file": RECORDING})
            body = answer.raise_for_status().json()
        except httpx.HTTPError as error:
            self.failed.append(repr(error))
        else:
            self.took_s.append(time.perf_counter() - sent)
            self.answers.append((sent, version_of(body), body["emotion"]))


def version_of(body: dict[str, Any]) -> str:
    return str(body["model"]["version"])


def heard_by(version: str) -> str:
    """What this version hears in everything."""
    return LABELS[int(version) % len(LABELS)]


@pytest.fixture(scope="module")
def places(bundle_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with versions 3 and 4 of a champion, 3 being current, and no challenger yet."""
    folder = tmp_path_factory.mktemp("served")
    (folder / "challenger").mkdir()
    for number in (3, 4):
        write_version(folder / "champion" / f"version-{number}", number, generator=bundle_folder)
    point_at(folder / "champion" / "version-3")
    return folder


@pytest.fixture(scope="module")
def server(places: Path) -> Iterator[Server]:
    with serving(places / "champion", "--challenger", str(places / "challenger"), demo=True) as started:
        yield started


def classified(server: Server, role: str = "champion") -> Any:
    return httpx.post(f"{server.url}/v1/classify?model={role}", files={"file": RECORDING}, timeout=60)


def refusals(server: Server) -> float:
    text = httpx.get(f"{server.url}/metrics", timeout=60).text
    return float(re.findall(r'^sermodels_bundle_switches_total\{outcome="refused"\} (\S+)', text, re.M)[0])


def about(server: Server) -> str:
    """What the tab About says to somebody who opens the page now."""
    config = httpx.get(f"{server.url}/config", timeout=60).json()
    said = [
        httpx.post(f"{server.url}/gradio_api/run/predict", json={"data": [], "fn_index": entry["id"]}, timeout=60).text
        for entry in config["dependencies"]
        if [name for _, name in entry["targets"]] == ["load"]
    ]
    assert len(said) == 2
    return "\n".join(said)


@pytest.mark.timeout(300)
def test_no_request_fails_when_the_champion_changes_under_load(places: Path, server: Server) -> None:
    load, lines = Load(server.url), []

    async def generating() -> None:
        """A generation that begins before the switch and ends after it."""
        body = {"emotion": LABELS[0], "steps": 20, "count": 16, "stream": True}
        async with (
            httpx.AsyncClient(base_url=server.url, timeout=120) as client,
            client.stream("POST", "/v1/generate", json=body) as answer,
        ):
            lines.extend([json.loads(line) async for line in answer.aiter_lines()])

    async def everything() -> None:
        switch = lambda: point_at(places / "champion" / "version-4")  # noqa: E731
        await asyncio.gather(load.run(switch, before_s=2.0, after_s=2.0), generating())

    assert version_of(classified(server).json()) == "3"
    asyncio.run(everything())
    assert load.failed == []
    assert load.switched is not None
    assert len(load.answers) >= 4 * REQUESTS_PER_S
    assert {version for _, version, _ in load.answers} == {"3", "4"}
    assert all(emotion == heard_by(version) for _, version, emotion in load.answers), "a version answers for itself"
    assert {version for sent, version, _ in load.answers if sent > load.switched} == {"4"}
    events = [line["event"] for line in lines]
    assert events == ["started", *["progress"] * 20, *["clip"] * 16, "done"]
    assert {line["verdict"]["emotion"] for line in lines if line["event"] == "clip"} <= {
        heard_by("3"),
        heard_by("4"),
    }
    assert "Traceback" not in server.log
    assert "champion version 4 instead of champion version 3" in server.log


def test_everything_names_the_new_version(server: Server) -> None:
    assert version_of(httpx.get(f"{server.url}/v1/model", timeout=60).json()) == "4"
    assert httpx.get(f"{server.url}/v2/models/ser-classifier", timeout=60).json()["versions"] == ["4"]
    assert httpx.get(f"{server.url}/v2/models/ser-classifier/versions/3", timeout=60).status_code == 404
    text = httpx.get(f"{server.url}/metrics", timeout=60).text
    assert re.findall(r'^sermodels_bundle_info\{.*role="champion".*version="(\d+)"', text, re.M) == ["4"]
    assert 'sermodels_bundle_switches_total{outcome="taken"} 1.0' in text
    assert "ser-classifier, version 4" in about(server)
    for method in ("GET", "HEAD"):
        assert httpx.request(method, f"{server.url}/readyz", timeout=60).status_code == 200
        assert httpx.request(method, f"{server.url}/healthz", timeout=60).status_code == 200


@pytest.mark.parametrize(
    ("number", "labels", "harm", "reason"),
    [
        (5, LABELS, damage, "classifier.onnx: sha256 is "),
        (6, LABELS[::-1], lambda folder: folder, "labels sadness,"),
    ],
    ids=["damaged", "other labels"],
)
def test_a_bundle_that_is_no_good_is_refused(
    places: Path, server: Server, number: int, labels: tuple[str, ...], harm: Callable[[Path], Path], reason: str
) -> None:
    before, folder = refusals(server), places / "champion" / f"version-{number}"
    point_at(harm(write_version(folder, number, labels=labels)))
    within(server, lambda: refusals(server) > before, timeout_s=60.0)
    (line,) = [line for line in server.lines if "refused, champion version 4 goes on" in line and folder.name in line]
    assert "ERROR" in line
    assert reason in line
    assert version_of(classified(server).json()) == "4"
    assert httpx.get(f"{server.url}/readyz", timeout=60).status_code == 200
    time.sleep(2.5)
    assert refusals(server) == before + 1, "it is tried again only when it changes"


def test_a_bundle_that_is_mended_in_its_place_is_taken(places: Path, server: Server) -> None:
    folder = places / "champion" / "version-7"
    whole = write_version(places / "whole", 7)
    point_at(damage(write_version(folder, 7)))
    within(server, lambda: any(folder.name in line for line in server.lines), timeout_s=60.0)
    (folder / "classifier.onnx").write_bytes((whole / "classifier.onnx").read_bytes())
    within(server, lambda: version_of(classified(server).json()) == "7", timeout_s=60.0)
    refused = httpx.post(f"{server.url}/v1/generate", json={"emotion": LABELS[0]}, timeout=60)
    assert refused.status_code == 404, "this version classifies only"


def test_a_challenger_comes_and_goes(places: Path, server: Server) -> None:
    assert classified(server, "challenger").status_code == 404
    folder = places / "challenger"
    point_at(write_version(folder / "version-8", 8))
    within(server, lambda: classified(server, "challenger").status_code == 200, timeout_s=60.0)
    body = classified(server, "challenger").json()
    assert (version_of(body), body["emotion"]) == ("8", heard_by("8"))
    assert "Challenger" in about(server)
    (folder / "current").unlink()
    (folder / "version-8").rename(places / "away")
    within(server, lambda: classified(server, "challenger").status_code == 404, timeout_s=60.0)
    assert 'role="challenger"' not in httpx.get(f"{server.url}/metrics", timeout=60).text
    server.process.send_signal(signal.SIGTERM)
    assert server.wait() == 0, server.log
    assert "Traceback" not in server.log


def resident_bytes() -> int:
    """Memory of this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


def test_many_switches_leave_no_models_behind(bundle_folder: Path, service_settings: Settings) -> None:
    """Of seven sets of models one is left, and a generation that outlived two of them was whole."""
    old: list[weakref.ref[Models]] = []
    resident: list[int] = []

    async def switch(service: Service) -> None:
        with service.in_use() as models:
            old.append(weakref.ref(models))
        del models
        await service.replace(await asyncio.to_thread(service.load_models))
        gc.collect()
        await asyncio.sleep(0.5)
        resident.append(resident_bytes())

    async def run() -> list[GeneratedClip]:
        service = Service.load(bundle_folder, challenger=bundle_folder, settings=service_settings)
        await service.start()
        events = service.generate(GenerationRequest.model_validate({"emotion": LABELS[0], "steps": 3, "count": 2}))
        await anext(events)
        for _ in range(2):
            await switch(service)
        assert [one() is None for one in old] == [False, True], "the first set is in use"
        clips = [event async for event in events if isinstance(event, GeneratedClip)]
        for _ in range(4):
            await switch(service)
        assert [one() for one in old] == [None] * 6
        await service.stop()
        return clips

    assert len(asyncio.run(run())) == 2
    assert resident[-1] - resident[2] < 100e6, resident  # one set is more


def test_what_cannot_take_over_is_stopped_and_forgotten(
    bundle_folder: Path, service_settings: Settings, tmp_path: Path
) -> None:
    async def run() -> str:
        service = Service.load(bundle_folder, settings=service_settings)
        await service.start()
        other = Service.load(write_version(tmp_path / "other", 9, labels=LABELS[::-1]), settings=service_settings)
        with pytest.raises(BundleError, match="labels") as caught:
            await service.replace(other.load_models())
        assert (await service.classify(RECORDING)).bundle.manifest.provenance.classifier.version == "3"
        await service.stop()
        return str(caught.value)

    assert asyncio.run(run()).endswith("restart it")
