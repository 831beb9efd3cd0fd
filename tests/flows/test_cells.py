"""Cells computed without MLflow: run, packed, and logged afterwards as the runs that they would have been."""

import json
import os
import shutil
import tarfile
from pathlib import Path

import pytest
from mlflow import MlflowClient

from flows.adopt import adopt
from flows.finished import FinishedRun
from flows.recipe_tags import augmentation_digest, common_digest, recipe_digest
from flows.results import comparisons_of, publish_results
from flows.results_groups import Cell, Group
from sermodels.cells.packing import CELLS, pack, unpack
from sermodels.cells.running import Unit, run_unit, units_of
from sermodels.config import Config
from sermodels.device import best_device, number_format
from sermodels.errors import StorageError
from sermodels.plan import TablePlan
from sermodels.predictions import averaged, read_predictions
from sermodels.stages.context import RunContext
from sermodels.stages.prepared import prepared_corpus
from tests.sermodels.tiny_chain import Chain, changed, copy_workspace, whole_chain
from tests.serve.pools import ends, workers_of_a_killed_program

POOL = """
import multiprocessing, os, time
from sermodels.cells.running import begin_process

with multiprocessing.get_context("spawn").Pool(2, begin_process) as pool:
    pool.apply(os.getpid)
    print(*(process.pid for process in pool._pool), flush=True)
    pool.map(time.sleep, [600.0, 600.0], chunksize=1)
"""
STAGES = ("baseline", "augmentation", "embedding", "diffusion", "synthesis", "retraining", "oversampling")


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Chain:
    return whole_chain(tmp_path_factory)


@pytest.fixture(scope="module")
def context(chain: Chain, tmp_path_factory: pytest.TempPathFactory) -> RunContext:
    """A workspace in which the units of one split have run, all but refitting from what the chain had made."""
    workspace = tmp_path_factory.mktemp("cells") / "workspace"
    copy_workspace(chain.context.workspace, workspace, *STAGES)
    prepared = prepared_corpus(workspace, chain.config)
    split = workspace / chain.context.split_path.relative_to(chain.context.workspace)
    context = RunContext(chain.config, workspace, prepared, split)
    said = [name for letter in "CDRF" for name in run_unit(Unit(context, letter, first_seed=False))]
    wanted = ("baseline", "augmentation", "diffusion", "synthesis", "retraining", "oversampling", "refitting")
    assert said == [f"{name}, fold 0, seed {chain.config.seed}" for name in (*wanted, "functionals")]
    return context


@pytest.fixture(scope="module")
def archive(context: RunContext) -> Path:
    """What has run, as an archive."""
    file = context.workspace.parent / "cells.tar.xz"
    pack(context.workspace, file)
    return file


def test_units_come_seed_by_seed_and_refitting_a_round_later(context: RunContext) -> None:
    units = units_of(context.config, TablePlan(folds=(0,), seeds=2, stages="ABCDRF"), context.workspace)
    seed = context.config.seed
    assert [(unit.stage, unit.context.config.seed - seed) for unit in units] == [
        *(("C", 0), ("D", 0), ("F", 0), ("C", 1), ("D", 1), ("R", 0), ("R", 1)),
    ]
    assert [unit.first_seed for unit in units[:4]] == [True, True, True, False]
    assert {unit.context.split().name for unit in units} == {"fold 0"}


def test_killed_cells_leave_no_process_behind() -> None:
    assert all(ends(pid, within_s=60.0) for pid in workers_of_a_killed_program(POOL))


def test_a_workspace_without_the_corpus_is_refused(context: RunContext, tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="holds no cached corpus of this front end"):
        prepared_corpus(context.workspace, changed(context.config, "front_end", n_mels=40))
    with pytest.raises(StorageError, match=f"{tmp_path}: holds no cached corpus"):
        prepared_corpus(tmp_path, context.config)


def test_the_archive_holds_no_weights_and_no_clips(archive: Path) -> None:
    with tarfile.open(archive) as tar:
        names = tar.getnames()
    assert {Path(name).suffix for name in names} == {".json", ".csv", ".md", ".png"}
    assert [Path(name).name for name in names if name.endswith(".png")] == ["neighbours.png"]
    assert sum(name.startswith(f"{CELLS}/") for name in names) == 8
    assert sum(name.endswith("predictions-test.csv") for name in names) == 6


