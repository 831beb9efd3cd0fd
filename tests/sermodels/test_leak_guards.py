"""What was planted in training from outside of it makes the run stop, with its name."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from sermodels.checkpoint import load_tensors, save_tensors
from sermodels.classifier_checkpoint import CLASSIFIER_FILE, load_classifier
from sermodels.clips import statistics_of
from sermodels.errors import SplitError
from sermodels.files import read_json, write_json
from sermodels.stages.classification import BASELINE, RETRAINING, check_statistics, run_classification
from sermodels.stages.diffusion import run_diffusion
from sermodels.stages.embedding import VECTORS_FILE, run_embedding
from sermodels.store import StageResult
from tests.sermodels.tiny_chain import Chain, elsewhere, whole_chain


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Chain:
    return whole_chain(tmp_path_factory)


def planted_stage(result: StageResult, folder: Path) -> StageResult:
    """A stage's result whose folder was changed and whose key is another, so that nothing after it is reused."""
    return replace(result, folder=folder, key="planted")


@pytest.mark.parametrize("part", ["test", "development"])
def test_a_clip_of_a_speaker_who_is_not_trained_on(chain: Chain, tmp_path: Path, part: str) -> None:
    context = elsewhere(chain, tmp_path)
    split = read_json(context.split_path)
    clip = split[part].pop()
    split["training"].append(clip)
    write_json(tmp_path / "split.json", split)
    planted = replace(context, split_path=tmp_path / "split.json")

    with pytest.raises(SplitError, match=rf"fold 0: .*speaker.* is in {part}, but its speaker or content is in train"):
        run_classification(planted, BASELINE)


def test_centroids_with_a_development_clip(chain: Chain, tmp_path: Path) -> None:
    context = elsewhere(chain, tmp_path)
    embedding = run_embedding(context, chain.stages["augmentation"])
    clip = context.split().development[0]
    tensors, header = load_tensors(embedding.folder / VECTORS_FILE)
    save_tensors(embedding.folder / VECTORS_FILE, tensors, {**header, "clips": [*header["clips"], clip]})

    with pytest.raises(SplitError, match=f"centroids descend from {clip}, which fold 0 does not train on"):
        run_diffusion(context, planted_stage(embedding, embedding.folder))


@pytest.mark.parametrize("name", ["mean", "std"])
def test_a_z_score_with_development_clips(chain: Chain, name: str) -> None:
    context = chain.context
    data, split = context.load(), context.split()
    clips = data.clip_set(chain.config, torch.device("cpu"))
    classifier, _ = load_classifier(chain.stages["baseline"].folder / CLASSIFIER_FILE)
    training = data.indices(split.training)
    check_statistics(classifier, clips, training, split)

    leaky = np.concatenate([training, data.indices(split.development)])
    statistics = dict(zip(("mean", "std"), statistics_of(clips, torch.from_numpy(leaky)), strict=True))
    getattr(classifier, name).copy_(statistics[name])

    with pytest.raises(SplitError, match=f"fold 0: the classifier's {name} of the log-mels"):
        check_statistics(classifier, clips, training, split)


@pytest.mark.parametrize("part", ["test", "development"])
def test_a_synthetic_clip_that_descends_from_another_fold(chain: Chain, tmp_path: Path, part: str) -> None:
    context = elsewhere(chain, tmp_path, "synthesis")
    (folder,) = (path for path in (tmp_path / "stages").glob("synthesis-*") if path.is_dir())
    clip = getattr(context.split(), part)[0]
    provenance = read_json(folder / "provenance.json")
    write_json(folder / "provenance.json", {**provenance, "training_clips": [*provenance["training_clips"], clip]})

    with pytest.raises(SplitError, match=f"synthetic clips of fold 0 descend from {clip}, which fold 0 does not"):
        run_classification(context, RETRAINING, given=planted_stage(chain.stages["synthesis"], folder))
