"""/v1/generate and /v1/edit on a real, tiny bundle: whole, line by line, and cancelled."""

import base64
import dataclasses
import io
import json
import threading
import time
import wave
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from starlette.testclient import TestClient

from serve.app import create_app
from serve.service import Service
from serve.settings import Settings
from tests.serve.serving import problem, some_wav

STEPS = 3
UPLOAD = {"file": ("clip.wav", some_wav(), "audio/wav")}


@pytest.fixture(scope="module")
def service(bundle_folder: Path, service_settings: Settings) -> Service:
    return Service.load(bundle_folder, settings=dataclasses.replace(service_settings, max_duration_s=20))


@pytest.fixture(scope="module")
def client(service: Service) -> Iterator[TestClient]:
    with TestClient(create_app(service, with_demo=False)) as opened:
        yield opened


def generate(client: TestClient, **fields: Any) -> Any:
    """What /v1/generate answers."""
    return client.post("/v1/generate", json={"steps": STEPS} | fields)


def test_generate(client: TestClient, service: Service) -> None:
    answer = generate(client, emotion=service.labels[0], count=2, seed=7)
    assert answer.status_code == 200, answer.text
    clips = answer.json()["clips"]
    assert [clip["number"] for clip in clips] == [0, 1]
    for clip in clips:
        with wave.open(io.BytesIO(base64.b64decode(clip["wav"]))) as file:
            assert (file.getnchannels(), file.getsampwidth()) == (1, 2)
            assert file.getframerate() == clip["sample_rate_hz"]
            assert file.getnframes() / file.getframerate() == pytest.approx(clip["duration_s"])
        assert np.isfinite(np.array(clip["log_mel_db"])).all()
        assert sum(clip["verdict"]["probabilities"].values()) == pytest.approx(1.0, abs=1e-5)
        assert (clip["emotion"], clip["seed"]) == (service.labels[0], 7)
    assert clips[0]["wav"] != clips[1]["wav"]
    again = generate(client, emotion=service.labels[0], count=2, seed=7).json()["clips"]
    assert [clip["wav"] for clip in again] == [clip["wav"] for clip in clips]


def test_generate_as_sound(client: TestClient, service: Service) -> None:
    fields = {"emotion": service.labels[0], "steps": STEPS}
    answer = client.post("/v1/generate", json=fields, headers={"Accept": "audio/wav"})
    assert answer.headers["content-type"] == "audio/wav"
    with wave.open(io.BytesIO(answer.content)) as file:
        assert file.getnframes() > 0
    refused = client.post("/v1/generate", json=fields | {"count": 2}, headers={"Accept": "audio/wav"})
    assert refused.status_code == 422
    assert "audio/wav holds one clip" in problem(refused)["message"]


def test_generate_line_by_line(client: TestClient, service: Service) -> None:
    answer = generate(client, emotion=service.labels[0], stream=True)
    assert answer.headers["content-type"] == "application/x-ndjson"
    events = [json.loads(line) for line in answer.text.splitlines()]
    assert [event["event"] for event in events] == ["started", *["progress"] * STEPS, "clip", "done"]
    assert events[0]["request_id"] == answer.headers["X-Request-ID"]
    assert [event["step"] for event in events[1:-2]] == [1, 2, 3]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    "fields",
    [
        {"emotion": "boredom of a cat"},
        {"steps": 1000},
        {"steps": 0},
        {"count": 17},
        {"count": 0},
        {"seed": -1},
        {"intensity": 3},
        {"guidance_scale": 11},
        {"unknown": 1},
        {"emotion": None},
    ],
    ids=str,
)
def test_what_generate_refuses(client: TestClient, service: Service, fields: dict[str, Any], stream: bool) -> None:
    answer = generate(client, **({"emotion": service.labels[0], "stream": stream} | fields))
    assert answer.status_code == 422, answer.text
    assert problem(answer)["type"] == "invalid"


@pytest.mark.parametrize("stream", [False, True])
def test_cancel_by_id(client: TestClient, service: Service, stream: bool) -> None:
    answers: list[Any] = []
    steps = len(service.bundle.manifest.diffusion.sigmas) if service.bundle.manifest.diffusion else 1
    fields = {"emotion": service.labels[0], "steps": steps, "count": 16, "stream": stream}

    def ask() -> None:
        answers.append(client.post("/v1/generate", json=fields, headers={"X-Request-ID": "stop-me"}))

    thread = threading.Thread(target=ask)
    thread.start()
    deadline = time.monotonic() + 30
    while (cancelled := client.delete("/v1/generate/stop-me")).status_code == 404 and time.monotonic() < deadline:
        time.sleep(0.005)
    thread.join(30)
    assert (cancelled.status_code, cancelled.json()["request_id"]) == (202, "stop-me")
    if stream:
        last = json.loads(answers[0].text.splitlines()[-1])
        assert (last["event"], last["error"]["type"]) == ("error", "cancelled")
    else:
        assert answers[0].status_code == 409
        assert problem(answers[0])["type"] == "cancelled"
    assert problem(client.delete("/v1/generate/stop-me"))["type"] == "not_found"


def test_edit(client: TestClient, service: Service) -> None:
    answer = client.post("/v1/edit", files=UPLOAD, data={"emotion": service.labels[1], "strength": "0.5", "steps": "4"})
    assert answer.status_code == 200, answer.text
    assert len(answer.json()["clips"]) == 1


@pytest.mark.parametrize("stream", ["false", "true"])
def test_what_edit_refuses(client: TestClient, service: Service, stream: str) -> None:
    emotion = service.labels[1]
    for file, data, status in [
        (b"text", {"emotion": emotion}, 415),
        (b"", {"emotion": emotion}, 422),
        (some_wav(21), {"emotion": emotion}, 413),
        (some_wav(), {"emotion": emotion, "strength": "2"}, 422),
        (some_wav(), {"emotion": "boredom of a cat"}, 422),
        (some_wav(), {"emotion": emotion, "steps": "21"}, 422),
        (some_wav(), {"strength": "0.5"}, 422),
        (some_wav(), {"emotion": emotion, "unknown": "1"}, 422),
    ]:
        refused = client.post("/v1/edit", files={"file": file}, data=data | {"stream": stream})
        assert refused.status_code == status, (data, refused.text)
        assert problem(refused)["message"]
