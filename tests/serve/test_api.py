"""/v1 and its neighbours on a real, tiny bundle."""

import dataclasses
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from starlette.testclient import TestClient

from sermodels.adaptation import adapt
from serve.app import create_app
from serve.service import Service
from serve.settings import Settings
from tests.serve.recordings import encode, spoken
from tests.serve.serving import problem, some_wav

FORMATS_TO_SEND = ("wav", "flac", "mp3", "ogg", "opus", "webm", "m4a")
UPLOAD = {"file": ("clip.wav", some_wav(), "audio/wav")}


@pytest.fixture(scope="module")
def service(bundle_folder: Path, service_settings: Settings) -> Service:
    """Both roles served by the same bundle."""
    settings = dataclasses.replace(service_settings, max_body_bytes=2_000_000, max_duration_s=20)
    return Service.load(bundle_folder, challenger=bundle_folder, settings=settings)


@pytest.fixture(scope="module")
def client(service: Service) -> Iterator[TestClient]:
    with TestClient(create_app(service, with_demo=False)) as opened:
        yield opened


def test_classify(client: TestClient, service: Service) -> None:
    answer = client.post("/v1/classify", files=UPLOAD, headers={"X-Request-ID": "my-id"})
    assert answer.status_code == 200
    body = answer.json()
    assert tuple(body["probabilities"]) == service.labels
    assert sum(body["probabilities"].values()) == pytest.approx(1.0, abs=1e-5)
    assert body["emotion"] == max(body["probabilities"], key=body["probabilities"].get)
    assert body["duration_s"] == pytest.approx(1.0, abs=0.01)
    assert body["timeline"] == []
    assert body["request_id"] == answer.headers["X-Request-ID"] == "my-id"
    assert set(body["model"]) >= {"name", "version", "split", "test_uar", "unseen_speakers", "notice"}


def test_other_recordings_of_the_speaker_make_the_answer_relative(client: TestClient) -> None:
    sent = [some_wav(seconds) for seconds in (1.0, 1.5, 2.0)]
    alone = [client.post("/v1/classify", files={"file": wav}).json() for wav in sent]
    assert [body["known_recordings"] for body in alone] == [0, 0, 0]

    body = client.post("/v1/classify", files=[("file", sent[0]), ("known", sent[1]), ("known", sent[2])]).json()

    own, *others = (np.array(list(one["probabilities"].values())) for one in alone)
    np.testing.assert_allclose(list(body["probabilities"].values()), adapt(own, np.array(others)), atol=1e-5)
    assert body["known_recordings"] == 2
    assert body["emotion"] == max(body["probabilities"], key=body["probabilities"].get)


def test_a_timeline_is_relative_to_the_speaker_too(client: TestClient) -> None:
    long, other = some_wav(15), some_wav(1.0)
    alone = client.post("/v1/classify", files={"file": long}).json()["timeline"]
    heard = np.array([list(client.post("/v1/classify", files={"file": other}).json()["probabilities"].values())])
    timeline = client.post("/v1/classify", files=[("file", long), ("known", other)]).json()["timeline"]
    for entry, plain in zip(timeline, alone, strict=True):
        expected = adapt(np.array(list(plain["probabilities"].values())), heard)
        np.testing.assert_allclose(list(entry["probabilities"].values()), expected, atol=1e-5)


def test_a_damaged_recording_of_the_speaker_is_named(client: TestClient) -> None:
    wav = some_wav(1.0)
    answer = client.post("/v1/classify", files=[("file", wav), ("known", wav), ("known", b"this is no sound")])
    assert answer.status_code == 415
    assert problem(answer)["message"].startswith("known recording 2: ")


def test_formats_hardly_matter(client: TestClient) -> None:
    speech = spoken()
    answers = {}
    for kind in FORMATS_TO_SEND:
        answer = client.post("/v1/classify", files={"file": encode(speech, format=kind)})
        assert answer.status_code == 200, (kind, answer.text)
        answers[kind] = np.array(list(answer.json()["probabilities"].values()))
    for kind, probabilities in answers.items():
        # Random weights make more of what a lossy format changes than trained ones, which stay within 0.02.
        np.testing.assert_allclose(probabilities, answers["wav"], atol=0.1, err_msg=kind)


def test_long_recordings_have_a_timeline(client: TestClient, service: Service) -> None:
    body = client.post("/v1/classify", files={"file": some_wav(15)}).json()
    assert len(body["timeline"]) > 1
    assert body["timeline"][0]["start_s"] == 0
    assert all(entry["start_s"] < entry["end_s"] <= 15.01 for entry in body["timeline"])
    assert all(set(entry["probabilities"]) == set(service.labels) for entry in body["timeline"])


def test_challenger_answers_if_it_is_there(client: TestClient, bundle_folder: Path, service_settings: Settings) -> None:
    answer = client.post("/v1/classify?model=challenger", files=UPLOAD)
    assert answer.status_code == 200
    alone = Service.load(bundle_folder, settings=service_settings)
    with TestClient(create_app(alone, with_demo=False)) as other:
        refused = other.post("/v1/classify?model=challenger", files=UPLOAD)
        assert refused.status_code == 404
        assert "no challenger is served" in problem(refused)["message"]
        assert other.get("/v1/model?model=challenger").status_code == 404


