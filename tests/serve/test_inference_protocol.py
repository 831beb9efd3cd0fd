"""The Open Inference Protocol v2: Triton's own client against a server process, and what is refused."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tritonclient.http as triton
from starlette.testclient import TestClient
from tritonclient.utils import InferenceServerException

from serve.app import create_app
from serve.service import Service
from serve.settings import Settings
from serve.tensor_limits import MAX_BATCH
from tests.serve.serving import Server, serving

WAVEFORM = np.random.default_rng(0).normal(scale=0.1, size=(2, 8000)).astype(np.float32)


@pytest.fixture(scope="module")
def service(bundle_folder: Path, service_settings: Settings) -> Service:
    return Service.load(bundle_folder, settings=dataclasses.replace(service_settings, max_body_bytes=1_000_000))


@pytest.fixture(scope="module")
def client(service: Service) -> Iterator[TestClient]:
    with TestClient(create_app(service, with_demo=False)) as opened:
        yield opened


@pytest.fixture(scope="module")
def classifier(service: Service) -> str:
    """The name of the model that takes a waveform."""
    return next(
        name for name, model in service.models().items() if any(spec.name == "waveform" for spec in model.inputs)
    )


@pytest.fixture(scope="module")
def server(bundle_folder: Path) -> Iterator[Server]:
    with serving(bundle_folder) as started:
        yield started


@pytest.fixture(scope="module")
def stub(server: Server) -> Iterator[triton.InferenceServerClient]:
    """Triton's own client."""
    opened = triton.InferenceServerClient(server.url.removeprefix("http://"))
    yield opened
    opened.close()


def triton_input(waveform: np.ndarray[Any, Any], *, binary: bool) -> triton.InferInput:
    """The waveform as Triton's client takes it."""
    tensor = triton.InferInput("waveform", list(waveform.shape), "FP32")
    tensor.set_data_from_numpy(waveform, binary_data=binary)
    return tensor


def test_triton_client_sees_server_and_models(
    stub: triton.InferenceServerClient, classifier: str, service: Service
) -> None:
    assert stub.is_server_live()
    assert stub.is_server_ready()
    assert stub.is_model_ready(classifier)
    assert stub.is_model_ready(classifier, service.models()[classifier].version)
    assert not stub.is_model_ready("another")
    assert not stub.is_model_ready(classifier, "99")
    assert stub.get_server_metadata()["name"] == "sermodels"
    assert {entry["name"] for entry in stub.get_model_repository_index()} == set(service.models())
    metadata = stub.get_model_metadata(classifier)
    assert "probabilities" in [output["name"] for output in metadata["outputs"]]
    waveform = next(tensor for tensor in metadata["inputs"] if tensor["name"] == "waveform")
    assert (waveform["datatype"], waveform["shape"]) == ("FP32", [-1, -1])


@pytest.mark.parametrize("binary_in", [True, False])
@pytest.mark.parametrize("binary_out", [True, False])
def test_triton_client_infers(
    stub: triton.InferenceServerClient, classifier: str, binary_in: bool, binary_out: bool
) -> None:
    wanted = [triton.InferRequestedOutput("probabilities", binary_data=binary_out)]
    result = stub.infer(classifier, [triton_input(WAVEFORM, binary=binary_in)], outputs=wanted, request_id="my request")
    probabilities = result.as_numpy("probabilities")
    assert probabilities.shape[0] == 2
    np.testing.assert_allclose(probabilities.sum(axis=1), 1.0, atol=1e-5)
    response = result.get_response()
    assert response["id"] == "my request"
    assert [output["name"] for output in response["outputs"]] == ["probabilities"]
    assert ("parameters" in response["outputs"][0]) == binary_out


def test_triton_client_gets_all_outputs_and_the_same_by_both_ways(
    stub: triton.InferenceServerClient, classifier: str, service: Service
) -> None:
    raw = stub.infer(classifier, [triton_input(WAVEFORM, binary=True)])
    text = stub.infer(classifier, [triton_input(WAVEFORM, binary=False)])
    for spec in service.models()[classifier].outputs:
        np.testing.assert_array_equal(raw.as_numpy(spec.name), text.as_numpy(spec.name))


def test_triton_client_reads_errors(stub: triton.InferenceServerClient, classifier: str) -> None:
    with pytest.raises(InferenceServerException, match="there is no model 'another'"):
        stub.infer("another", [triton_input(WAVEFORM, binary=True)])
    with pytest.raises(InferenceServerException, match="shape"):
        stub.infer(classifier, [triton_input(WAVEFORM[0], binary=True)])


