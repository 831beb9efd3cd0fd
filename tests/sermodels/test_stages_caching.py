"""Stages caching and splitting: what they write, what they reuse, and what they do with a damaged recording."""

import json
import shutil
from pathlib import Path

import pytest

from sermodels.config import Config
from sermodels.errors import AudioError, CorpusError, SplitError
from sermodels.splits import Split
from sermodels.stages.caching import run_caching, run_splitting
from sermodels.stages.context import cache_folder, read_utterances
from tests.sermodels.tiny import EMOTIONS, tiny_config, write_corpus
from tests.sermodels.tiny_chain import changed


@pytest.fixture
def config(tmp_path: Path) -> Config:
    write_corpus(tmp_path / "data")
    return tiny_config(tmp_path / "data")


def caches(workspace: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in cache_folder(workspace).rglob("*.npz")}


def test_the_corpus_is_cached_described_and_drawn(config: Config, tmp_path: Path) -> None:
    progress: list[float] = []

    stage, report = run_caching(config, tmp_path / "w", skip_unreadable=False, on_progress=progress.append)

    corpus = stage.read("corpus.json")
    assert (report.computed, report.reused, report.unreadable) == (24, 0, ())
    assert corpus["counts"] == {"emodb": {"anger": 12, "sadness": 12}}
    assert len(read_utterances(stage)) == 24
    assert {u.emotion for u in read_utterances(stage)} == set(EMOTIONS)
    assert (stage.folder / "recordings.png").read_bytes().startswith(b"\x89PNG")
    assert progress[-1] == 1.0
    assert len(caches(tmp_path / "w")) == 24


def test_a_second_call_reuses_everything(config: Config, tmp_path: Path) -> None:
    first, _ = run_caching(config, tmp_path / "w", skip_unreadable=False)
    before = caches(tmp_path / "w")

    second, report = run_caching(config, tmp_path / "w", skip_unreadable=False)

    assert (report.computed, report.reused) == (0, 24)
    assert (second.reused, second.key, second.folder) == (True, first.key, first.folder)
    assert caches(tmp_path / "w") == before


def test_a_log_mel_that_is_gone_or_damaged_is_computed_again(config: Config, tmp_path: Path) -> None:
    run_caching(config, tmp_path / "w", skip_unreadable=False)
    gone, damaged, *_ = caches(tmp_path / "w")
    content = damaged.read_bytes()
    gone.unlink()
    damaged.write_bytes(content[:-30])

    stage, report = run_caching(config, tmp_path / "w", skip_unreadable=False)

    assert (report.computed, report.reused, stage.reused) == (2, 22, True)
    assert damaged.read_bytes() == content
    assert gone.is_file()


def test_recordings_elsewhere_with_the_same_content_are_the_same_stage(config: Config, tmp_path: Path) -> None:
    first, _ = run_caching(config, tmp_path / "w", skip_unreadable=False)
    shutil.copytree(tmp_path / "data", tmp_path / "moved")

    second, report = run_caching(tiny_config(tmp_path / "moved"), tmp_path / "w", skip_unreadable=False)

    assert (second.key, report.computed) == (first.key, 0)


def test_another_front_end_or_recording_is_another_stage(config: Config, tmp_path: Path) -> None:
    first, _ = run_caching(config, tmp_path / "w", skip_unreadable=False)

    wider, report = run_caching(changed(config, "front_end", n_mels=40), tmp_path / "w", skip_unreadable=False)
    assert wider.key != first.key
    assert report.computed == 24
    (tmp_path / "data" / "emodb" / "03a01Wa.wav").unlink()
    fewer, report = run_caching(config, tmp_path / "w", skip_unreadable=False)
    assert fewer.key not in (first.key, wider.key)
    assert report.computed == 0


def test_an_unreadable_recording_is_named_and_the_others_are_cached(config: Config, tmp_path: Path) -> None:
    (tmp_path / "data" / "emodb" / "03a01Wa.wav").write_text("no audio")
    (tmp_path / "data" / "emodb" / "08b02Ta.wav").write_bytes(b"")

    with pytest.raises(AudioError) as raised:
        run_caching(config, tmp_path / "w", skip_unreadable=False)

    message = str(raised.value)
    assert "2 of 24 recordings unreadable" in message
    assert "emodb/03a01Wa" in message
    assert "emodb/08b02Ta" in message
    assert "--skip-unreadable" in message
    assert len(caches(tmp_path / "w")) == 22


def test_unreadable_recordings_can_be_left_out(config: Config, tmp_path: Path) -> None:
    (tmp_path / "data" / "emodb" / "03a01Wa.wav").write_text("no audio")

    stage, report = run_caching(config, tmp_path / "w", skip_unreadable=True)

    assert [identifier for identifier, _ in report.unreadable] == ["emodb/03a01Wa"]
    assert [identifier for identifier, _ in stage.read("corpus.json")["unreadable"]] == ["emodb/03a01Wa"]
    assert "emodb/03a01Wa" not in {utterance.identifier for utterance in read_utterances(stage)}
    assert len(read_utterances(stage)) == 23
    everyone = [json.loads(path.read_text()) for path in run_splitting(config, tmp_path / "w", stage)]
    assert "emodb/03a01Wa" not in str(everyone)


def test_a_missing_corpus_is_named(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match=r"nowhere/emodb"):
        run_caching(tiny_config(tmp_path / "nowhere"), tmp_path / "w", skip_unreadable=False)


def test_a_split_is_written_and_reused(config: Config, tmp_path: Path) -> None:
    stage, _ = run_caching(config, tmp_path / "w", skip_unreadable=False)

    (path,) = run_splitting(config, tmp_path / "w", stage)
    written = path.stat().st_mtime_ns
    split = Split.from_json(json.loads(path.read_text()))

    assert run_splitting(config, tmp_path / "w", stage) == [path]
    assert path.stat().st_mtime_ns == written
    assert (len(split.training), len(split.development), len(split.test)) == (12, 4, 8)
    assert {*split.training, *split.development, *split.test} == {u.identifier for u in read_utterances(stage)}


def test_all_folds_are_written_and_test_every_clip_once(config: Config, tmp_path: Path) -> None:
    config = changed(config, "split", fold="all")
    stage, _ = run_caching(config, tmp_path / "w", skip_unreadable=False)

    splits = [Split.from_json(json.loads(path.read_text())) for path in run_splitting(config, tmp_path / "w", stage)]

    assert [split.name for split in splits] == ["fold 0", "fold 1", "fold 2"]
    tested = [identifier for split in splits for identifier in split.test]
    assert sorted(tested) == sorted(utterance.identifier for utterance in read_utterances(stage))


def test_too_few_speakers_are_refused(config: Config, tmp_path: Path) -> None:
    stage, _ = run_caching(config, tmp_path / "w", skip_unreadable=False)

    with pytest.raises(SplitError, match=r"fold 7: the test part is empty; use fewer folds or more speakers"):
        run_splitting(changed(config, "split", folds=8, fold=7), tmp_path / "w", stage)
