"""Named corpora and manifests to the one corpus of a run."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from sermodels.config import CorpusConfig
from sermodels.corpora import Corpus, load_corpus
from sermodels.emotions import COMMON_EMOTIONS
from sermodels.errors import CorpusError

WriteWav = Callable[..., Path]

EMODB_NAMES = ("03a01Wa", "03a01Ea", "08a01Aa", "08a01Fa", "09a01Na", "09a01Ta", "09a01La")
RAVDESS_NAMES = ("03-01-05-01-01-01-01", "03-01-02-01-01-01-01", "03-01-08-01-01-01-01")


@pytest.fixture
def data_dir(tmp_path: Path, write_wav: WriteWav) -> Path:
    """Seven recordings as EmoDB names them, one an emotion, and three as RAVDESS does."""
    for content, name in enumerate(EMODB_NAMES):
        write_wav(tmp_path / "data" / "emodb" / f"{name}.wav", content=content)
    for content, name in enumerate(RAVDESS_NAMES, start=len(EMODB_NAMES)):
        write_wav(tmp_path / "data" / "ravdess" / "Actor_01" / f"{name}.wav", content=content)
    return tmp_path / "data"


def _identifiers(corpus: Corpus) -> list[str]:
    return [utterance.identifier for utterance in corpus.utterances]


def test_the_six_common_emotions_of_both_corpora_sorted(data_dir: Path) -> None:
    corpus = load_corpus(CorpusConfig(data_dir=str(data_dir)))
    assert _identifiers(corpus) == sorted(_identifiers(corpus))
    assert len(corpus.utterances) == 7
    assert {utterance.emotion for utterance in corpus.utterances} == set(COMMON_EMOTIONS)
    assert corpus.speakers() == ("emodb/03", "emodb/08", "emodb/09", "ravdess/01")


def test_other_classes_are_reached_by_config(data_dir: Path) -> None:
    config = CorpusConfig(data_dir=str(data_dir), emotions=("surprise", "boredom", "calm"))
    assert _identifiers(load_corpus(config)) == [
        "emodb/09a01La",
        "ravdess/03-01-02-01-01-01-01",
        "ravdess/03-01-08-01-01-01-01",
    ]


def test_one_corpus_alone(data_dir: Path) -> None:
    shutil.rmtree(data_dir / "ravdess")
    assert len(load_corpus(CorpusConfig(data_dir=str(data_dir), names=("emodb",))).utterances) == 6


def test_an_incomplete_published_corpus_is_noted(data_dir: Path) -> None:
    notes = load_corpus(CorpusConfig(data_dir=str(data_dir), names=("emodb",))).notes
    assert notes == (
        f"emodb: 7 recordings, 535 are published; see python -m sermodels.corpora audit {data_dir / 'emodb'}",
    )


def test_a_selected_emotion_without_recordings_is_an_error(data_dir: Path) -> None:
    config = CorpusConfig(data_dir=str(data_dir), names=("emodb",), emotions=("anger", "calm", "surprise"))
    with pytest.raises(
        CorpusError, match=r"no recording of calm, surprise; these corpora hold: anger, boredom, disgust"
    ):
        load_corpus(config)


def test_an_unknown_name_lists_the_known(data_dir: Path) -> None:
    with pytest.raises(CorpusError, match=r"unknown corpus 'crema'; allowed: emodb, ravdess, demo"):
        load_corpus(CorpusConfig(data_dir=str(data_dir), names=("crema",)))


def test_a_missing_corpus_tells_what_to_put_where(data_dir: Path) -> None:
    shutil.rmtree(data_dir / "ravdess")
    with pytest.raises(CorpusError) as raised:
        load_corpus(CorpusConfig(data_dir=str(data_dir)))
    for part in (str(data_dir / "ravdess"), "Actor_XX/*.wav", f"python -m sermodels.corpora download {data_dir}"):
        assert part in str(raised.value)


def test_manifests_join_the_named_corpora(data_dir: Path, tmp_path: Path, write_wav: WriteWav) -> None:
    write_wav(tmp_path / "own" / "x.wav", content=90)
    (tmp_path / "own" / "list.csv").write_text("path,emotion,speaker\nx.wav,fear,1\n")
    corpus = load_corpus(CorpusConfig(data_dir=str(data_dir), manifests=(str(tmp_path / "own" / "list.csv"),)))
    assert "list/x" in _identifiers(corpus)
    assert len(corpus.utterances) == 8


def test_manifests_alone_need_no_data_folder(tmp_path: Path, write_wav: WriteWav) -> None:
    rows = []
    for content, emotion in enumerate(COMMON_EMOTIONS):
        write_wav(tmp_path / f"{emotion}.wav", content=content)
        rows.append(f"{emotion}.wav,{emotion},s{content % 2}\n")
    (tmp_path / "own.csv").write_text("path,emotion,speaker\n" + "".join(rows))
    config = CorpusConfig(data_dir=str(tmp_path / "none"), names=(), manifests=(str(tmp_path / "own.csv"),))
    corpus = load_corpus(config)
    assert corpus.speakers() == ("own/s0", "own/s1")
    assert corpus.notes == ()


def test_a_recording_in_two_sources_is_an_error(data_dir: Path) -> None:
    manifest = data_dir / "again.csv"
    manifest.write_text("path,emotion,speaker\nravdess/../emodb/03a01Wa.wav,anger,1\n")
    with pytest.raises(CorpusError, match=r"the file .*03a01Wa\.wav comes twice"):
        load_corpus(CorpusConfig(data_dir=str(data_dir), manifests=(str(manifest),)))


def test_one_identifier_in_two_manifests_is_an_error(data_dir: Path, tmp_path: Path, write_wav: WriteWav) -> None:
    manifests = []
    for content, folder in enumerate(("one", "two")):
        write_wav(tmp_path / folder / "x.wav", content=content)
        manifests.append(tmp_path / folder / "list.csv")
        manifests[-1].write_text("path,emotion,speaker\nx.wav,fear,1\n")
    config = CorpusConfig(data_dir=str(data_dir), manifests=tuple(map(str, manifests)))
    with pytest.raises(CorpusError, match=r"the identifier list/x comes twice .* corpus column"):
        load_corpus(config)
    manifests[1].write_text("path,emotion,speaker,corpus\nx.wav,fear,1,other\n")
    assert {"list/x", "other/x"} <= set(_identifiers(load_corpus(config)))


def test_a_corpus_named_twice_is_an_error(data_dir: Path) -> None:
    with pytest.raises(CorpusError, match="comes twice"):
        load_corpus(CorpusConfig(data_dir=str(data_dir), names=("emodb", "emodb")))


def test_equal_contents_in_two_sources_are_noted(data_dir: Path, tmp_path: Path) -> None:
    shutil.copy(data_dir / "emodb" / "03a01Wa.wav", tmp_path / "copy.wav")
    (tmp_path / "own.csv").write_text("path,emotion,speaker\ncopy.wav,anger,1\n")
    corpus = load_corpus(CorpusConfig(data_dir=str(data_dir), manifests=(str(tmp_path / "own.csv"),)))
    assert any("emodb/03a01Wa and own/copy are one recording under 2 names" in note for note in corpus.notes)


def test_the_demo_corpus_makes_itself(tmp_path: Path) -> None:
    config = CorpusConfig(data_dir=str(tmp_path), names=("demo",), demo_seed=3)
    corpus = load_corpus(config)
    assert set(corpus.counts()) == {"demo-emodb", "demo-ravdess"}
    assert {emotion for counts in corpus.counts().values() for emotion in counts} == set(COMMON_EMOTIONS)
    assert "demo-emodb/03" in corpus.speakers()
    assert all(Path(tmp_path, "demo") in utterance.path.parents for utterance in corpus.utterances)
    assert corpus.notes == ("demo: synthetic speech; numbers from it mean nothing about people",)
    assert json.loads((tmp_path / "demo" / "demo.json").read_text())["seed"] == 3
    assert load_corpus(config) == corpus


def test_the_digest_does_not_depend_on_the_place(data_dir: Path, tmp_path: Path) -> None:
    shutil.copytree(data_dir, tmp_path / "moved")
    here, there = (load_corpus(CorpusConfig(data_dir=str(folder))) for folder in (data_dir, tmp_path / "moved"))
    assert here.digest() == there.digest()
    shutil.copy(data_dir / "emodb" / "03a01Wa.wav", tmp_path / "moved" / "emodb" / "03a01Ea.wav")
    assert load_corpus(CorpusConfig(data_dir=str(tmp_path / "moved"))).digest() != here.digest()


def test_the_real_corpora_are_1510_clips_of_34_speakers(real_corpora_dir: Path) -> None:
    corpus = load_corpus(CorpusConfig(data_dir=str(real_corpora_dir)))
    assert len(corpus.utterances) == 1510
    assert len(corpus.speakers()) == 34
    counts = corpus.counts()
    assert counts["emodb"] == dict(zip(COMMON_EMOTIONS, (127, 46, 69, 71, 79, 62), strict=True))
    assert counts["ravdess"] == dict(zip(COMMON_EMOTIONS, (192, 192, 192, 192, 96, 192), strict=True))
    (note,) = corpus.notes
    assert "ravdess/03-01-03-01-02-01-07 and ravdess/03-01-03-01-02-02-07" in note
