"""Stage folders: run once, reused while undamaged, continued when unfinished."""

import multiprocessing
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sermodels.errors import StorageError
from sermodels.files import write_json
from sermodels.store import COMPLETE, is_complete, run_stage
from tests.sermodels.small_disk import fill, small_disk

INPUTS = {"config": {"rate": 0.1}, "before": "abc", "version": 1}


@pytest.fixture
def calls() -> list[Path]:
    return []


@pytest.fixture
def work(calls: list[Path]) -> Callable[[Path], None]:
    """Writes two files, one of them in a folder of its own, and is counted."""

    def write(folder: Path) -> None:
        calls.append(folder)
        write_json(folder / "result.json", {"value": 1})
        write_json(folder / "inner" / "more.json", [1, 2, 3])

    return write


Work = Callable[[Path], None]


def test_a_stage_runs_once_and_is_reused(tmp_path: Path, work: Work, calls: list[Path]) -> None:
    first = run_stage(tmp_path, "training", INPUTS, work)
    second = run_stage(tmp_path, "training", dict(reversed(INPUTS.items())), work)
    assert len(calls) == 1
    assert (first.reused, second.reused) == (False, True)
    assert (first.folder, first.key) == (second.folder, second.key)
    assert first.folder.parent == tmp_path / "stages"
    assert first.folder.name == f"training-{first.key[:16]}"
    assert second.read("result.json") == {"value": 1}
    assert second.read("inputs.json") == INPUTS


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("training", {"config": {"rate": 0.2}}),
        ("training", {"before": "abd"}),
        ("training", {"version": 2}),
        ("training", {"more": None}),
        ("embedding", {}),
    ],
)
def test_other_inputs_are_another_stage_and_keep_the_first(
    tmp_path: Path, work: Work, calls: list[Path], name: str, change: dict[str, Any]
) -> None:
    first = run_stage(tmp_path, "training", INPUTS, work)
    other = run_stage(tmp_path, name, INPUTS | change, work)
    assert len(calls) == 2
    assert other.folder != first.folder
    assert other.key != first.key
    assert run_stage(tmp_path, "training", INPUTS, work).reused
    assert run_stage(tmp_path, name, INPUTS | change, work).reused


@pytest.mark.parametrize("file", ["result.json", "inner/more.json", "inputs.json"])
@pytest.mark.parametrize(
    "damage",
    [Path.unlink, lambda path: path.write_bytes(path.read_bytes()[:-1]), lambda path: path.write_text("other")],
    ids=["deleted", "cut", "changed"],
)
def test_a_damaged_stage_is_run_again(
    tmp_path: Path, work: Work, calls: list[Path], file: str, damage: Callable[[Path], None]
) -> None:
    first = run_stage(tmp_path, "training", INPUTS, work)
    damage(first.folder / file)
    assert not is_complete(first.folder)
    again = run_stage(tmp_path, "training", INPUTS, work)
    assert len(calls) == 2
    assert not again.reused
    assert again.read("result.json") == {"value": 1}
    assert is_complete(first.folder)


def test_an_error_leaves_the_stage_incomplete_and_the_next_run_continues(tmp_path: Path) -> None:
    seen: list[list[str]] = []

    def work(folder: Path) -> None:
        seen.append(sorted(path.name for path in folder.iterdir()))
        if len(seen) == 1:
            write_json(folder / "half.json", "done before the error")
            raise RuntimeError("in the work")
        write_json(folder / "result.json", "whole")

    with pytest.raises(RuntimeError, match="in the work"):
        run_stage(tmp_path, "training", INPUTS, work)
    assert not any(is_complete(folder) for folder in (tmp_path / "stages").iterdir())
    result = run_stage(tmp_path, "training", INPUTS, work)
    assert seen == [["inputs.json"], ["half.json", "inputs.json"]]
    assert result.read("half.json") == "done before the error"
    assert is_complete(result.folder)


def test_an_error_in_the_second_run_of_a_damaged_stage_leaves_it_incomplete(tmp_path: Path, work: Work) -> None:
    first = run_stage(tmp_path, "training", INPUTS, work)
    (first.folder / "inner" / "more.json").unlink()

    def failing(folder: Path) -> None:
        write_json(folder / "inner" / "more.json", [1, 2, 3])
        raise RuntimeError("after the file is as it was")

    with pytest.raises(RuntimeError, match="after the file"):
        run_stage(tmp_path, "training", INPUTS, failing)
    assert not is_complete(first.folder)


def test_a_damaged_mark_is_named(tmp_path: Path, work: Work) -> None:
    folder = run_stage(tmp_path, "training", INPUTS, work).folder
    (folder / COMPLETE).write_text('{"result.js')
    with pytest.raises(StorageError, match=rf"{COMPLETE}: cannot be read .*; delete it and run again"):
        run_stage(tmp_path, "training", INPUTS, work)


def test_a_missing_result_is_named(tmp_path: Path, work: Work) -> None:
    with pytest.raises(StorageError, match=r"none\.json: cannot be read"):
        run_stage(tmp_path, "training", INPUTS, work).read("none.json")


def test_a_workspace_that_is_a_file_is_named(tmp_path: Path, work: Work) -> None:
    (tmp_path / "workspace").write_text("a file")
    with pytest.raises(StorageError, match=r"workspace/stages/training-.*: cannot be written"):
        run_stage(tmp_path / "workspace", "training", INPUTS, work)


def test_a_full_disk_leaves_the_stage_incomplete(tmp_path: Path) -> None:
    def work(folder: Path) -> None:
        write_json(folder / "result.json", "x" * 20_000)

    with small_disk(tmp_path / "disk", kilobytes=64) as disk:
        ballast = fill(disk, leave=12_000)
        with pytest.raises(StorageError, match=r"result\.json: the disk is full"):
            run_stage(disk, "training", INPUTS, work)
        ballast.unlink()
        result = run_stage(disk, "training", INPUTS, work)
        assert not result.reused
        assert is_complete(result.folder)


def slow_work(folder: Path) -> None:
    with open(folder.parent / "ran", "a") as file:
        file.write("once\n")
    time.sleep(0.3)
    write_json(folder / "result.json", "whole")


def run_in_a_process(workspace: Path, barrier: Any, reused: Any) -> None:
    barrier.wait(60)
    reused.put(run_stage(workspace, "training", INPUTS, slow_work).reused)


def test_two_processes_at_once_run_it_once(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    barrier, reused = context.Barrier(2), context.Queue()
    processes = [context.Process(target=run_in_a_process, args=(tmp_path, barrier, reused)) for _ in range(2)]
    for process in processes:
        process.start()
    answers = sorted(reused.get(timeout=60) for _ in processes)
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0]
    assert answers == [False, True]
    assert (tmp_path / "stages" / "ran").read_text() == "once\n"
