"""Downloads against a real server on this machine: whole, broken off, resumed, refused, wrong."""

import hashlib
import io
import subprocess
import sys
import threading
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from sermodels.corpora import CORPORA
from sermodels.corpora.__main__ import main
from sermodels.corpora.download import ARCHIVES, Archive, download
from sermodels.corpora.folder import collect
from sermodels.corpora.resume import ResumingDownloader
from sermodels.errors import CorpusError, StorageError

WriteWav = Callable[..., Path]

REPOSITORY = Path(__file__).resolve().parents[2]
EMODB_FILES = ("emodb/wav/03a01Fa.wav", "emodb/wav/08a01Na.wav", "emodb/wav/16b10Wb.wav")
RAVDESS_FILES = ("Actor_01/03-01-03-01-01-01-01.wav", "Actor_02/03-01-05-02-02-02-02.wav")


def _zip(members: Mapping[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        for name, content in members.items():
            file.writestr(name, content)
    return buffer.getvalue()


def _publish(home: SimpleNamespace, name: str, content: bytes) -> Archive:
    """Put a zip file on the server; gives the archive with that file's md5 and home."""
    archive = ARCHIVES[name]
    home.files[archive.file] = content
    return replace(archive, home=home.url, md5=hashlib.md5(content).hexdigest())


@pytest.fixture
def recordings(tmp_path: Path, write_wav: WriteWav) -> Callable[[tuple[str, ...]], dict[str, bytes]]:
    def make(names: tuple[str, ...]) -> dict[str, bytes]:
        return {
            name: write_wav(tmp_path / "made" / f"{number}.wav", content=number, duration_s=0.5).read_bytes()
            for number, name in enumerate(names)
        }

    return make


@pytest.fixture
def emodb(home: SimpleNamespace, recordings: Callable[[tuple[str, ...]], dict[str, bytes]]) -> Archive:
    """Three recordings and what else the original holds, as a zip file on the server."""
    others = {"emodb/db.files.csv": b"file,duration\n", "__MACOSX/emodb/wav/._03a01Fa.wav": b"resource fork"}
    return _publish(home, "emodb", _zip(recordings(EMODB_FILES) | others))


def _files(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_the_homes_and_checksums_are_the_published_ones() -> None:
    assert ARCHIVES.keys() == CORPORA.keys()
    ravdess, emodb = ARCHIVES["ravdess"], ARCHIVES["emodb"]
    assert (ravdess.home, ravdess.file) == ("https://zenodo.org/records/1188976/files", "Audio_Speech_Actors_01-24.zip")
    assert ravdess.md5 == "bc696df654c87fed845eb13823edef8a"
    assert "CC BY-NC-SA 4.0" in ravdess.notice
    assert "Livingstone" in ravdess.notice
    assert (emodb.home, emodb.file) == ("https://zenodo.org/records/7447302/files", "emodb.zip")
    assert emodb.md5 == "9d21362dbc5676ef3ab4745d83ced0db"
    assert "Burkhardt" in emodb.notice


def test_emodb_is_laid_out_flat(tmp_path: Path, home: SimpleNamespace, emodb: Archive) -> None:
    data = tmp_path / "data"
    message = download(data, emodb)
    assert _files(data) == ["downloads/emodb.zip", *(f"emodb/{Path(name).name}" for name in EMODB_FILES)]
    assert message.startswith(f"emodb: 3 recordings in {data / 'emodb'}")
    assert len(collect(data / "emodb", CORPORA["emodb"]).accepted().utterances) == 3
    assert home.asked == [None]


def test_ravdess_keeps_its_actors(
    tmp_path: Path, home: SimpleNamespace, recordings: Callable[[tuple[str, ...]], dict[str, bytes]]
) -> None:
    archive = _publish(home, "ravdess", _zip(recordings(RAVDESS_FILES)))
    download(tmp_path / "data", archive)
    assert _files(tmp_path / "data" / "ravdess") == list(RAVDESS_FILES)
    assert len(collect(tmp_path / "data" / "ravdess", CORPORA["ravdess"]).accepted().utterances) == 2


def test_a_mirror_replaces_the_public_home(tmp_path: Path, home: SimpleNamespace, emodb: Archive) -> None:
    public = replace(emodb, home="http://127.0.0.1:1/nowhere")
    download(tmp_path / "data", public, base_url=f"{home.url}/")
    assert len(_files(tmp_path / "data" / "emodb")) == 3


def test_a_download_that_was_cut_is_resumed(tmp_path: Path, home: SimpleNamespace, emodb: Archive) -> None:
    data = tmp_path / "data"
    home.cut_after = 16_384
    with pytest.raises(CorpusError, match=r"emodb\.zip cannot be downloaded \(.*; run again to go on, or place"):
        download(data, emodb)
    assert _files(data) == ["downloads/emodb.zip.part"]
    assert (data / "downloads" / "emodb.zip.part").read_bytes() == home.files["emodb.zip"][:16_384]
    with pytest.raises(CorpusError, match="cannot be downloaded"):
        download(data, emodb)
    assert (data / "downloads" / "emodb.zip.part").stat().st_size == 32_768
    home.cut_after = None
    download(data, emodb)
    assert home.asked == [None, "bytes=16384-", "bytes=32768-"]
    assert (data / "downloads" / "emodb.zip").read_bytes() == home.files["emodb.zip"]
    assert len(_files(data / "emodb")) == 3


@pytest.mark.parametrize("fault", ["ranges", "shifted"])
def test_a_server_that_does_not_continue_is_asked_for_the_whole(
    tmp_path: Path, home: SimpleNamespace, emodb: Archive, fault: str
) -> None:
    data = tmp_path / "data"
    home.cut_after = 16_384
    with pytest.raises(CorpusError):
        download(data, emodb)
    home.cut_after = None
    setattr(home, fault, fault == "shifted")
    download(data, emodb)
    assert len(_files(data / "emodb")) == 3
    assert home.asked == ([None, "bytes=16384-"] if fault == "ranges" else [None, "bytes=16384-", None])


def test_a_part_that_is_whole_needs_no_more_bytes(tmp_path: Path, home: SimpleNamespace, emodb: Archive) -> None:
    part = tmp_path / "data" / "downloads" / "emodb.zip.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(home.files["emodb.zip"])
    download(tmp_path / "data", emodb)
    assert home.asked == [f"bytes={len(home.files['emodb.zip'])}-"]


def test_a_part_longer_than_the_file_is_thrown_away(tmp_path: Path, home: SimpleNamespace, emodb: Archive) -> None:
    part = tmp_path / "data" / "downloads" / "emodb.zip.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(home.files["emodb.zip"] + b"more")
    download(tmp_path / "data", emodb)
    assert len(_files(tmp_path / "data" / "emodb")) == 3


def test_a_damaged_part_fails_the_checksum_once(tmp_path: Path, home: SimpleNamespace, emodb: Archive) -> None:
    data = tmp_path / "data"
    part = data / "downloads" / "emodb.zip.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(b"x" * 1_000)
    with pytest.raises(CorpusError, match="is not the published file"):
        download(data, emodb)
    assert _files(data) == []
    download(data, emodb)
    assert home.asked == ["bytes=1000-", None]
    assert len(_files(data / "emodb")) == 3


def test_another_file_than_the_published_is_refused(tmp_path: Path, home: SimpleNamespace, emodb: Archive) -> None:
    home.files["emodb.zip"] += b"changed"
    with pytest.raises(CorpusError, match=f"is not the published file: its md5 is not {emodb.md5}"):
        download(tmp_path / "data", emodb)
    assert _files(tmp_path / "data") == []


@pytest.mark.parametrize("status", [403, 404, 500])
def test_a_refusal_of_the_server_is_told(tmp_path: Path, home: SimpleNamespace, emodb: Archive, status: int) -> None:
    home.status = status
    with pytest.raises(CorpusError, match=f"{home.url}/emodb.zip cannot be downloaded .{status} ") as raised:
        download(tmp_path / "data", emodb)
    assert f"place the recordings as {tmp_path / 'data' / 'emodb'}/*.wav" in str(raised.value)
    assert _files(tmp_path / "data") == []


def test_no_connection_is_told(tmp_path: Path, emodb: Archive) -> None:
    with pytest.raises(CorpusError, match=r"cannot be downloaded \(.*Connection refused\); run again"):
        download(tmp_path / "data", emodb, base_url="http://127.0.0.1:1")
    assert _files(tmp_path / "data") == []


def test_no_such_host_is_told(tmp_path: Path, emodb: Archive) -> None:
    with pytest.raises(CorpusError, match=r"http://corpora\.invalid/emodb\.zip cannot be downloaded"):
        download(tmp_path / "data", emodb, base_url="http://corpora.invalid")


def test_an_address_without_scheme_is_told(tmp_path: Path, emodb: Archive) -> None:
    with pytest.raises(CorpusError, match=r"mirror/emodb\.zip cannot be downloaded"):
        download(tmp_path / "data", emodb, base_url="mirror")


def test_a_silent_server_is_not_waited_for(tmp_path: Path, home: SimpleNamespace, emodb: Archive) -> None:
    home.silent = threading.Event()
    part = tmp_path / "emodb.zip.part"
    with pytest.raises(OSError, match="timed out"):
        ResumingDownloader(part, timeout_s=0.2)(f"{emodb.home}/{emodb.file}", str(tmp_path / "emodb.zip"), None)
    assert not part.exists()


def test_a_zip_file_placed_by_hand_needs_no_network(tmp_path: Path, home: SimpleNamespace, emodb: Archive) -> None:
    cache = tmp_path / "data" / "downloads"
    cache.mkdir(parents=True)
    (cache / "emodb.zip").write_bytes(home.files["emodb.zip"])
    download(tmp_path / "data", emodb, base_url="http://127.0.0.1:1")
    assert len(_files(tmp_path / "data" / "emodb")) == 3
    assert home.asked == []


def test_a_zip_file_that_reaches_outside_is_refused(tmp_path: Path, home: SimpleNamespace) -> None:
    archive = _publish(home, "ravdess", _zip({"Actor_01/03-01-03-01-01-01-01.wav": b"x", "../evil.wav": b"y"}))
    with pytest.raises(CorpusError, match="names a file outside of its folder"):
        download(tmp_path / "data", archive)
    assert _files(tmp_path) == [f"data/downloads/{archive.file}"]
    assert not (tmp_path / "data" / "ravdess").exists()


def test_a_corpus_that_is_there_is_left_alone(tmp_path: Path, home: SimpleNamespace, emodb: Archive) -> None:
    download(tmp_path / "data", emodb)
    with pytest.raises(CorpusError, match=r"holds 3 of 535 recordings; move .* away to download it whole"):
        download(tmp_path / "data", emodb)
    assert home.asked == [None]


def test_a_whole_corpus_is_not_downloaded_again(real_corpora_dir: Path) -> None:
    message = download(real_corpora_dir, ARCHIVES["emodb"], base_url="http://127.0.0.1:1")
    assert message == f"emodb: all 535 recordings are in {real_corpora_dir / 'emodb'} already; nothing was downloaded"


def test_other_files_in_the_corpus_folder_are_kept(tmp_path: Path, home: SimpleNamespace, emodb: Archive) -> None:
    mine = tmp_path / "data" / "emodb" / "notes.txt"
    mine.parent.mkdir(parents=True)
    mine.write_text("mine")
    with pytest.raises(CorpusError, match="holds other files"):
        download(tmp_path / "data", emodb)
    assert mine.read_text() == "mine"
    assert home.asked == []


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path, emodb: Archive) -> None:
    (tmp_path / "data").write_text("a file")
    with pytest.raises(StorageError, match="cannot be written"):
        download(tmp_path / "data", emodb)


def test_the_command_prints_licence_and_result(
    tmp_path: Path,
    home: SimpleNamespace,
    emodb: Archive,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(ARCHIVES, "emodb", emodb)  # a tiny zip file has another checksum than the published
    assert main(["download", str(tmp_path / "data"), "emodb", "--base-url", home.url]) == 0
    output = capsys.readouterr()
    assert output.out.splitlines()[0] == emodb.notice
    assert output.out.splitlines()[1].startswith("emodb: 3 recordings in ")
    assert "100%" in output.err


def test_the_command_fails_in_one_line(tmp_path: Path, home: SimpleNamespace, emodb: Archive) -> None:
    command = [sys.executable, "-m", "sermodels.corpora", "download", str(tmp_path / "data"), "--base-url"]
    for url, reason in ((home.url, "is not the published file"), ("http://127.0.0.1:1", "Connection refused")):
        done = subprocess.run([*command, url], cwd=REPOSITORY, capture_output=True, text=True, check=False)
        assert done.returncode == 1
        assert done.stderr.splitlines()[-1].startswith(f"error: {url}/{emodb.file} ")
        assert reason in done.stderr
        assert "Traceback" not in done.stderr
    assert not (tmp_path / "data" / "emodb").exists()


def test_an_unknown_corpus_is_wrong_usage(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as raised:
        main(["download", str(tmp_path), "crema"])
    assert raised.value.code == 2
    assert "unknown corpus crema; allowed: emodb, ravdess" in capsys.readouterr().err
