"""Any labelled recordings: manifests, known corpora and a folder for each emotion, under other people's names."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from sermodels.audio import read_waveform
from sermodels.corpora.labelled import parse_emotion_names, read_labelled
from sermodels.errors import CorpusError

WriteWav = Callable[..., Path]


def labels(target: Path, names: str = "") -> list[tuple[str, str]]:
    """Speaker and emotion of each recording."""
    return [(u.speaker, u.emotion) for u in read_labelled(target, parse_emotion_names(names)).utterances]


@pytest.fixture
def folders(tmp_path: Path, write_wav: WriteWav) -> Path:
    files = ("angry/ann/1.wav", "angry/bob/1.wav", "joy/x.wav", "sadness/ann/2.wav", "other/y.wav")
    for content, name in enumerate(files):
        write_wav(tmp_path / "mine" / name, content=content)
    (tmp_path / "mine" / "notes.txt").write_text("no sound")
    return tmp_path / "mine"


def test_a_folder_for_each_emotion(folders: Path) -> None:
    found = read_labelled(folders, parse_emotion_names("angry=anger, joy=happiness other=-"))

    assert [(u.identifier, u.speaker, u.emotion) for u in found.utterances] == [
        ("mine/angry/ann/1.wav", "mine/ann", "anger"),
        ("mine/angry/bob/1.wav", "mine/bob", "anger"),
        ("mine/joy/x.wav", "mine/x", "happiness"),
        ("mine/sadness/ann/2.wav", "mine/ann", "sadness"),
    ]
    assert found.notes == ("mine: 1 recordings left out by their emotion",)


def test_a_folder_that_is_no_emotion_is_named_with_the_remedy(folders: Path) -> None:
    with pytest.raises(CorpusError, match=r"other/y\.wav: lies in no folder of an emotion; .*other=anger"):
        labels(folders, "angry=anger joy=happiness")


def test_our_own_names_are_understood_in_any_case(tmp_path: Path, write_wav: WriteWav) -> None:
    write_wav(tmp_path / "mine" / "Anger" / "ann" / "1.wav", content=1)

    assert labels(tmp_path / "mine") == [("mine/ann", "anger")]


@pytest.mark.parametrize("ending", ["flac", "mp3", "ogg", "opus", "aiff"])
def test_compressed_recordings_are_found(tmp_path: Path, ending: str) -> None:
    path = tmp_path / "mine" / "fear" / f"1.{ending}"
    path.parent.mkdir(parents=True)
    kinds = {"opus": ("OGG", "OPUS"), "ogg": ("OGG", "VORBIS")}
    kind, subtype = kinds.get(ending, (ending.upper(), None))
    soundfile.write(path, 0.1 * np.ones(16_000, dtype=np.float32), 16_000, format=kind, subtype=subtype)

    (found,) = read_labelled(tmp_path / "mine", {}).utterances

    assert found.path == path
    assert len(read_waveform(path, sample_rate_hz=16_000)) >= 16_000


def test_sound_that_is_not_read_is_counted_and_named(folders: Path) -> None:
    for name in ("a.m4a", "b.webm"):
        (folders / "sadness" / name).write_bytes(b"")

    found = read_labelled(folders, parse_emotion_names("angry=anger joy=happiness other=-"))

    assert len(found.utterances) == 4
    (note,) = [note for note in found.notes if "libsndfile" in note]
    assert note.startswith(
        "mine: 2 left out of a format that libsndfile does not read, the first of them sadness/a.m4a"
    )
    assert "ffmpeg" in note


def test_folders_of_other_names_are_named_with_the_mapping(tmp_path: Path, write_wav: WriteWav) -> None:
    for content, name in enumerate(("Wut/1.wav", "Angst/1.wav")):
        write_wav(tmp_path / "mine" / name, content=content)

    with pytest.raises(CorpusError, match=r"holds no corpus; .*--emotions 'Angst=EMOTION Wut=EMOTION'"):
        labels(tmp_path / "mine")


def test_a_manifest_with_other_names(tmp_path: Path, write_wav: WriteWav) -> None:
    for content in range(3):
        write_wav(tmp_path / f"{content}.wav", content=content)
    manifest = tmp_path / "mine.csv"
    manifest.write_text("path,emotion,speaker\n0.wav,Wut,a\n1.wav,fear,b\n2.wav,Ekel,b\n", encoding="utf-8")

    assert labels(manifest, "Wut=anger Ekel=-") == [("mine/a", "anger"), ("mine/b", "fear")]
    with pytest.raises(CorpusError, match=r"line 2: unknown emotion 'Wut'"):
        labels(manifest, "Ekel=disgust")


def test_a_known_corpus_with_an_emotion_renamed(tmp_path: Path, write_wav: WriteWav) -> None:
    for content, name in enumerate(("03a01Wa", "03a02La", "08b01Na")):
        write_wav(tmp_path / "emodb" / f"{name}.wav", content=content)

    assert labels(tmp_path, "boredom=neutral") == [
        ("emodb/03", "anger"),
        ("emodb/03", "neutral"),
        ("emodb/08", "neutral"),
    ]


def test_what_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="nowhere: there is no such folder or manifest"):
        labels(tmp_path / "nowhere")


@pytest.mark.parametrize("text", ["angry", "=anger", "angry=furious", "angry=anger joy"])
def test_a_mapping_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(CorpusError, match="is not of the form theirs=ours"):
        parse_emotion_names(text)