@pytest.mark.parametrize(
    ("request_options", "status"),
    [
        ({"files": {"file": b"this is no sound"}}, 415),
        ({"files": {"file": b""}}, 422),
        ({"files": {"other": b"x"}}, 422),
        ({"data": {"file": "text, no file"}}, 422),
        ({"json": {"file": "x"}}, 422),
        ({"files": {"file": b"x" * 2_000_001}}, 413),
        ({"files": {"file": some_wav(21)}}, 413),
        ({"files": [("file", some_wav(0.1)), *[("known", some_wav(0.1))] * 21]}, 422),
        ({"files": [("file", some_wav(0.1)), ("known", b"")]}, 422),
        ({"files": UPLOAD, "params": {"model": "best"}}, 422),
        ({"content": b"--a\r\n", "headers": {"Content-Type": "multipart/form-data"}}, 400),
    ],
)
def test_what_classify_refuses(client: TestClient, request_options: dict[str, Any], status: int) -> None:
    answer = client.post("/v1/classify", **request_options)
    assert answer.status_code == status, answer.text
    assert problem(answer)["message"]


def test_model(client: TestClient, service: Service) -> None:
    body = client.get("/v1/model").json()
    assert tuple(body["labels"]) == service.labels
    assert body["device"] == service.device
    assert body["front_end"] == service.bundle.manifest.front_end.model_dump(mode="json")
    assert body["provenance"]["git_commit"] == service.bundle.manifest.provenance.git_commit
    assert body["limits"]["max_body_bytes"] == 2_000_000
    assert set(body["metrics"]) == set(service.bundle.manifest.metrics)


def test_health_and_readiness(client: TestClient) -> None:
    health = client.get("/healthz").json()
    assert health == {"status": "alive", "device": "cpu", "execution_provider": "CPUExecutionProvider"}
    assert client.get("/readyz").json() == {"status": "ready"}
    app: Any = client.app
    app.state.draining = True
    try:
        refused = client.get("/readyz")
        assert (refused.status_code, problem(refused)["type"]) == (503, "not_ready")
        assert client.get("/healthz").status_code == 200
        assert client.get("/v2/health/ready").status_code == 503
    finally:
        app.state.draining = False


def test_not_ready_before_the_warm_up(bundle_folder: Path, service_settings: Settings) -> None:
    cold = TestClient(create_app(Service.load(bundle_folder, settings=service_settings), with_demo=False))
    assert cold.get("/readyz").status_code == 503
    assert cold.get("/healthz").status_code == 200


def test_the_app_stops_its_service(bundle_folder: Path, service_settings: Settings) -> None:
    service = Service.load(bundle_folder, settings=service_settings)
    with TestClient(create_app(service, with_demo=False)):
        assert service.ready
    assert not service.ready


def test_metrics(client: TestClient) -> None:
    client.post("/v1/classify", files=UPLOAD)
    text = client.get("/metrics").text
    assert re.search(
        r'^sermodels_http_requests_total\{method="POST",route="/v1/classify",status="200"\} [1-9]', text, re.M
    )
    for name in ("batch_size_count", "inference_seconds_count", "queue_depth", "generation_step_seconds_count"):
        assert re.search(rf"^sermodels_{name}(\{{.*\}})? ", text, re.M), name
    assert float(re.findall(r"^sermodels_inference_seconds_count (\S+)", text, re.M)[0]) > 0
    assert 'sermodels_device_info{device="cpu"' in text
    assert 'role="challenger"' in text
    assert "sermodels_ready 1.0" in text


def test_docs_load_nothing_from_elsewhere(client: TestClient) -> None:
    page = client.get("/docs").text
    assert "/v1/classify" in page
    assert not re.search(r"(src|href)=.?(https?:)?//", page)
    assert "<script" not in page


def test_every_operation_documents_its_errors(client: TestClient) -> None:
    paths = client.get("/openapi.json").json()["paths"]
    wanted = {"/v1/classify": {"401", "404", "413", "415", "422", "429"}, "/v1/generate": {"401", "413", "422", "429"}}
    for path, statuses in wanted.items():
        assert statuses <= set(paths[path]["post"]["responses"])
    for path, methods in paths.items():
        for method, operation in methods.items():
            schemas = {
                content["schema"]["$ref"].rsplit("/", 1)[-1]
                for status, response in operation["responses"].items()
                if status[0] in "45"
                for content in response["content"].values()
            }
            assert schemas <= {"ProtocolProblem" if path.startswith("/v2") else "Problem"}, (method, path)


def test_key_is_documented_only_if_there_is_one(bundle_folder: Path, service_settings: Settings) -> None:
    settings = dataclasses.replace(service_settings, api_key="key")
    app = create_app(Service.load(bundle_folder, settings=settings), with_demo=False)
    document = app.openapi()
    assert document["paths"]["/v1/classify"]["post"]["security"] == [{"APIKeyHeader": []}, {"HTTPBearer": []}]
    assert "security" not in document["paths"]["/healthz"]["get"]
    refused = TestClient(app).get("/v1/model")
    assert refused.status_code == 401
    assert problem(refused)["type"] == "unauthorized"
    assert TestClient(app).get("/v1/model", headers={"X-API-Key": "key"}).status_code == 200
