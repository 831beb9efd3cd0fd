"""What an ONNX file says about itself beside its graph, read without `onnx`: that takes 0.2 s and 30 MB of a server."""

from collections.abc import Iterator
from dataclasses import dataclass
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import Any

from serve.errors import BundleError

OPSET_IMPORT, METADATA = 8, 14
"""Fields of a ModelProto: repeated {1: domain, 2: version} and {1: key, 2: value} (onnx.proto)."""
VARINT, LENGTH_DELIMITED = 0, 2
"""Protocol buffers' wire types that a ModelProto has."""


@dataclass(frozen=True)
class GraphHeader:
    """The version of ONNX's own operators, and the metadata."""

    opset: int
    metadata: dict[str, str]


def read_header(path: Path) -> GraphHeader:
    """The header of an ONNX file. Raises BundleError when it is none."""
    opsets, metadata = {}, {}
    try:
        for field, message in _fields(_mapped(path)):
            if field in (OPSET_IMPORT, METADATA) and isinstance(message, memoryview):
                content = dict(_fields(message))
                if field == OPSET_IMPORT:
                    opsets[_text(content.get(1, b""))] = content[2]
                else:
                    metadata[_text(content[1])] = _text(content.get(2, b""))
        opset = opsets.get("") or opsets["ai.onnx"]
    except (ValueError, KeyError, IndexError, TypeError) as error:
        raise BundleError(f"{path}: is no ONNX graph; export it again") from error
    return GraphHeader(int(opset), metadata)


def _mapped(path: Path) -> memoryview:
    """The file's bytes, none of which is read before it is looked at. Raises ValueError for an empty file."""
    with open(path, "rb") as file:
        return memoryview(mmap(file.fileno(), 0, access=ACCESS_READ))


def _fields(data: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Number and content of each field of a message. Raises ValueError and IndexError where the bytes are none."""
    place = 0
    while place < len(data):
        tag, place = _varint(data, place)
        number, place = _varint(data, place)  # the content, or its length
        if tag & 7 == VARINT:
            yield tag >> 3, number
        elif tag & 7 == LENGTH_DELIMITED:
            yield tag >> 3, data[place : place + number]
            place += number
        else:
            raise ValueError(f"wire type {tag & 7}")


def _varint(data: memoryview, place: int) -> tuple[int, int]:
    """A number of seven bits a byte, the lowest first, and where it ends."""
    number = shift = 0
    while True:
        byte = data[place]
        number |= (byte & 0x7F) << shift
        place, shift = place + 1, shift + 7
        if byte < 0x80:
            return number, place


def _text(content: Any) -> str:
    return str(content, "utf-8")
