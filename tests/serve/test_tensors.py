"""Tensors of the Open Inference Protocol: what is read, what is refused, and the way back."""

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve.tensors import InferRequest, ProtocolError, binary_outputs, encode_response, parse_request


def body_of(**changes: Any) -> bytes:
    """A request with one FP32 input (1, 3), changed."""
    tensor = {"name": "x", "shape": [1, 3], "datatype": "FP32", "data": [1, 2.5, -3]} | changes
    return json.dumps({"inputs": [{name: value for name, value in tensor.items() if value is not None}]}).encode()


@pytest.mark.parametrize("data", [[1, 2.5, -3], [[1, 2.5, -3]], [[[1], [2.5], [-3]]]])
def test_numbers_flat_or_nested(data: list[Any]) -> None:
    _, arrays = parse_request(body_of(data=data), None)
    np.testing.assert_array_equal(arrays["x"], np.array([[1, 2.5, -3]], dtype=np.float32))
    assert arrays["x"].dtype == np.float32


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"data": [1, 2]}, "input x: 2 values; its shape [1, 3] needs 3"),
        ({"data": [1, 2, "three"]}, "input x: its data must be numbers"),
        ({"data": [[1, 2], [3]]}, "input x: its data must be numbers"),
        ({"data": [1, 2, {}]}, "input x: its data must be numbers"),
        ({"data": [1, 2, None]}, "input x: its data holds NaN or infinite values"),
        ({"data": [1, 2, 1e39]}, "input x: its data holds NaN or infinite values"),
        ({"data": [1, 2, 10**400]}, "input x: its data must be numbers"),
        ({"data": ["x" * 100_000, *[0] * 100_000]}, "input x: its data must be numbers"),
        ({"data": None}, "input x: has neither data nor binary_data_size"),
        ({"datatype": "FP64"}, "input x: datatype FP64; allowed are FP32, INT64"),
        ({"datatype": "INT64"}, "input x: its data must be integers"),
        ({"datatype": "INT64", "data": [1, 2, 2**60]}, "input x: its data must be integers"),
        ({"shape": [0, 3]}, "every dimension must be at least 1"),
        ({"shape": [-1, 3]}, "every dimension must be at least 1"),
        ({"shape": [10**30, 10**30]}, "input x: 3 values"),
        ({"shape": ["1", 3]}, "inputs.0.shape.0: "),
        ({"shape": [1] * 99}, "inputs.0.shape: "),
        ({"parameters": {"binary_data_size": 4}}, "input x: binary_data_size is 4; 0 bytes are there"),
        ({"parameters": {"binary_data_size": "4"}}, "input x: binary_data_size is 4"),
        ({"parameters": {"binary_data_size": -1}}, "input x: binary_data_size is -1"),
        ({"parameters": {"binary_data_size": 0}}, "input x: has both data and binary_data_size"),
        ({"parameters": {"binary_data_size": 0}, "data": None}, "input x: 0 bytes; its shape needs 12"),
    ],
)
def test_what_does_not_fit_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ProtocolError) as error:
        parse_request(body_of(**changes), None)
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "is no JSON"),
        (b"\xff", "is no JSON"),
        (b"[" * 100_000, "is no JSON"),
        (b'{"inputs": [{"name": "x", "shape": [1], "datatype": "FP32", "data": [NaN]}]}', "is no JSON"),
        (
            b'{"inputs": [{"name": "x", "shape": [1], "datatype": "FP32", "data": [' + b"9" * 9999 + b"]}]}",
            "is no JSON",
        ),
        (b"{}", "inputs: Field required"),
        (b"[]", "valid dictionary"),
        (body_of()[:-2] + b", " + body_of()[12:], "input x: is there twice"),
    ],
)
def test_bodies_that_are_no_requests(body: bytes, message: str) -> None:
    with pytest.raises(ProtocolError) as error:
        parse_request(body, None)
    assert message in str(error.value)


@pytest.mark.parametrize("length", ["-1", "1e3", "99999", "9" * 5000, "", "²"])
def test_header_lengths_that_do_not_fit(length: str) -> None:
    with pytest.raises(ProtocolError, match="Inference-Header-Content-Length"):
        parse_request(body_of(), length)


def test_bytes_come_in_the_order_of_the_inputs() -> None:
    first, second = np.array([[1.5, -2.5]], np.float32), np.array([7], np.int64)
    inputs = [
        {"name": "a", "shape": [1, 2], "datatype": "FP32", "parameters": {"binary_data_size": 8}},
        {"name": "b", "shape": [1], "datatype": "INT64", "parameters": {"binary_data_size": 8}},
    ]
    head = json.dumps({"inputs": inputs}).encode()
    _, arrays = parse_request(head + first.tobytes() + second.tobytes(), str(len(head)))
    np.testing.assert_array_equal(arrays["a"], first)
    np.testing.assert_array_equal(arrays["b"], second)
    with pytest.raises(ProtocolError, match="3 bytes are left"):
        parse_request(head + first.tobytes() + second.tobytes() + b"xyz", str(len(head)))
    with pytest.raises(ProtocolError, match="input a: its data holds NaN"):
        parse_request(head + np.full((1, 2), np.nan, np.float32).tobytes() + second.tobytes(), str(len(head)))


@given(st.binary(max_size=200), st.none() | st.text(max_size=5))
def test_any_bytes_are_read_or_refused(body: bytes, length: str | None) -> None:
    with pytest.raises(ProtocolError):
        parse_request(body, length)


@pytest.mark.parametrize(
    ("default", "outputs", "expected"),
    [
        (None, None, set()),
        (True, None, {"a", "b"}),
        (True, [{"name": "a", "parameters": {"binary_data": False}}, {"name": "b"}], {"b"}),
        (None, [{"name": "a", "parameters": {"binary_data": True}}, {"name": "b"}], {"a"}),
    ],
)
def test_which_outputs_are_bytes(default: bool | None, outputs: list[Any] | None, expected: set[str]) -> None:
    parameters = {} if default is None else {"binary_data_output": default}
    request = InferRequest.model_validate({"inputs": [], "parameters": parameters, "outputs": outputs})
    assert binary_outputs(request, ["a", "b"]) == expected


def test_response_holds_numbers_and_bytes() -> None:
    arrays = {"a": np.array([[0.5, 1.5]], np.float32), "b": np.array([3], np.int64)}
    datatypes = {"a": "FP32", "b": "INT64"}
    body, length = encode_response({"model_name": "m"}, arrays, datatypes=datatypes, binary=frozenset({"a"}))
    head = json.loads(body[:length])
    assert head["outputs"][1] == {"name": "b", "datatype": "INT64", "shape": [1], "data": [3]}
    assert head["outputs"][0]["parameters"] == {"binary_data_size": 8}
    np.testing.assert_array_equal(np.frombuffer(body[length:], "<f4"), [0.5, 1.5])
