"""Atomic writes on real disks, full ones too, and content hashes."""

import hashlib
import json
import os
import stat
from pathlib import Path

import pytest

from sermodels.errors import StorageError
from sermodels.files import atomic_write, read_json, sha256_of_file, sha256_of_json, write_json
from tests.sermodels.small_disk import fill, small_disk


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_the_file_appears_whole_with_its_folders(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "file.bin"
    with atomic_write(path) as temporary:
        temporary.write_bytes(b"content")
        assert temporary.parent == path.parent
        assert not path.exists()
    assert path.read_bytes() == b"content"
    assert names_in(path.parent) == ["file.bin"]


def test_others_may_read_what_was_written(tmp_path: Path) -> None:
    write_json(tmp_path / "value.json", 1)
    assert stat.S_IMODE((tmp_path / "value.json").stat().st_mode) == 0o644


def test_others_may_read_what_a_library_keeps_private(tmp_path: Path) -> None:
    with atomic_write(tmp_path / "weights.bin") as temporary:
        temporary.unlink(missing_ok=True)
        os.close(os.open(temporary, os.O_WRONLY | os.O_CREAT, 0o600))  # as safetensors does
    assert stat.S_IMODE((tmp_path / "weights.bin").stat().st_mode) == 0o644


@pytest.mark.parametrize("error", [ValueError("in the writer"), KeyboardInterrupt()])
def test_a_failing_writer_leaves_nothing(tmp_path: Path, error: BaseException) -> None:
    def write() -> None:
        with atomic_write(tmp_path / "file.bin") as temporary:
            temporary.write_bytes(b"half")
            raise error

    with pytest.raises(type(error)):
        write()
    assert names_in(tmp_path) == []


def test_a_failing_writer_keeps_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "value.json"
    write_json(path, "old")
    with pytest.raises(TypeError, match="not JSON serializable"):
        write_json(path, object())
    assert read_json(path) == "old"
    assert names_in(tmp_path) == ["value.json"]


def test_a_writer_that_removes_the_temporary_file_is_a_storage_error(tmp_path: Path) -> None:
    def write() -> None:
        with atomic_write(tmp_path / "file.bin") as temporary:
            temporary.unlink()

    with pytest.raises(StorageError, match=r"file\.bin: cannot be written \(No such file"):
        write()
    assert names_in(tmp_path) == []


def test_a_file_in_the_place_of_the_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "folder").write_text("a file")
    with pytest.raises(StorageError, match=r"folder/value\.json: cannot be written .*check the folder"):
        write_json(tmp_path / "folder" / "value.json", 1)


def test_a_folder_in_the_place_of_the_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "value.json").mkdir()
    with pytest.raises(StorageError, match=r"value\.json: cannot be written"):
        write_json(tmp_path / "value.json", 1)
    assert names_in(tmp_path) == ["value.json"]


def test_a_full_disk_is_named_and_the_old_file_stays(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", kilobytes=64) as disk:
        write_json(disk / "value.json", "old")
        ballast = fill(disk)
        with pytest.raises(StorageError, match=r"value\.json: the disk is full; free some space"):
            write_json(disk / "value.json", "new" * 10_000)
        assert names_in(disk) == ["ballast", "value.json"]
        assert read_json(disk / "value.json") == "old"
        ballast.unlink()
        write_json(disk / "value.json", "new" * 10_000)
        assert read_json(disk / "value.json") == "new" * 10_000


def test_json_round_trip(tmp_path: Path) -> None:
    value = {"b": [1, 2.5, None, True], "a": {"ärger": "ß"}}
    write_json(tmp_path / "value.json", value)
    assert read_json(tmp_path / "value.json") == value
    text = (tmp_path / "value.json").read_text(encoding="utf-8")
    assert text.index('"a"') < text.index('"b"')
    assert "ärger" in text


@pytest.mark.parametrize("content", [b"", b"{", b'{"a": 1}}', b"\xff\xfe", b"nul"])
def test_damaged_json_is_named_with_the_remedy(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "value.json"
    path.write_bytes(content)
    with pytest.raises(StorageError, match=r"value\.json: cannot be read .*; delete it and run again"):
        read_json(path)


def test_missing_json_is_named(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"value\.json: cannot be read"):
        read_json(tmp_path / "value.json")


@pytest.mark.parametrize("size", [0, 1, 300_000])
def test_hash_of_a_file_is_that_of_its_bytes(tmp_path: Path, size: int) -> None:
    content = bytes(range(256)) * (size // 256 + 1)
    (tmp_path / "file").write_bytes(content[:size])
    assert sha256_of_file(tmp_path / "file") == hashlib.sha256(content[:size]).hexdigest()


def test_hash_of_json_knows_values_and_not_the_order_of_keys() -> None:
    assert sha256_of_json({"a": 1, "b": [2, "ß"]}) == sha256_of_json(json.loads('{"b": [2, "\\u00df"], "a": 1}'))
    different = [{"a": 1}, {"a": 2}, {"a": "1"}, {"b": 1}, {"a": None}, [["a", 1]], {"a": [1]}, {}]
    assert len({sha256_of_json(value) for value in different}) == len(different)