def test_adopted_cells_are_the_runs_that_the_results_are_made_of(
    archive: Path, context: RunContext, client: MlflowClient, tmp_path: Path
) -> None:
    assert adopt(archive, "tiny") == (8, 8)
    assert adopt(archive, "tiny") == (8, 0), "cells that MLflow has are left alone"
    publish_results("tiny", tmp_path / "docs", context.config)
    rows = {row["stage"]: row for row in json.loads((tmp_path / "docs" / "results.json").read_text())}
    assert list(rows) == ["A", "B", "C", "D", "F", "R", "R+F"]
    assert rows["F"]["backbone"] == "logistic regression"
    assert rows["R+F"]["backbone"] == "resnet18, logistic regression"
    for letter, name in (("B", "augmentation"), ("R", "refitting")):
        (folder,) = [path for path in (context.workspace / "stages").glob(f"{name}-*") if path.is_dir()]
        figures = json.loads((folder / "figures.json").read_text())
        assert rows[letter]["uar"] == pytest.approx(figures["test"]["uar"])
        run = client.get_run(rows[letter]["runs"][0])
        assert run.data.metrics["test/uar"] == pytest.approx(figures["test"]["uar"])
        assert run.data.tags["device"] == "CPU"
        trained_in = number_format(best_device(), context.config.training.precision)
        assert run.data.tags["number_format"] == trained_in
        losses = client.get_metric_history(run.info.run_id, "train/loss")
        assert len(losses) == context.config.training.epochs


@pytest.mark.parametrize("key", [None, "another"])
@pytest.mark.parametrize("days", [-1, 1])
def test_the_newest_cell_is_the_one_computed_last_and_not_the_one_adopted_last(
    days: int, key: str | None, archive: Path, client: MlflowClient, tmp_path: Path
) -> None:
    opened = _opened(archive, tmp_path / "open")
    (path,) = (file for file in (opened / CELLS).glob("*.json") if json.loads(file.read_text())["letter"] == "A")
    record = json.loads(path.read_text())
    path.write_text(json.dumps(record | {"key": key or record["key"], "device": "another"}))
    complete = opened / "stages" / record["folder"] / "complete.json"
    ended = complete.stat().st_mtime + days * 86400
    os.utime(complete, (ended, ended))
    for file in (archive, _packed(opened, tmp_path / "another.tar.xz")):
        adopt(file, "tiny")
    publish_results("tiny", tmp_path / "docs", Config())
    shown = json.loads((tmp_path / "docs" / "results.json").read_text())
    (run,) = next(row["runs"] for row in shown if row["stage"] == "A")
    assert (client.get_run(run).data.tags["device"] == "another") is (days > 0)


@pytest.mark.usefixtures("client")
def test_an_archive_that_was_changed_is_refused(archive: Path, tmp_path: Path) -> None:
    opened = _opened(archive, tmp_path / "open")
    (figures,) = (opened / "stages").glob("baseline-*/figures.json")
    figures.write_text(figures.read_text().replace("0", "1"))
    better = _packed(opened, tmp_path / "better.tar.xz")
    named = f"{figures.parent.name}/figures.json was changed after the stage ended"
    with pytest.raises(StorageError, match=named):
        adopt(better, "tiny")


def _opened(archive: Path, folder: Path) -> Path:
    """The files of an archive."""
    unpack(archive, folder)
    return folder


def _packed(folder: Path, archive: Path) -> Path:
    """An archive of the files."""
    with tarfile.open(archive, "w:xz") as tar:
        for part in folder.iterdir():
            tar.add(part, arcname=part.name)
    return archive


@pytest.mark.usefixtures("client")
@pytest.mark.parametrize("content", [b"", b"no archive"])
def test_what_is_no_archive_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "cells.tar.xz").write_bytes(content)
    with pytest.raises(StorageError, match=r"cells\.tar\.xz: not an archive of `python -m sermodels\.cells pack`"):
        adopt(tmp_path / "cells.tar.xz", "tiny")


def test_a_damaged_archive_is_refused(archive: Path, tmp_path: Path) -> None:
    content = archive.read_bytes()
    middle = len(content) // 2
    for number, damaged in enumerate((content[:middle], content[:middle] + bytes(64) + content[middle + 64 :])):
        (tmp_path / f"{number}.tar.xz").write_bytes(damaged)
        with pytest.raises(StorageError, match=rf"{number}\.tar\.xz: not an archive of"):
            unpack(tmp_path / f"{number}.tar.xz", tmp_path / f"open-{number}")


@pytest.mark.parametrize("name", ["../outside.json", "cells/../../outside.json", "/outside.json"])
def test_an_archive_writes_nothing_outside_its_folder(name: str, tmp_path: Path) -> None:
    evil = tarfile.TarInfo(str(tmp_path) + name if name.startswith("/") else name)
    _refused(evil, tmp_path, match="not a file of its own folder")
    assert not list(tmp_path.rglob("outside.json"))


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE])
def test_an_archive_makes_no_links_and_devices(kind: bytes, tmp_path: Path) -> None:
    evil = tarfile.TarInfo("cells/link.json")
    evil.type, evil.linkname = kind, "/etc/passwd"
    _refused(evil, tmp_path, match=r"cells/link\.json is not a file of its own folder")
    assert not (tmp_path / "open" / "cells").exists()


