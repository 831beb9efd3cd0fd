"""Known files: not read again while nobody touches them, read again after any write, whatever its time stamp says."""

import json
import os
from pathlib import Path

import pytest

from sermodels import known
from sermodels.cache import cache_paths
from sermodels.corpora import folder as folder_module
from sermodels.files import sha256_of_file
from sermodels.known import KnownFiles
from sermodels.stages.caching import run_caching
from sermodels.stages.context import cache_folder, read_utterances
from tests.sermodels.tiny import tiny_config, write_corpus


class Reader:
    """Reads files and remembers which."""

    def __init__(self) -> None:
        self.read: list[str] = []

    def __call__(self, path: Path) -> str:
        self.read.append(path.name)
        return path.read_text()


@pytest.fixture
def settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if every file had been left alone for long."""
    monkeypatch.setattr(known, "SETTLED_NS", 0)


def about(memory: Path, path: Path) -> tuple[str, list[str]]:
    """What a new process says of a file, and what it had to read for it."""
    files, reader = KnownFiles(memory), Reader()
    said = files.about(path, reader)
    files.save()
    return said, reader.read


@pytest.mark.usefixtures("settled")
def test_a_file_is_read_once_until_it_changes(tmp_path: Path) -> None:
    file, memory = tmp_path / "a.txt", tmp_path / "known.json"
    file.write_text("one")
    assert about(memory, file) == ("one", ["a.txt"])
    assert about(memory, file) == ("one", [])
    file.write_text("two")
    assert about(memory, file) == ("two", ["a.txt"])
    assert about(memory, file) == ("two", [])


@pytest.mark.usefixtures("settled")
def test_a_write_of_the_same_size_is_noticed_whatever_time_it_claims(tmp_path: Path) -> None:
    file, memory = tmp_path / "a.txt", tmp_path / "known.json"
    file.write_text("one")
    about(memory, file)
    before = file.stat()
    with open(file, "r+") as opened:
        opened.write("two")
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert file.stat().st_mtime_ns == before.st_mtime_ns
    assert about(memory, file) == ("two", ["a.txt"])


@pytest.mark.usefixtures("settled")
def test_another_file_put_in_its_place_is_noticed(tmp_path: Path) -> None:
    file, other, memory = tmp_path / "a.txt", tmp_path / "b.txt", tmp_path / "known.json"
    file.write_text("one")
    other.write_text("two")
    about(memory, file)
    other.replace(file)
    assert about(memory, file) == ("two", ["a.txt"])


def test_a_file_that_was_touched_just_now_is_not_remembered(tmp_path: Path) -> None:
    file, memory = tmp_path / "a.txt", tmp_path / "known.json"
    file.write_text("one")
    assert about(memory, file) == about(memory, file) == ("one", ["a.txt"])


@pytest.mark.usefixtures("settled")
@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b'{"a": 3}', b"\xff"])
def test_a_damaged_memory_is_an_empty_one(content: bytes, tmp_path: Path) -> None:
    file, memory = tmp_path / "a.txt", tmp_path / "known.json"
    file.write_text("one")
    memory.write_bytes(content)
    assert about(memory, file) == ("one", ["a.txt"])
    assert about(memory, file) == ("one", [])


@pytest.mark.usefixtures("settled")
def test_a_memory_that_cannot_be_written_costs_time_alone(tmp_path: Path) -> None:
    file, memory = tmp_path / "a.txt", tmp_path / "a.txt" / "known.json"
    file.write_text("one")
    assert about(memory, file) == about(memory, file) == ("one", ["a.txt"])


@pytest.mark.usefixtures("settled")
def test_files_that_are_gone_are_forgotten(tmp_path: Path) -> None:
    gone, stays, memory = tmp_path / "a.txt", tmp_path / "b.txt", tmp_path / "known.json"
    for file in (gone, stays):
        file.write_text("one")
        about(memory, file)
    gone.unlink()
    stays.write_text("two")
    about(memory, stays)
    assert list(json.loads(memory.read_text())) == [str(stays)]
    with pytest.raises(FileNotFoundError):
        about(memory, gone)


@pytest.mark.usefixtures("settled")
def test_a_corpus_that_did_not_change_is_not_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_corpus(tmp_path / "data")
    config, workspace, read = tiny_config(tmp_path / "data"), tmp_path / "workspace", []

    def counted(path: Path) -> str:
        read.append(path)
        return sha256_of_file(path)

    monkeypatch.setattr(folder_module, "sha256_of_file", counted)
    first, report = run_caching(config, workspace, skip_unreadable=False)
    recordings = read_utterances(first)
    assert len(read) == report.computed == len(recordings)

    read.clear()
    second, report = run_caching(config, workspace, skip_unreadable=False)
    assert (read, report.computed, second.key) == ([], 0, first.key)

    damaged = cache_paths(cache_folder(workspace), recordings, config.front_end)[0]
    damaged.write_bytes(damaged.read_bytes()[:-30])
    copied, replaced = recordings[1].path, recordings[2].path
    before = replaced.stat()
    replaced.write_bytes(copied.read_bytes())
    os.utime(replaced, ns=(before.st_atime_ns, before.st_mtime_ns))
    third, report = run_caching(config, workspace, skip_unreadable=False)
    assert read == [replaced]
    assert report.computed == 1, "the damaged log-mel; that of the replaced recording is there as its copy's"
    assert third.key != first.key
