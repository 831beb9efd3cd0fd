"""Stages trained by two processes under torchrun, on the CPU: the same steps as one process, reported once."""

from pathlib import Path

import numpy as np
import pytest
from torchvision.models import resnet18

from sermodels.checkpoint import save_tensors
from sermodels.config import Config
from sermodels.errors import ConfigError
from sermodels.stages.classification import AUGMENTATION, run_classification
from sermodels.stages.context import RunContext
from sermodels.stages.diffusion import run_diffusion
from sermodels.stages.launch import RanksError, Request, train_together, wanted_ranks
from sermodels.store import StageResult
from sermodels.training import EpochRecord
from tests.sermodels.tiny_chain import Chain, changed, copy_workspace, whole_chain

TOLERANCE = 1e-4
"""Of losses of a few steps, whose gradients are summed in another order."""


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Chain:
    return whole_chain(tmp_path_factory)


def context_of(chain: Chain, workspace: Path, config: Config) -> RunContext:
    copy_workspace(chain.context.workspace, workspace, "augmentation", "embedding")
    return RunContext(config, workspace, chain.context.prepared, chain.context.split_path)


def assert_same_training(together: list[EpochRecord], alone: list[EpochRecord]) -> None:
    assert [record["epoch"] for record in together] == [record["epoch"] for record in alone]
    for one, other in zip(together, alone, strict=True):
        assert one.keys() == other.keys()
        np.testing.assert_allclose([*one.values()], [*other.values()], rtol=TOLERANCE, err_msg=str(one["epoch"]))


def test_the_diffusion_model_is_trained_by_two(chain: Chain, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SERMODELS_RANKS", "2")
    heard: list[EpochRecord] = []
    pictures: list[tuple[int, Path]] = []

    result = run_diffusion(
        context_of(chain, tmp_path, chain.config),
        chain.stages["embedding"],
        on_epoch=heard.append,
        on_picture=lambda *shown: pictures.append(shown),
    )

    assert_same_training(heard, chain.histories["diffusion"])
    assert result.key == chain.stages["diffusion"].key
    assert [epoch for epoch, _ in pictures] == [epoch for epoch, _ in chain.pictures]
    assert {path.name for path in result.folder.iterdir()} == {
        path.name for path in chain.stages["diffusion"].folder.iterdir()
    }


def test_a_classifier_is_trained_by_two(chain: Chain, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Batch statistics are frozen and nothing is dropped: on a CPU both depend on who has which share of a batch."""
    weights = tmp_path / "resnet18.safetensors"
    save_tensors(weights, resnet18(weights=None).state_dict(), {})
    config = changed(chain.config, "classifier", weights=str(weights), trainable=("fc",), dropout=0.0)
    config = changed(config, "training", precision="float32")
    alone: list[EpochRecord] = []
    together: list[EpochRecord] = []

    run_classification(context_of(chain, tmp_path / "alone", config), AUGMENTATION, on_epoch=alone.append)
    monkeypatch.setenv("SERMODELS_RANKS", "2")
    result = run_classification(context_of(chain, tmp_path / "two", config), AUGMENTATION, on_epoch=together.append)

    assert_same_training(together, alone)
    assert result.read("history.json") == together
    assert {"classifier.safetensors", "figures.json", "predictions-test.csv"} <= {
        path.name for path in result.folder.iterdir()
    }


def test_what_fails_in_a_process_fails_the_stage(
    chain: Chain, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    request = Request("diffusion", chain.context, tmp_path, StageResult("embedding", tmp_path / "lost", ""))

    with pytest.raises(RanksError, match="processes that trained together failed, see above"):
        train_together(request, 1, lambda kind, value: None)

    assert f"error: {tmp_path / 'lost'}" in capfd.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("value", ["0", "two", "-1"])
def test_a_number_of_processes_is_a_number(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SERMODELS_RANKS", value)

    with pytest.raises(ConfigError, match=f"SERMODELS_RANKS={value}: the number of processes"):
        wanted_ranks()