def _refused(member: tarfile.TarInfo, tmp_path: Path, *, match: str) -> None:
    """An archive of this member alone is refused."""
    with tarfile.open(tmp_path / "evil.tar.xz", "w:xz") as tar:
        tar.addfile(member)
    with pytest.raises(StorageError, match=match):
        unpack(tmp_path / "evil.tar.xz", tmp_path / "open")


def test_unpacked_files_keep_their_times(archive: Path, tmp_path: Path) -> None:
    opened = _opened(archive, tmp_path / "open")
    with tarfile.open(archive) as tar:
        assert {member.name: int(member.mtime) for member in tar if member.isfile()} == {
            str(path.relative_to(opened)): int(path.stat().st_mtime) for path in opened.rglob("*") if path.is_file()
        }


@pytest.mark.usefixtures("client")
def test_an_archive_of_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("nothing")
    shutil.make_archive(str(tmp_path / "other"), "xztar", tmp_path, "notes.txt")
    with pytest.raises(StorageError, match="holds no cells; make it by"):
        adopt(tmp_path / "other.tar.xz", "tiny")


def test_an_ensemble_is_the_mean_of_its_members_on_the_same_clips(context: RunContext) -> None:
    one, other = (
        read_predictions(next((context.workspace / "stages").glob(f"{name}-*/predictions-test.csv")))
        for name in ("baseline", "refitting")
    )
    mean = averaged([one, other])
    assert mean.probabilities == pytest.approx((one.probabilities + other.probabilities) / 2)
    assert mean.identifiers == one.identifiers
    foreign = read_predictions(next((context.workspace / "stages").glob("baseline-*/predictions-development.csv")))
    with pytest.raises(ValueError, match="about other clips"):
        averaged([one, foreign])


def test_where_the_weights_lie_is_no_part_of_the_recipe(context: RunContext) -> None:
    here, there = (changed(context.config, "classifier", weights=f"{place}/w.pth") for place in ("/here", "there"))
    other = changed(context.config, "classifier", weights="there/v.pth")
    assert recipe_digest(here, "C") == recipe_digest(there, "C") != recipe_digest(other, "C")
    assert here.identity() == there.identity()


def test_the_draw_of_the_split_is_no_part_of_what_stages_share(context: RunContext) -> None:
    config = context.config
    again = changed(changed(config, "split", seed=config.split.seed + 1), "augmentation", noise_std=0.5)
    assert augmentation_digest(config) != augmentation_digest(again)
    others = changed(config, "training", keep="last"), changed(config, "split", development_fraction=0.4)
    assert common_digest(config) == common_digest(again)
    assert len({common_digest(one) for one in (config, *others)}) == 3


def test_stages_that_were_trained_otherwise_are_not_compared(context: RunContext) -> None:
    baseline, augmented = (_group(context, *which) for which in (("A", "baseline", "x"), ("B", "augmentation", "x")))
    assert [pair["stages"] for pair in comparisons_of([baseline, augmented], [])] == ["B - A"]
    assert comparisons_of([baseline, _group(context, "B", "augmentation", "longer")], []) == []


def test_stages_that_were_augmented_otherwise_are_compared_with_the_baseline_alone(context: RunContext) -> None:
    baseline = _group(context, "A", "baseline", "x")
    augmented = _group(context, "B", "augmentation", "x", augmented_as="plain")
    alike, otherwise = (_group(context, "R", "augmentation", "x", augmented_as=name) for name in ("plain", "warped"))
    assert [pair["stages"] for pair in comparisons_of([baseline, augmented, alike], [])] == ["B - A", "R - B"]
    assert [pair["stages"] for pair in comparisons_of([baseline, augmented, otherwise], [])] == ["B - A"]


def _group(context: RunContext, letter: str, stage: str, common: str, *, augmented_as: str = "") -> Group:
    """A row of the table of one cell, whose training is called `common`."""
    (folder,) = (context.workspace / "stages").glob(f"{stage}-*/")
    parts = [read_predictions(folder / f"predictions-{part}.csv") for part in ("development", "test")]
    run = FinishedRun(
        "", 0, {"split": "fold 0", "seed": "0", "common_recipe": common, "augmented_as": augmented_as}, {}, {}
    )
    return Group("speaker", "demo", letter, (Cell(run, *parts),))
