"""RAVDESS: names to labels, and its folder to a corpus."""

import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from sermodels.corpora import CORPORA, same_content_notes
from sermodels.corpora.folder import collect
from sermodels.corpora.ravdess import RAVDESS, parse_ravdess
from sermodels.corpora.scheme import Labels
from sermodels.errors import CorpusError

WriteWav = Callable[..., Path]


def test_a_name_is_parsed_by_the_published_scheme() -> None:
    labels = parse_ravdess(Path("ravdess/Actor_12/03-01-06-01-02-01-12.wav"))
    assert labels == Labels(speaker="12", sex="f", sentence="02", emotion="fear", intensity="normal", take="01")


@pytest.mark.parametrize(
    ("code", "emotion"),
    [
        ("01", "neutral"),
        ("02", "calm"),
        ("03", "happiness"),
        ("04", "sadness"),
        ("05", "anger"),
        ("06", "fear"),
        ("07", "disgust"),
        ("08", "surprise"),
    ],
)
def test_emotion_codes(code: str, emotion: str) -> None:
    labels = parse_ravdess(Path(f"Actor_07/03-01-{code}-01-01-02-07.WAV"))
    assert labels == Labels(speaker="07", sex="m", sentence="01", emotion=emotion, intensity="normal", take="02")


def test_intensity_strong() -> None:
    labels = parse_ravdess(Path("Actor_24/03-01-05-02-01-01-24.wav"))
    assert labels is not None
    assert (labels.intensity, labels.sex) == ("strong", "f")


@pytest.mark.parametrize("folder", ["Actor_05", "actor_05", "Actor_5", "anywhere"])
def test_the_folder_agrees_or_says_nothing(folder: str) -> None:
    assert parse_ravdess(Path(folder, "03-01-05-02-01-01-05.wav")) is not None


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("03-01-09-01-01-01-01.wav", "unknown RAVDESS emotion code '09'; allowed: 01 neutral, 02 calm, 03 happiness"),
        ("03-01-00-01-01-01-01.wav", "unknown RAVDESS emotion code '00'"),
        ("01-01-03-01-01-01-01.wav", "unknown RAVDESS modality '01'; allowed: 03 audio only"),
        ("03-03-03-01-01-01-01.wav", "unknown RAVDESS vocal channel '03'; allowed: 01 speech, 02 song"),
        ("03-01-03-03-01-01-01.wav", "unknown RAVDESS intensity '03'; allowed: 01 normal, 02 strong"),
        ("03-01-01-02-01-01-01.wav", "neutral (01) has no strong intensity"),
        ("03-01-03-01-03-01-01.wav", "unknown RAVDESS statement '03'"),
        ("03-01-03-01-01-03-01.wav", "unknown RAVDESS repetition '03'"),
        ("03-01-03-01-01-01-25.wav", "unknown RAVDESS actor '25'"),
        ("03-01-03-01-01-01-02.wav", "the name says actor 02 and the folder Actor_01; move the file to Actor_02"),
        ("03-01-03-01-01-01.wav", "does not follow RAVDESS's scheme, for example 03-01-06-01-02-01-12.wav"),
        ("03-01-03-01-01-01-1.wav", "does not follow RAVDESS's scheme"),
        ("03-02-03-01-01-01.wav", "does not follow RAVDESS's scheme"),
        ("03a01Fa.wav", "does not follow RAVDESS's scheme"),
    ],
)
def test_other_names_are_refused_with_what_is_allowed(name: str, message: str) -> None:
    with pytest.raises(CorpusError) as raised:
        parse_ravdess(Path("ravdess/Actor_01", name))
    assert str(raised.value).startswith(f"ravdess/Actor_01/{name}: ")
    assert message in str(raised.value)


def test_songs_are_passed_over_with_a_note(tmp_path: Path, write_wav: WriteWav) -> None:
    folder = tmp_path / "ravdess"
    write_wav(folder / "Actor_01" / "03-01-03-01-01-01-01.wav", content=1)
    for number in ("01", "02"):
        write_wav(folder / "Actor_01" / f"03-02-03-01-01-{number}-01.wav", content=2)
    corpus = collect(folder, RAVDESS).accepted()
    assert [utterance.identifier for utterance in corpus.utterances] == ["ravdess/03-01-03-01-01-01-01"]
    assert corpus.notes == ("ravdess: 2 song recordings (vocal channel 02) passed over",)


def test_a_song_with_an_impossible_code_is_an_error(tmp_path: Path, write_wav: WriteWav) -> None:
    write_wav(tmp_path / "ravdess" / "Actor_01" / "03-02-11-01-01-01-01.wav")
    with pytest.raises(CorpusError, match="unknown RAVDESS emotion code '11'"):
        collect(tmp_path / "ravdess", RAVDESS).accepted()


def test_the_copy_that_holds_the_corpus_twice(tmp_path: Path, write_wav: WriteWav) -> None:
    folder = tmp_path / "ravdess"
    for actor in ("01", "02"):
        for emotion in ("03", "04", "05"):
            path = write_wav(
                folder / f"Actor_{actor}" / f"03-01-{emotion}-01-01-01-{actor}.wav", content=int(emotion + actor)
            )
            nested = folder / "audio_speech_actors_01-24" / path.parent.name / path.name
            nested.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, nested)
    corpus = collect(folder, RAVDESS).accepted()
    assert len(corpus.utterances) == 6
    assert all("audio_speech" not in str(utterance.path) for utterance in corpus.utterances)
    assert corpus.notes == ("ravdess: 6 copies dropped (same file name and same bytes as one that is kept)",)


def test_the_published_grid() -> None:
    assert RAVDESS.published_total() == 1440
    assert len(RAVDESS.published_stems) == 1440
    assert RAVDESS.published["neutral"] == 96
    assert {count for emotion, count in RAVDESS.published.items() if emotion != "neutral"} == {192}
    assert CORPORA["ravdess"] is RAVDESS
    parsed = [parse_ravdess(Path(f"{stem}.wav")) for stem in RAVDESS.published_stems]
    assert Counter(labels.emotion for labels in parsed if labels) == RAVDESS.published


def test_the_real_corpus_has_the_published_counts(real_corpora_dir: Path) -> None:
    corpus = collect(real_corpora_dir / "ravdess", RAVDESS).accepted()
    assert Counter(utterance.emotion for utterance in corpus.utterances) == RAVDESS.published
    assert {utterance.path.stem for utterance in corpus.utterances} == RAVDESS.published_stems
    sexes = {utterance.speaker: utterance.sex for utterance in corpus.utterances}
    assert Counter(sexes.values()) == {"f": 12, "m": 12}
    (note,) = same_content_notes(corpus.utterances)
    assert "03-01-03-01-02-01-07 and ravdess/03-01-03-01-02-02-07" in note
