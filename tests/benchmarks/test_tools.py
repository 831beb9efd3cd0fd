"""What the parts are made of: operations counted, recordings repeated, requests sent, processes weighed."""

import http.server
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from benchmarks.clients import AnswerError, ask, crowd_rate, latencies_s, posted_json, upload
from benchmarks.context import Bench
from benchmarks.flops import onnx_flops, torch_flops
from benchmarks.machine import describe
from benchmarks.parts.growth import exponent, grown, run_child
from benchmarks.parts.imports import commands
from benchmarks.servers import ServerError, family, free_port, running
from sermodels.corpora import load_corpus


@pytest.fixture
def echo() -> Iterator[int]:
    """The port of a server that answers with the body's length, and refuses /no."""

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = str(len(self.rfile.read(int(self.headers["Content-Length"])))).encode()
            self.send_response(404 if self.path == "/no" else 200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Quiet."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


def test_clients_send_whole_requests(echo: int) -> None:
    request = upload("/", b"x" * 100_000)
    assert int(ask(echo, request)) == len(request.body) > 100_000
    assert len(latencies_s(echo, request, 5)) == 5
    assert crowd_rate(echo, request, clients=8, count=20) > 0.0


def test_a_refusal_is_an_error_to_every_client(echo: int) -> None:
    request = posted_json("/no", {})
    for work in (
        ask,
        lambda port, one: latencies_s(port, one, 1),
        lambda port, one: crowd_rate(port, one, clients=2, count=2),
    ):
        with pytest.raises(AnswerError, match="404"):
            work(echo, request)


def test_a_server_that_ends_is_told_with_its_last_words(tmp_path: Path) -> None:
    command = ["sh", "-c", "echo no such model >&2; exit 3"]
    port = free_port()
    with (
        pytest.raises(ServerError, match="no such model"),
        running(command, port, posted_json("/", {}), tmp_path / "log"),
    ):
        pass


def test_a_server_is_given_its_settings(tmp_path: Path) -> None:
    command, settings = ["sh", "-c", "echo in $SERMODELS_PRECISION >&2; exit 3"], {"SERMODELS_PRECISION": "int8"}
    with (
        pytest.raises(ServerError, match="in int8"),
        running(command, free_port(), posted_json("/", {}), tmp_path / "log", settings),
    ):
        pass


ANSWERS = """
import http.server, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""


def test_a_server_stands_still_but_in_its_turn_and_ends_nevertheless(tmp_path: Path) -> None:
    port, request = free_port(), posted_json("/", {})

    def stands(pid: int) -> bool:
        deadline = time.monotonic() + 10.0
        while time.monotonic() < deadline:
            if Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "T":
                return True
        return False

    with running([sys.executable, "-c", ANSWERS, str(port)], port, request, tmp_path / "log") as server:
        server.pause()
        assert stands(server.process.pid)
        with server.turn():
            assert ask(port, request) == b"{}"
        assert stands(server.process.pid)
    assert server.process.returncode == -signal.SIGTERM


def test_a_family_is_a_process_and_its_children() -> None:
    assert family(os.getpid())[0] == os.getpid()
    assert family(2**22 + 1) == []


def test_operations_of_a_graph_are_those_of_torch(tmp_path: Path) -> None:
    weights = np.ones((5, 3, 3, 3), np.float32)
    matrix = np.ones((8, 4), np.float32)
    graph = helper.make_graph(
        [
            helper.make_node("Conv", ["x", "w"], ["y"], pads=[1, 1, 1, 1]),
            helper.make_node("MatMul", ["y", "m"], ["z"]),
        ],
        "small",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 3, 6, 8])],
        [helper.make_tensor_value_info("z", TensorProto.FLOAT, ["batch", 5, 6, 4])],
        [numpy_helper.from_array(weights, "w"), numpy_helper.from_array(matrix, "m")],
    )
    path = tmp_path / "small.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), path)
    x = np.ones((2, 3, 6, 8), np.float32)

    def same() -> None:
        convolved = torch.nn.functional.conv2d(torch.from_numpy(x), torch.from_numpy(weights), padding=1)
        torch.matmul(convolved, torch.from_numpy(matrix))

    assert onnx_flops(path, {"x": x}) == torch_flops(same) == 2 * 2 * 5 * 6 * 8 * 27 + 2 * 2 * 5 * 6 * 4 * 8


def test_a_grown_corpus_has_other_contents(bench: Bench) -> None:
    utterances = load_corpus(grown(bench, 4).corpus).utterances
    assert len(utterances) == 12
    assert len({one.sha256 for one in utterances}) == 12


@pytest.mark.parametrize("stage", ["caching", "synthesis"])
def test_a_stage_tells_its_seconds_and_its_peak(bench: Bench, tmp_path: Path, stage: str) -> None:
    config = grown(bench, 1)
    small = config.diffusion.model_copy(update={"widths": (16, 16), "frames": 16})
    config = config.model_copy(
        update={
            "diffusion": small,
            "synthesis": config.synthesis.model_copy(update={"per_emotion": 1, "steps": 2}),
        }
    )
    seconds, peak = run_child(stage, config, tmp_path / "workspace")
    assert seconds > 0.0
    assert peak > 50e6


def test_the_exponent_of_linear_growth_is_one() -> None:
    assert exponent((1, 4, 16), [2.0, 8.0, 32.0]) == pytest.approx(1.0)
    assert exponent((1, 4), [1.0, 16.0]) == pytest.approx(2.0)


def test_every_command_is_known() -> None:
    names = commands().keys()
    assert {
        "python -m serve --help",
        "python -m flows table --help",
        "python -m sermodels.corpora audit --help",
    } <= names


def test_the_machine_is_described() -> None:
    described = describe()
    assert described["cores"] >= 1
    assert {"torch", "onnxruntime-gpu", "librosa"} <= described["packages"].keys()
