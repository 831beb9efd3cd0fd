"""Zip files to corpus folders: laid out, or refused without a trace."""

import os
import zipfile
from collections.abc import Mapping
from pathlib import Path

import pytest

from sermodels.corpora.unpack import unpack_recordings
from sermodels.errors import CorpusError


def _zip(path: Path, members: Mapping[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as file:
        for name, content in members.items():
            file.writestr(name, content)
    return path


def _files(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


MEMBERS = {
    "set/Actor_01/a.wav": b"a",
    "set/Actor_02/b.WAV": b"b",
    "set/readme.txt": b"text",
    "set/Actor_01/._a.wav": b"resource fork",
    "__MACOSX/set/Actor_01/a.wav": b"resource fork",
}


@pytest.mark.parametrize(("levels", "names"), [(1, ["a.wav", "b.WAV"]), (2, ["Actor_01/a.wav", "Actor_02/b.WAV"])])
def test_the_last_levels_of_the_path_are_kept(tmp_path: Path, levels: int, names: list[str]) -> None:
    archive = _zip(tmp_path / "set.zip", MEMBERS)
    assert unpack_recordings(archive, tmp_path / "data" / "set", levels=levels) == 2
    assert _files(tmp_path / "data") == [f"set/{name}" for name in names]
    assert (tmp_path / "data" / "set" / names[0]).read_bytes() == b"a"


def test_the_folder_has_the_usual_permissions(tmp_path: Path) -> None:
    unpack_recordings(_zip(tmp_path / "set.zip", MEMBERS), tmp_path / "set", levels=1)
    mask = os.umask(0)
    os.umask(mask)
    assert (tmp_path / "set").stat().st_mode & 0o777 == 0o777 & ~mask


@pytest.mark.parametrize(
    "name", ["../a.wav", "set/../../a.wav", "/tmp/a.wav", "..\\a.wav", "C:\\a.wav", "../readme.txt"]
)
def test_a_member_that_reaches_outside_is_refused(tmp_path: Path, name: str) -> None:
    archive = _zip(tmp_path / "set.zip", {"set/b.wav": b"b", name: b"x"})
    with pytest.raises(CorpusError, match=r"set\.zip: names a file outside of its folder"):
        unpack_recordings(archive, tmp_path / "data" / "set", levels=2)
    assert _files(tmp_path) == ["set.zip"]


def test_a_zip_file_without_recordings_is_refused(tmp_path: Path) -> None:
    archive = _zip(tmp_path / "set.zip", {"set/readme.txt": b"text"})
    with pytest.raises(CorpusError, match=r"holds no \.wav file"):
        unpack_recordings(archive, tmp_path / "set", levels=1)
    assert _files(tmp_path) == ["set.zip"]
    assert not (tmp_path / "set").exists()


@pytest.mark.parametrize("damage", ["text", "cut", "flipped"])
def test_a_damaged_zip_file_leaves_nothing(tmp_path: Path, damage: str) -> None:
    archive = _zip(tmp_path / "set.zip", {"set/a.wav": b"first", "set/b.wav": b"second"})
    content = archive.read_bytes()
    damaged = {"text": b"no zip file", "cut": content[:-30], "flipped": content.replace(b"second", b"secund")}
    archive.write_bytes(damaged[damage])
    with pytest.raises(CorpusError, match="is no whole zip file"):
        unpack_recordings(archive, tmp_path / "set", levels=1)
    assert _files(tmp_path) == ["set.zip"]
    assert not (tmp_path / "set").exists()


def test_what_an_interrupted_unpacking_left_is_cleared(tmp_path: Path) -> None:
    left = tmp_path / ".set.part" / "old.wav"
    left.parent.mkdir()
    left.write_bytes(b"half")
    (tmp_path / "set").mkdir()
    unpack_recordings(_zip(tmp_path / "set.zip", MEMBERS), tmp_path / "set", levels=1)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["set", "set.zip"]
    assert _files(tmp_path / "set") == ["a.wav", "b.WAV"]


def test_files_in_the_target_are_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "mine.wav").write_bytes(b"mine")
    with pytest.raises(OSError, match="not empty"):
        unpack_recordings(_zip(tmp_path / "set.zip", MEMBERS), tmp_path / "set", levels=1)
    assert _files(tmp_path) == ["set.zip", "set/mine.wav"]
