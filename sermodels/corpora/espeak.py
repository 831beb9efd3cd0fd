"""Speech from espeak-ng through ctypes, the same bytes for the same arguments whatever was spoken before."""

import ctypes
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from sermodels.errors import CorpusError

SAMPLE_RATE_HZ = 22_050
"""The rate of all espeak-ng voices used here."""

REMEDY = "reinstall it: pip install --force-reinstall espeakng-loader"

# Values of speak_lib.h (espeak-ng 1.52).
_OUTPUT_SYNCHRONOUS, _INITIALIZE_DONT_EXIT = 2, 0x8000
_RATE, _VOLUME, _PITCH, _RANGE = 1, 2, 3, 4
_POSITION_CHARACTER, _CHARACTERS_UTF8 = 1, 1
_LONGEST_DATA_PATH = 150  # espeak-ng keeps the path in a buffer of fixed size and cuts a longer one without an error

_LOCK = Lock()
_CALLBACK = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p)


def speak(
    text: str, *, voice: str, rate_wpm: int = 165, pitch: int = 50, pitch_range: int = 50, seed: int = 0
) -> NDArray[np.float32]:
    """The text spoken: (sample,) float32 mono in [-1, 1] at `SAMPLE_RATE_HZ`.

    `voice` is a language and a variant (`de+f2`); `rate_wpm` 80 to 450; `pitch` 0 to 99 over two octaves with the
    voice's own at 50; `pitch_range` 0 (monotone) to 99, the voice's own at 50; `seed` draws the noise in the voice.
    Raises CorpusError when espeak-ng is missing, does not load or does not know the voice.
    """
    parameters = {_RATE: rate_wpm, _VOLUME: 100, _PITCH: pitch, _RANGE: pitch_range}
    with _LOCK, _data_folder() as data, _fresh_library() as library:
        samples = _synthesise(library, data, text=text, voice=voice, parameters=parameters, seed=seed)
    return samples.astype(np.float32) / 32_768.0


def _synthesise(
    library: ctypes.CDLL, data: str, *, text: str, voice: str, parameters: dict[int, int], seed: int
) -> NDArray[np.int16]:
    chunks: list[bytes] = []

    def collect(samples: int | None, count: int, _events: int | None) -> int:
        if samples and count > 0:
            chunks.append(ctypes.string_at(samples, 2 * count))
        return 0

    rate_hz = library.espeak_Initialize(_OUTPUT_SYNCHRONOUS, 0, os.fsencode(data), _INITIALIZE_DONT_EXIT)
    if rate_hz != SAMPLE_RATE_HZ:
        raise CorpusError(f"espeak-ng did not start with its data in {data} (it answered {rate_hz}); {REMEDY}")
    callback = _CALLBACK(collect)  # held by name: espeak-ng calls it for as long as it speaks
    library.espeak_SetSynthCallback(callback)
    if library.espeak_SetVoiceByName(voice.encode()):
        raise CorpusError(f"espeak-ng has no voice {voice!r}; allowed: a language and a variant, such as de+f2")
    for parameter, value in parameters.items():
        library.espeak_SetParameter(parameter, value, 0)
    library.espeak_ng_SetRandSeed(ctypes.c_long(seed))
    _run(library, text)
    return np.frombuffer(b"".join(chunks), dtype=np.int16)


def _run(library: ctypes.CDLL, text: str) -> None:
    encoded = text.encode() + b"\0"
    size = ctypes.c_size_t(len(encoded))
    status = library.espeak_Synth(encoded, size, 0, _POSITION_CHARACTER, 0, _CHARACTERS_UTF8, None, None)
    library.espeak_Synchronize()
    library.espeak_Terminate()
    if status:
        raise CorpusError(f"espeak-ng could not speak {text!r} (status {status}); {REMEDY}")


@contextmanager
def _fresh_library() -> Iterator[ctypes.CDLL]:
    # espeak-ng carries oscillator phase and flutter from one text to the next, even over Terminate and Initialize.
    # Unloading the library is the only way back to its first state; loading it again takes 3 ms.
    path = _loader_path("get_library_path")
    try:
        library = ctypes.CDLL(path)
    except OSError as error:
        raise CorpusError(f"espeak-ng does not load from {path} ({error}); {REMEDY}") from error
    try:
        yield library
    finally:
        _unload(library)


def _unload(library: ctypes.CDLL) -> None:
    close = ctypes.CDLL(None).dlclose
    close.argtypes = [ctypes.c_void_p]
    close(library._handle)


@contextmanager
def _data_folder() -> Iterator[str]:
    path = _loader_path("get_data_path")
    if len(os.fsencode(path)) <= _LONGEST_DATA_PATH:
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="espeak-") as folder:
        link = Path(folder) / "espeak-ng-data"
        link.symlink_to(path)
        yield str(link)


def _loader_path(function: str) -> str:
    try:
        import espeakng_loader

        return str(getattr(espeakng_loader, function)())
    except (ImportError, RuntimeError) as error:
        raise CorpusError(f"espeak-ng is not installed ({error}); install it: pip install espeakng-loader") from error
