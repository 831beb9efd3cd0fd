"""The embedded demo corpus: synthetic German and English speech in the name schemes of EmoDB and RAVDESS."""

import io
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from tqdm import tqdm

from sermodels.corpora.demo_clips import DemoClip, demo_clips, small_demo_clips
from sermodels.corpora.demo_render import render
from sermodels.corpora.voice_quality import Waveform
from sermodels.errors import CorpusError
from sermodels.files import atomic_write, read_json, sha256_of_file, storage_error, write_json

__all__ = ["DEMO_NOTICE", "DemoClip", "demo_clips", "make_demo_corpus", "render", "small_demo_clips"]

DEMO_NOTICE = (
    "The demo corpus is synthetic speech, made by espeak-ng with textbook prosody for each emotion. "
    "Numbers measured on it mean nothing about people."
)

VERSION = 1
"""To be raised whenever the same seed gives other recordings."""

MARK = "demo.json"
ORIGIN = "synthetic speech of the demo corpus"


def make_demo_corpus(folder: Path, *, seed: int = 0, clips: Sequence[DemoClip] | None = None) -> None:
    """Make the corpus (or only `clips`) in `folder`: `emodb/*.wav`, `ravdess/Actor_XX/*.wav`, and `demo.json` last.

    Returns at once when all is there; completes what was interrupted; another seed replaces the recordings.
    Raises CorpusError when espeak-ng fails or the folder holds recordings of another origin, StorageError when the
    folder cannot be written.
    """
    wanted = {clip.name: clip for clip in (demo_clips() if clips is None else clips)}
    if _is_complete(folder, wanted.keys(), seed):
        return
    _refuse_other_recordings(folder)
    _remove(folder, [MARK])
    _make(folder, wanted.values(), seed)
    _remove(folder, [name for name in _recordings(folder) if name not in wanted])
    files = {name: sha256_of_file(folder / name) for name in wanted}
    about = {"synthetic": True, "notice": DEMO_NOTICE, "version": VERSION, "seed": seed}
    write_json(folder / MARK, {**about, "files": files})


def _is_complete(folder: Path, names: Iterable[str], seed: int) -> bool:
    """Whether the mark is of this seed and version and of just these files; damaged ones are removed."""
    if not (folder / MARK).is_file():
        return False
    mark = read_json(folder / MARK)
    if (mark.get("seed"), mark.get("version"), set(mark.get("files", ()))) != (seed, VERSION, set(names)):
        return False
    present = [name for name in names if (folder / name).is_file()]
    damaged = [name for name in present if sha256_of_file(folder / name) != mark["files"][name]]
    _remove(folder, damaged)
    return len(present) == len(mark["files"]) and not damaged


def _make(folder: Path, clips: Iterable[DemoClip], seed: int) -> None:
    """Make the clips that are not there yet: each says in its header which version and seed it is of."""
    origin = f"{ORIGIN}, version {VERSION}, seed {seed}"
    missing = [clip for clip in clips if _origin(folder / clip.name) != origin]
    for clip in tqdm(missing, desc="demo corpus", unit="clip"):
        with atomic_write(folder / clip.name) as temporary:
            temporary.write_bytes(_wav(render(clip, seed=seed), clip.style.sample_rate_hz, origin))


def _wav(waveform: Waveform, sample_rate_hz: int, origin: str) -> bytes:
    import soundfile

    # Written by way of memory: libsndfile does not say that a disk is full, Path.write_bytes does.
    buffer = io.BytesIO()
    with soundfile.SoundFile(buffer, "w", sample_rate_hz, 1, "PCM_16", format="WAV") as file:
        file.comment = origin
        file.write(np.round(waveform * 32_767).astype(np.int16))
    return buffer.getvalue()


def _origin(path: Path) -> str:
    """What a recording's header says about its origin; empty when it says nothing or there is none."""
    import soundfile

    try:
        with soundfile.SoundFile(path) as file:
            return str(file.comment)
    except soundfile.LibsndfileError:
        return ""


def _recordings(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.wav"))


def _refuse_other_recordings(folder: Path) -> None:
    for name in _recordings(folder):
        if not _origin(folder / name).startswith(ORIGIN):
            raise CorpusError(
                f"{folder / name}: is no recording of the demo corpus, which would replace or remove it; "
                "choose an empty folder, or remove the recording"
            )


def _remove(folder: Path, names: Iterable[str]) -> None:
    for name in names:
        try:
            (folder / name).unlink(missing_ok=True)
        except OSError as error:
            raise storage_error(folder / name, error) from error
