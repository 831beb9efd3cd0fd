"""Anyone's own recordings, listed in a CSV."""

from collections.abc import Callable
from pathlib import Path

import pytest

from sermodels.corpora.manifest import read_manifest
from sermodels.corpora.utterance import Corpus
from sermodels.errors import CorpusError

WriteWav = Callable[..., Path]


@pytest.fixture
def manifest(tmp_path: Path, write_wav: WriteWav) -> Path:
    """Where the CSV goes; clips/a.wav, clips/b.wav and other/a.wav are beside it."""
    for content, name in enumerate(("clips/a.wav", "clips/b.wav", "other/a.wav")):
        write_wav(tmp_path / name, content=content)
    return tmp_path / "mine.csv"


def _read(manifest: Path, text: str) -> Corpus:
    manifest.write_text(text, encoding="utf-8")
    return read_manifest(manifest).accepted()


def test_required_columns_alone(manifest: Path) -> None:
    corpus = _read(manifest, "path,emotion,speaker\nclips/a.wav,anger,7\nclips/b.wav,calm,Zoë\n")
    first, second = corpus.utterances
    assert (first.identifier, first.corpus, first.speaker, first.emotion) == ("mine/a", "mine", "mine/7", "anger")
    assert first.path == manifest.parent / "clips" / "a.wav"
    assert (first.sex, first.sentence, first.intensity, first.take) == ("", "", "", "")
    assert (second.identifier, second.speaker, second.emotion) == ("mine/b", "mine/Zoë", "calm")
    assert first.sha256 != second.sha256


def test_optional_columns_in_any_order_with_spaces_and_absolute_paths(manifest: Path) -> None:
    absolute = manifest.parent / "clips" / "b.wav"
    corpus = _read(
        manifest,
        "speaker, corpus ,sex,path,sentence,emotion\n"
        ' 1 ,ours, Female ,clips/a.wav,"Well, well.",fear\n\n'
        f"2,,m,{absolute},,sadness\n",
    )
    first, second = corpus.utterances
    assert (first.identifier, first.speaker, first.sex, first.sentence) == ("ours/a", "ours/1", "f", "Well, well.")
    assert (second.identifier, second.speaker, second.sex, second.sentence) == ("mine/b", "mine/2", "m", "")
    assert second.path == absolute


@pytest.mark.parametrize(
    ("sex", "kept"), [("f", "f"), ("F", "f"), ("female", "f"), ("male", "m"), ("M", "m"), ("", "")]
)
def test_sexes(manifest: Path, sex: str, kept: str) -> None:
    corpus = _read(manifest, f"path,emotion,speaker,sex\nclips/a.wav,anger,7,{sex}\n")
    assert corpus.utterances[0].sex == kept


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_with_and_without_byte_order_mark(manifest: Path, encoding: str, newline: str) -> None:
    text = newline.join(["path,emotion,speaker", "clips/a.wav,anger,Jürgen", ""])
    manifest.write_bytes(text.encode(encoding))
    (utterance,) = read_manifest(manifest).accepted().utterances
    assert utterance.speaker == "mine/Jürgen"


def test_equal_names_in_two_folders_get_their_path_in_the_identifier(manifest: Path) -> None:
    corpus = _read(manifest, "path,emotion,speaker\nclips/a.wav,anger,7\nclips/b.wav,fear,7\nother/a.wav,calm,8\n")
    identifiers = [utterance.identifier for utterance in corpus.utterances]
    assert identifiers == ["mine/clips/a.wav", "mine/b", "mine/other/a.wav"]


def test_equal_names_in_two_corpora_need_no_path(manifest: Path) -> None:
    corpus = _read(manifest, "path,emotion,speaker,corpus\nclips/a.wav,anger,7,one\nother/a.wav,calm,7,two\n")
    assert [utterance.identifier for utterance in corpus.utterances] == ["one/a", "two/a"]
    assert corpus.speakers() == ("one/7", "two/7")


HEADER = "path,emotion,speaker,sex\n"


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        (
            HEADER + "clips/a.wav,joy,7,f\n",
            2,
            "unknown emotion 'joy'; allowed: anger, disgust, fear, happiness, neutral,",
        ),
        (HEADER + "clips/a.wav,Anger,7,f\n", 2, "unknown emotion 'Anger'"),
        (HEADER + "\nclips/a.wav,anger,,f\n", 3, "empty cell in column 'speaker'"),
        (HEADER + ",,7,f\n", 2, "empty cell in column 'path', 'emotion'"),
        (HEADER + "clips/a.wav,anger,7,x\n", 2, "unknown sex 'x'; allowed: f, m, female, male"),
        (HEADER + "clips/a.wav,anger,7,f\nclips/c.wav,anger,7,f\n", 3, "c.wav: cannot be read (No such file"),
        (HEADER + "clips,anger,7,f\n", 2, "clips: cannot be read (Is a directory"),
        (HEADER + "clips/a.wav,anger,7\n", 2, "3 cells, the header has 4"),
        (HEADER + "clips/a.wav,anger,7,f,\n", 2, "5 cells, the header has 4; quote"),
        (HEADER + "clips/a.wav,anger,7,f\nclips/../clips/a.wav,fear,7,f\n", 3, "again, which line 2 lists"),
        ("path,emotion,speaker,corpus\nclips/a.wav,anger,7,a/b\n", 2, "corpus 'a/b' contains a slash"),
        (
            "path,emotion,speaker,mood\nclips/a.wav,anger,7,x\n",
            1,
            "unknown column 'mood'; allowed, separated by commas",
        ),
        ("path,emotion\nclips/a.wav,anger\n", 1, "missing column 'speaker'"),
        ("path,emotion,speaker,path\na,anger,7,b\n", 1, "repeated column 'path'"),
        ("path;emotion;speaker\nclips/a.wav;anger;7\n", 1, "missing column 'path', 'emotion', 'speaker'"),
    ],
)
def test_wrong_lines_are_named(manifest: Path, text: str, line: int, message: str) -> None:
    with pytest.raises(CorpusError) as raised:
        _read(manifest, text)
    assert str(raised.value).startswith(f"{manifest} line {line}: ")
    assert message in str(raised.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty; its first line names the columns"),
        (b"path,emotion,speaker\n", "lists no recording"),
        (b"path,emotion,speaker\n\n,,\n", "lists no recording"),
        ("path,emotion,speaker\na.wav,anger,Jürgen\n".encode("latin-1"), "is not UTF-8"),
        (b'path,emotion,speaker\n"a.wav,anger,7\n', "is not a CSV file"),
    ],
)
def test_unusable_files_are_named(manifest: Path, content: bytes, message: str) -> None:
    manifest.write_bytes(content)
    with pytest.raises(CorpusError) as raised:
        read_manifest(manifest)
    assert str(raised.value).startswith(f"{manifest}: {message}")


def test_a_missing_manifest_is_named(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match=r"none\.csv: cannot be read \(No such file"):
        read_manifest(tmp_path / "none.csv")


def test_all_wrong_lines_are_found_and_the_others_kept(manifest: Path) -> None:
    manifest.write_text(HEADER + "clips/a.wav,joy,7,f\nclips/b.wav,fear,7,f\nclips/c.wav,fear,7,f\n", encoding="utf-8")
    findings = read_manifest(manifest)
    assert [utterance.identifier for utterance in findings.corpus.utterances] == ["mine/b"]
    assert [problem.split(": ")[0] for problem in findings.problems] == [f"{manifest} line 2", f"{manifest} line 4"]
