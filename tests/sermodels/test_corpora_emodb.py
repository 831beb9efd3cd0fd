"""EmoDB: names to labels, and its folder to a corpus."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from sermodels.corpora import CORPORA, same_content_notes
from sermodels.corpora.emodb import EMODB, parse_emodb
from sermodels.corpora.folder import collect
from sermodels.corpora.scheme import Labels
from sermodels.errors import CorpusError

WriteWav = Callable[..., Path]


@pytest.mark.parametrize(
    ("name", "labels"),
    [
        ("03a01Fa.wav", Labels(speaker="03", sex="m", sentence="a01", emotion="happiness", take="a")),
        ("08b10Wb.wav", Labels(speaker="08", sex="f", sentence="b10", emotion="anger", take="b")),
        ("16a07Ld.WAV", Labels(speaker="16", sex="f", sentence="a07", emotion="boredom", take="d")),
        ("11b03Ec.wav", Labels(speaker="11", sex="m", sentence="b03", emotion="disgust", take="c")),
        ("13a04Ac.wav", Labels(speaker="13", sex="f", sentence="a04", emotion="fear", take="c")),
        ("15b09Ta.Wav", Labels(speaker="15", sex="m", sentence="b09", emotion="sadness", take="a")),
        ("09a05Nb.wav", Labels(speaker="09", sex="f", sentence="a05", emotion="neutral", take="b")),
    ],
)
def test_names_are_parsed_by_the_published_scheme(name: str, labels: Labels) -> None:
    assert parse_emodb(Path("emodb", name)) == labels


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("03a01Xa.wav", "unknown EmoDB emotion letter 'X'; allowed: W anger, L boredom, E disgust, A fear, F happ"),
        ("04a01Fa.wav", "unknown EmoDB speaker '04'; allowed: 03 m, 08 f"),
        ("03a03Fa.wav", "unknown EmoDB text 'a03'; allowed: a01, a02, a04"),
        ("03a01fa.wav", "does not follow EmoDB's scheme, for example 03a01Fa.wav"),
        ("03a01F.wav", "does not follow EmoDB's scheme"),
        ("03a01Fa (1).wav", "does not follow EmoDB's scheme"),
        ("٠٣a01Fa.wav", "unknown EmoDB speaker"),
        ("03-01-01-01-01-01-01.wav", "does not follow EmoDB's scheme"),
    ],
)
def test_other_names_are_refused_with_what_is_allowed(name: str, message: str) -> None:
    with pytest.raises(CorpusError) as raised:
        parse_emodb(Path("emodb", name))
    assert str(raised.value).startswith(f"emodb/{name}: ")
    assert message in str(raised.value)


def test_published_counts_are_those_of_the_protocol() -> None:
    assert EMODB.published_total() == 535
    assert EMODB.published == {
        "neutral": 79,
        "anger": 127,
        "sadness": 62,
        "fear": 69,
        "happiness": 71,
        "disgust": 46,
        "boredom": 81,
    }
    assert CORPORA["emodb"] is EMODB


def test_a_folder_becomes_utterances_with_identifier_speaker_and_content(tmp_path: Path, write_wav: WriteWav) -> None:
    path = write_wav(tmp_path / "emodb" / "03a01Fa.wav")
    (utterance,) = collect(tmp_path / "emodb", EMODB).accepted().utterances
    assert utterance.identifier == "emodb/03a01Fa"
    assert utterance.speaker == "emodb/03"
    assert utterance.path == path
    assert (utterance.corpus, utterance.emotion, utterance.sex) == ("emodb", "happiness", "m")
    assert (utterance.sentence, utterance.intensity, utterance.take) == ("a01", "", "a")
    assert len(utterance.sha256) == 64


def test_the_zip_layout_upper_case_and_hidden_files(tmp_path: Path, write_wav: WriteWav) -> None:
    folder = tmp_path / "emodb"
    write_wav(folder / "wav" / "03a01Fa.WAV", content=1)
    write_wav(folder / "wav" / "08a01Na.wav", content=2)
    (folder / "wav" / "._08a01Na.wav").write_text("resource fork")
    (folder / "__MACOSX" / "wav").mkdir(parents=True)
    (folder / "__MACOSX" / "wav" / "x.wav").write_text("resource fork")
    (folder / ".cache").mkdir()
    (folder / ".cache" / "y.wav").write_text("hidden")
    (folder / "erklaerung.txt").write_text("no recording")
    corpus = collect(folder, EMODB).accepted()
    assert [utterance.identifier for utterance in corpus.utterances] == ["emodb/03a01Fa", "emodb/08a01Na"]
    assert corpus.notes == ()


def test_copies_are_dropped_with_one_note(tmp_path: Path, write_wav: WriteWav) -> None:
    folder = tmp_path / "emodb"
    for place in (".", "wav", "wav/again"):
        write_wav(folder / place / "03a01Fa.wav", content=1)
        write_wav(folder / place / "08a01Na.wav", content=2)
    corpus = collect(folder, EMODB).accepted()
    assert [utterance.path for utterance in corpus.utterances] == [folder / "03a01Fa.wav", folder / "08a01Na.wav"]
    assert len(corpus.notes) == 1
    assert "4 copies dropped" in corpus.notes[0]


def test_one_name_with_two_contents_names_both_paths(tmp_path: Path, write_wav: WriteWav) -> None:
    folder = tmp_path / "emodb"
    write_wav(folder / "03a01Fa.wav", content=1)
    write_wav(folder / "wav" / "03a01Fa.wav", content=2)
    write_wav(folder / "wav" / "copy" / "03a01Fa.wav", content=1)
    findings = collect(folder, EMODB)
    assert len(findings.corpus.utterances) == 1
    assert "1 copy dropped" in findings.corpus.notes[0]
    with pytest.raises(CorpusError) as raised:
        findings.accepted()
    assert str(folder / "03a01Fa.wav") in str(raised.value)
    assert str(folder / "wav" / "03a01Fa.wav") in str(raised.value)


def test_one_recording_under_two_names_is_kept_and_noted(tmp_path: Path, write_wav: WriteWav) -> None:
    for name in ("03a01Fa", "03a01Fb", "03a02Fa"):
        write_wav(tmp_path / "emodb" / f"{name}.wav", content=name == "03a02Fa")
    corpus = collect(tmp_path / "emodb", EMODB).accepted()
    assert len(corpus.utterances) == 3
    (note,) = same_content_notes(corpus.utterances)
    assert "emodb/03a01Fa and emodb/03a01Fb" in note
    assert "03a02Fa" not in note


def test_every_misnamed_or_unreadable_file_is_found(tmp_path: Path, write_wav: WriteWav) -> None:
    folder = tmp_path / "emodb"
    write_wav(folder / "03a01Fa.wav")
    for name in ("noise.wav", "99a01Fa.wav"):
        write_wav(folder / name)
    (folder / "08a01Na.wav").symlink_to("nowhere.wav")
    findings = collect(folder, EMODB)
    assert [problem.split(":")[0] for problem in findings.problems] == [
        str(folder / name) for name in ("08a01Na.wav", "99a01Fa.wav", "noise.wav")
    ]
    with pytest.raises(CorpusError, match=r"08a01Na.*99a01Fa.*noise"):
        findings.accepted()


def test_many_problems_are_counted_in_the_error(tmp_path: Path, write_wav: WriteWav) -> None:
    for number in range(13):
        write_wav(tmp_path / "emodb" / f"take{number:02d}.wav")
    with pytest.raises(CorpusError, match=r"take09.*; and 3 more$") as raised:
        collect(tmp_path / "emodb", EMODB).accepted()
    assert "take10" not in str(raised.value)


@pytest.mark.parametrize("state", ["missing", "empty", "file"])
def test_an_unusable_folder_tells_what_to_put_where(tmp_path: Path, state: str) -> None:
    folder = tmp_path / "data" / "emodb"
    folder.parent.mkdir()
    if state == "empty":
        folder.mkdir()
    elif state == "file":
        folder.write_text("not a folder")
    with pytest.raises(CorpusError) as raised:
        collect(folder, EMODB)
    reason = {"missing": "No such file", "empty": "holds no .wav file", "file": "Not a directory"}[state]
    for part in (str(folder), reason, "emodb/*.wav", f"python -m sermodels.corpora download {tmp_path / 'data'}"):
        assert part in str(raised.value)


def test_a_folder_without_permission_is_named(locked: Path) -> None:
    with pytest.raises(
        CorpusError, match=r"emodb: cannot be read \(Permission denied\); put the emodb recordings there"
    ):
        collect(locked, EMODB)


def test_linked_folders_are_followed_and_loops_end(tmp_path: Path, write_wav: WriteWav) -> None:
    write_wav(tmp_path / "elsewhere" / "03a01Fa.wav")
    folder = tmp_path / "emodb"
    folder.mkdir()
    (folder / "wav").symlink_to(tmp_path / "elsewhere")
    (folder / "loop").symlink_to(folder)
    assert [u.path for u in collect(folder, EMODB).accepted().utterances] == [folder / "wav" / "03a01Fa.wav"]


def test_the_real_corpus_has_the_published_counts(real_corpora_dir: Path) -> None:
    corpus = collect(real_corpora_dir / "emodb", EMODB).accepted()
    assert Counter(utterance.emotion for utterance in corpus.utterances) == EMODB.published
    assert len(corpus.speakers()) == 10
    assert corpus.notes == ()
    assert same_content_notes(corpus.utterances) == ()
    sexes = {utterance.speaker: utterance.sex for utterance in corpus.utterances}
    assert Counter(sexes.values()) == {"f": 5, "m": 5}
