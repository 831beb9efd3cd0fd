"""Stages A to D and R: what they leave, that they test real clips only, that they compare and can be repeated."""

import csv
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from sermodels.classifier_checkpoint import CLASSIFIER_FILE, load_classifier
from sermodels.errors import SplitError, WeightsError
from sermodels.evaluation import figures
from sermodels.stages.caching import run_splitting
from sermodels.stages.classification import BASELINE, REFITTING, RETRAINING, oversample, run_classification
from sermodels.stages.context import RunContext
from sermodels.store import StageResult
from sermodels.training import EpochRecord
from tests.sermodels.tiny import EMOTIONS, SPEAKERS
from tests.sermodels.tiny_chain import Chain, changed, copy_workspace, results_of, start, training_log_mels, whole_chain

STAGES = {"baseline": "A", "augmentation": "B", "retraining": "C", "oversampling": "D"}


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Chain:
    return whole_chain(tmp_path_factory)


def predictions(stage: StageResult, part: str) -> list[dict[str, str]]:
    with open(stage.folder / f"predictions-{part}.csv", encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("name", STAGES)
def test_the_folder_holds_classifier_history_figures_predictions_and_pictures(chain: Chain, name: str) -> None:
    files = {path.name for path in chain.stages[name].folder.iterdir()}

    assert files == {
        *("classifier.safetensors", "history.json", "figures.json", "inputs.json", "complete.json", "curves.png"),
        *(f"{kind}-{part}" for kind, part in (("predictions", "development.csv"), ("predictions", "test.csv"))),
        *("confusion-development.png", "confusion-test.png", "model-card.md"),
    }


@pytest.mark.parametrize("name", STAGES)
@pytest.mark.parametrize("part", ["development", "test"])
def test_only_the_real_clips_of_the_part_are_predicted(chain: Chain, name: str, part: str) -> None:
    rows = predictions(chain.stages[name], part)

    assert tuple(row["identifier"] for row in rows) == getattr(chain.context.split(), part)
    assert all(row["identifier"].startswith("emodb/") for row in rows)
    assert all(sum(float(row[label]) for label in EMOTIONS) == pytest.approx(1.0, abs=1e-5) for row in rows)
    assert all(row["predicted"] == max(EMOTIONS, key=lambda label: float(row[label])) for row in rows)


@pytest.mark.parametrize("name", STAGES)
@pytest.mark.parametrize("part", ["development", "test"])
def test_the_figures_follow_from_the_predictions(chain: Chain, name: str, part: str) -> None:
    rows = predictions(chain.stages[name], part)
    truth = np.array([EMOTIONS.index(row["emotion"]) for row in rows])
    probabilities = np.array([[float(row[label]) for label in EMOTIONS] for row in rows])
    groups = {"corpus": [row["corpus"] for row in rows], "sex": [row["sex"] for row in rows]}

    written = chain.stages[name].read("figures.json")[part]

    assert written == pytest.approx(figures(truth, probabilities, EMOTIONS, groups), abs=1e-4)


@pytest.mark.parametrize("name", STAGES)
def test_the_figures_say_what_was_trained(chain: Chain, name: str) -> None:
    written, history = (chain.stages[name].read(f"{kind}.json") for kind in ("figures", "history"))
    best = max(history, key=lambda record: record["val/uar"])

    assert written["stage"] == STAGES[name]
    assert written["best_epoch"] == best["epoch"]
    assert written["development"]["uar"] == pytest.approx(best["val/uar"])
    assert written["gap"] == pytest.approx(written["training"]["accuracy"] - written["development"]["accuracy"])
    assert written["weights"].startswith("weights none: 0 tensors loaded")


def test_the_stages_are_trained_at_equal_steps_on_growing_pools(chain: Chain) -> None:
    written = {name: chain.stages[name].read("figures.json") for name in STAGES}

    assert {name: figure["training_clips"] for name, figure in written.items()} == {
        "baseline": 12,
        "augmentation": 12,
        "retraining": 12 + 2 * 5,
        "oversampling": 12 + 2 * 5,
    }
    assert {figure["optimizer_steps"] for figure in written.values()} == {3 * 3}


def test_the_synthetic_clips_are_named_where_the_gate_looks_for_them(chain: Chain) -> None:
    named = {name: chain.stages[name].read("inputs.json")["synthetic"] for name in STAGES}

    assert named == dict.fromkeys(STAGES, "") | {"retraining": chain.stages["synthesis"].key}


@pytest.mark.parametrize("name", STAGES)
def test_the_classifier_knows_its_labels_and_the_training_clips_statistics(chain: Chain, name: str) -> None:
    classifier, header = load_classifier(chain.stages[name].folder / CLASSIFIER_FILE)
    frames = np.concatenate([loud_frames(log_mel) for log_mel in training_log_mels(chain.context)], axis=1)

    assert classifier.labels == EMOTIONS
    assert (header["stage"], header["split"]) == (STAGES[name], "fold 0")
    assert header["config"] == chain.config.model_dump(mode="json")
    np.testing.assert_allclose(classifier.mean, frames.mean(axis=1), atol=0.01)
    np.testing.assert_allclose(classifier.std, frames.std(axis=1, ddof=1), atol=0.01)


def loud_frames(log_mel: NDArray[np.float16]) -> NDArray[np.float64]:
    """The clip as the config's trim_db and level prepare it; these recordings have no silence."""
    wide = log_mel.astype(np.float64)
    return wide - float(wide.mean())


@pytest.mark.parametrize("name", ["baseline", "retraining"])
def test_a_second_call_reuses_the_stage_and_reports_its_history(chain: Chain, name: str) -> None:
    heard: list[EpochRecord] = []
    synthetic = chain.stages["synthesis"] if name == "retraining" else None
    recipe = RETRAINING if name == "retraining" else BASELINE

    again = run_classification(chain.context, recipe, given=synthetic, on_epoch=heard.append)

    assert again.reused
    assert again.folder == chain.stages[name].folder
    assert heard == chain.histories[name] == again.read("history.json")
    assert [record["epoch"] for record in heard] == [0, 1, 2]


def test_refitting_learns_from_the_development_clips_too_and_keeps_the_last_epoch(chain: Chain, tmp_path: Path) -> None:
    copy_workspace(chain.context.workspace, tmp_path)
    context = RunContext(chain.config, tmp_path, chain.context.prepared, chain.context.split_path)
    settled = chain.stages["augmentation"]

    result = run_classification(context, REFITTING, given=settled)

    history, written, split = result.read("history.json"), result.read("figures.json"), context.split()
    data = context.load()
    heard = [data.log_mels[place] for place in data.indices((*split.training, *split.development))]
    frames = np.concatenate([loud_frames(log_mel) for log_mel in heard], axis=1)
    classifier, header = load_classifier(result.folder / CLASSIFIER_FILE)
    np.testing.assert_allclose(classifier.mean, frames.mean(axis=1), atol=0.01)
    assert header["stage"] == "R"
    assert not any(name.startswith("val/") for record in history for name in record)
    assert written["best_epoch"] == chain.config.training.epochs - 1
    assert written["training_clips"] == len(split.training) + len(split.development)
    assert written["development"] == settled.read("figures.json")["development"]
    assert predictions(result, "development") == predictions(settled, "development")
    assert tuple(row["identifier"] for row in predictions(result, "test")) == split.test


def test_clips_that_the_judge_doubts_are_left_out(chain: Chain, tmp_path: Path) -> None:
    copy_workspace(chain.context.workspace, tmp_path)
    made = chain.stages["synthesis"]
    clips = made.read("provenance.json")["clips"]
    least = float(np.median([clip["agreement"] for clip in clips]))
    config = changed(chain.config, "retraining", least_agreement=least)
    context = RunContext(config, tmp_path, chain.context.prepared, chain.context.split_path)

    result = run_classification(context, RETRAINING, given=made)

    sure = sum(clip["agreement"] >= least and not clip["near_copy"] for clip in clips)
    assert result.read("figures.json")["training_clips"] == 12 + sure < 12 + len(clips)
    same = RunContext(config, chain.context.workspace, chain.context.prepared, chain.context.split_path)
    assert run_classification(same, BASELINE).reused, "it is no part of the other stages"


def test_settings_of_other_stages_do_not_matter(chain: Chain) -> None:
    config = changed(changed(chain.config, "synthesis", steps=9), "augmentation", noise_std=0.5)
    context = RunContext(config, chain.context.workspace, chain.context.prepared, chain.context.split_path)

    assert run_classification(context, BASELINE).reused


def test_synthetic_clips_of_another_fold_are_refused_by_name(chain: Chain, tmp_path: Path) -> None:
    copy_workspace(chain.context.workspace, tmp_path)
    config = changed(chain.config, "split", fold=1)
    (path,) = run_splitting(config, tmp_path, chain.context.prepared)
    other = RunContext(config, tmp_path, chain.context.prepared, path)
    tested = {*other.split().test, *other.split().development}

    with pytest.raises(SplitError) as raised:
        run_classification(other, RETRAINING, given=chain.stages["synthesis"])

    named = str(raised.value).split("descend from ")[1].split(",")[0]
    assert named in tested
    assert "which fold 1 does not train on" in str(raised.value)


def test_missing_weights_are_refused_before_anything_is_written(chain: Chain, tmp_path: Path) -> None:
    config = changed(chain.config, "classifier", weights=str(tmp_path / "absent.pth"))
    context = RunContext(config, tmp_path / "w", chain.context.prepared, chain.context.split_path)

    with pytest.raises(WeightsError, match=r"absent\.pth: no such weights file"):
        run_classification(context, BASELINE)
    assert not (tmp_path / "w").exists()


def test_oversampling_adds_training_clips_of_each_emotion(chain: Chain) -> None:
    data, split = chain.context.load(), chain.context.split()
    training = data.indices(split.training)

    extra = oversample(data.labels, training, 7, seed=3)

    assert set(extra) <= set(training)
    assert Counter(data.labels[extra].tolist()) == {0: 7, 1: 7}
    np.testing.assert_array_equal(extra, oversample(data.labels, training, 7, seed=3))
    assert not np.array_equal(extra, oversample(data.labels, training, 7, seed=4))


def test_another_workspace_gives_the_same_numbers(chain: Chain, tmp_path: Path) -> None:
    copy_workspace(chain.context.workspace, tmp_path / "w")

    again = run_classification(start(chain.config, tmp_path / "w"), BASELINE)

    assert not again.reused
    assert results_of(again) == results_of(chain.stages["baseline"])


def test_one_speaker_may_be_all_who_are_tested(chain: Chain, tmp_path: Path) -> None:
    """Leaving one speaker out, as EmoDB's literature does."""
    config = changed(chain.config, "split", folds=len(SPEAKERS))
    copy_workspace(chain.context.workspace, tmp_path)
    baseline = run_classification(start(config, tmp_path), BASELINE)
    assert len({row["speaker"] for row in predictions(baseline, "test")}) == 1
    card = (baseline.folder / "model-card.md").read_text()
    assert "of one speaker, who says nothing of others." in card
    assert "(0.000–1.000)" in card
