"""What would fail after an hour fails at the start, by name."""

from pathlib import Path

import pytest

from sermodels.config import Config
from sermodels.errors import ConfigError, CorpusError, SermodelsError, StorageError, WeightsError
from sermodels.preflight import check_start
from sermodels.presets import PRESETS, resolve_config
from tests.sermodels.small_disk import small_disk
from tests.sermodels.tiny import tiny_config, write_corpus


@pytest.fixture
def config(tmp_path: Path) -> Config:
    write_corpus(tmp_path / "data")
    return tiny_config(tmp_path / "data")


def changed(config: Config, section: str, **values: object) -> Config:
    return Config.model_validate({**config.model_dump(), section: {**getattr(config, section).model_dump(), **values}})


def test_a_good_start_reports_the_weights_and_leaves_nothing(config: Config, tmp_path: Path) -> None:
    report = check_start(config, tmp_path / "workspace")

    assert report.source == "none"
    assert list((tmp_path / "workspace").iterdir()) == []


@pytest.mark.parametrize("preset", sorted(path.stem for path in PRESETS.glob("*.yaml")))
def test_every_preset_can_start(preset: str, tmp_path: Path) -> None:
    write_corpus(tmp_path / "data")
    overrides = [f"corpus.data_dir={tmp_path}/data", "corpus.names=[emodb]", "corpus.emotions=[anger, sadness]"]

    check_start(resolve_config(preset, [*overrides, "classifier.weights=none"]), tmp_path / "workspace")


def test_a_file_in_the_place_of_the_workspace_is_refused(config: Config, tmp_path: Path) -> None:
    (tmp_path / "workspace").write_text("in the way")

    with pytest.raises(StorageError, match=r"workspace/writable: cannot be written \(.*\); check the folder"):
        check_start(config, tmp_path / "workspace")


@pytest.mark.parametrize(
    ("section", "values", "error", "message"),
    [
        ("classifier", {"weights": "absent.pth"}, WeightsError, r"absent\.pth: no such weights file"),
        ("classifier", {"trainable": ("layer9",)}, ConfigError, r"unknown stage layer9"),
        ("corpus", {"data_dir": "nowhere"}, CorpusError, r"nowhere/emodb"),
        ("synthesis", {"steps": 51}, ConfigError, r"synthesis\.steps=51 .* diffusion\.timesteps=50"),
    ],
)
def test_what_cannot_work_is_refused(
    config: Config, tmp_path: Path, section: str, values: dict[str, object], error: type[SermodelsError], message: str
) -> None:
    with pytest.raises(error, match=message):
        check_start(changed(config, section, **values), tmp_path / "workspace")


def test_weights_that_are_a_text_are_refused(config: Config, tmp_path: Path) -> None:
    (tmp_path / "weights.pth").write_text("404: Not Found")

    with pytest.raises(WeightsError, match=r"weights\.pth: not a readable state dict"):
        check_start(changed(config, "classifier", weights=str(tmp_path / "weights.pth")), tmp_path / "workspace")


def test_a_disk_without_room_is_refused(config: Config, tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", kilobytes=8_000) as workspace:
        with pytest.raises(StorageError, match=r"disk: 8 MB free, 1,000 MB are needed; free some space"):
            check_start(config, workspace)
        assert list(workspace.iterdir()) == []