def tensor(**changes: Any) -> dict[str, Any]:
    """A good input, changed."""
    return {"name": "waveform", "shape": [1, 4000], "datatype": "FP32", "data": [0.1, -0.1] * 2000} | changes


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"inputs": []}, "input waveform: is missing"),
        ({"inputs": [tensor(name="sound")]}, "input sound: is not of"),
        ({"inputs": [tensor(), tensor()]}, "input waveform: is there twice"),
        ({"inputs": [tensor(shape=[4000])]}, "input waveform: shape [4000]; must be [-1, -1]"),
        ({"inputs": [tensor(shape=[2, 4000])]}, "input waveform: 4000 values"),
        ({"inputs": [tensor(datatype="INT64", data=[1] * 4000)]}, "input waveform: datatype INT64; must be FP32"),
        ({"inputs": [tensor(datatype="BYTES")]}, "input waveform: datatype BYTES"),
        ({"inputs": [tensor(shape=[4000, 1])]}, f"at most {MAX_BATCH}"),
        ({"inputs": [tensor()], "outputs": [{"name": "mood"}]}, "output mood: is not of"),
        ({"inputs": "none"}, "inputs: "),
    ],
)
def test_what_is_refused(client: TestClient, classifier: str, body: dict[str, Any], message: str) -> None:
    answer = client.post(f"/v2/models/{classifier}/infer", json=body)
    assert answer.status_code == 400, answer.text
    assert set(answer.json()) == {"error"}
    assert message in answer.json()["error"]


def test_good_request_in_json(client: TestClient, classifier: str) -> None:
    answer = client.post(f"/v2/models/{classifier}/infer", json={"inputs": [tensor()]})
    assert answer.status_code == 200, answer.text
    assert "id" not in answer.json()


@pytest.mark.parametrize("samples", [1, 2, 255])
def test_short_waveforms(client: TestClient, classifier: str, samples: int) -> None:
    body = {"inputs": [tensor(shape=[1, samples], data=[0.0] * samples)], "outputs": [{"name": "probabilities"}]}
    answer = client.post(f"/v2/models/{classifier}/infer", json=body)
    assert answer.status_code == 200, answer.text
    assert sum(answer.json()["outputs"][0]["data"]) == pytest.approx(1.0, abs=1e-5)


def test_large_bodies_are_refused(client: TestClient, classifier: str) -> None:
    answer = client.post(f"/v2/models/{classifier}/infer", content=b"x" * 1_000_001)
    assert answer.status_code == 413
    assert "1,000,000 bytes" in answer.json()["error"]


@pytest.mark.parametrize("path", ["/v2/nothing", "/v2/models/another", "/v2/models/another/versions/1/ready"])
def test_unknown_addresses_speak_the_protocol(client: TestClient, path: str) -> None:
    answer = client.get(path)
    assert answer.status_code == 404
    assert isinstance(answer.json()["error"], str)


def fitting(service: Service, name: str, **changes: Any) -> dict[str, Any]:
    """Inputs that fit a model, some of them given."""
    diffusion = service.bundle.manifest.diffusion
    assert diffusion is not None
    inputs = []
    for spec in service.models()[name].inputs:
        sizes = {0: 1, 1: 4000, 2: diffusion.frames}
        shape = [sizes[axis] if size == -1 else size for axis, size in enumerate(spec.shape)]
        known = {"length": 3000, "steps": 2, "sigmas": 1}
        values = np.asarray(changes.get(spec.name, np.full(shape, known.get(spec.name, 0.5))))
        data = {"shape": list(values.shape), "data": values.ravel().tolist()}
        inputs.append({"name": spec.name, "datatype": spec.datatype, **data})
    return {"inputs": inputs}


def test_every_model_runs(client: TestClient, service: Service) -> None:
    assert set(service.models()) == {"ser-classifier", "ser-sampler", "ser-unet-step", "ser-vocoder"}
    for name, model in service.models().items():
        answer = client.post(f"/v2/models/{name}/infer", json=fitting(service, name))
        assert answer.status_code == 200, (name, answer.text)
        assert [output["name"] for output in answer.json()["outputs"]] == [spec.name for spec in model.outputs]


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("ser-classifier", {"length": [4001]}, "input length: must be 1 to 4000"),
        ("ser-classifier", {"length": [0]}, "input length: must be 1 to 4000"),
        ("ser-classifier", {"length": [5, 5]}, "batch sizes [1, 2]"),
        ("ser-sampler", {"steps": 21}, "input steps: must be 1 to 20"),
        ("ser-sampler", {"steps": 0}, "input steps: must be 1 to 20"),
        ("ser-sampler", {"noise": np.zeros((17, 80, 64))}, "at most 16 log-mels of 256 frames"),
        ("ser-vocoder", {"log_mel": np.zeros((1, 80, 257))}, "at most 16 log-mels of 256 frames"),
    ],
)
def test_sizes_that_are_too_much(
    client: TestClient, service: Service, name: str, changes: dict[str, Any], message: str
) -> None:
    answer = client.post(f"/v2/models/{name}/infer", json=fitting(service, name, **changes))
    assert answer.status_code == 400, answer.text
    assert message in answer.json()["error"]


def test_results_that_json_cannot_say_are_an_error(client: TestClient, service: Service) -> None:
    body = fitting(service, "ser-unet-step", x=np.full((1, 80, 64), 3e38))
    answer = client.post("/v2/models/ser-unet-step/infer", json=body)
    assert answer.status_code == 400, answer.text
    assert "is not finite for these inputs" in answer.json()["error"]
