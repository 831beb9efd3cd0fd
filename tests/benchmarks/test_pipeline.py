"""The sum of the alternatives is reckoned for what the pipeline did."""

from pathlib import Path

import pytest

from benchmarks.context import Bench
from benchmarks.parts.pipeline import alternatives_s
from sermodels.files import write_json

PIECES = {
    "features": {"cold": {"librosa": [3.0, 4.0, 5.0]}, "clips": 8},
    "training": {"cpu": {"images_per_second": {"notebook": [10.0]}}},
    "synthesis": {"cpu": {"pixel_train_s_a_clip": 2.0, "seconds": {"pixels": [1200.0, 2400.0, 3600.0]}}},
}


def test_the_alternatives_do_as_many_clips_and_epochs(bench: Bench, tmp_path: Path) -> None:
    split = {"training": ["a"] * 50, "development": ["b"] * 10, "test": ["c"] * 20}
    write_json(tmp_path / "stages" / "splitting-0" / "split-0.json", split)
    found = alternatives_s(bench, PIECES, tmp_path)
    epochs, synthetic = 1, 6 * 6
    assert found == {
        "features": pytest.approx(4.0 / 8 * 80),
        "4 classifiers": pytest.approx(4 * epochs * 50 / 10.0),
        "diffusion training": pytest.approx(epochs * 50 * 2.0),
        f"{synthetic} synthetic clips of 50 steps": pytest.approx(synthetic * 2.0),
    }
