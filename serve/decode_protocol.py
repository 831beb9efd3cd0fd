"""What server and decode worker say to each other over pipes: a kind, a length, and that many bytes."""

import struct
from enum import Enum

from serve.errors import InputError, ServeError, TooLargeError, UndecodableError

HEADER = struct.Struct("<cQ")
"""Kind and length of what follows."""

UNREADABLE = "This is not a recording that can be read; send wav, flac, mp3, ogg, opus, webm or m4a"
EMPTY = "The recording holds no samples; record or choose another one"


class Kind(Enum):
    """What the bytes after the header are."""

    RECORDING = b"r"
    READY = b"y"
    WAVEFORM = b"w"
    UNDECODABLE = b"u"
    TOO_LARGE = b"t"
    INPUT = b"i"


ERRORS: dict[Kind, type[ServeError]] = {
    Kind.UNDECODABLE: UndecodableError,
    Kind.TOO_LARGE: TooLargeError,
    Kind.INPUT: InputError,
}
"""The errors that a worker answers with; their message is what follows the header."""
KINDS = {error: kind for kind, error in ERRORS.items()}
