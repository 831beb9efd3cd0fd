"""The page's table of synthetic clips: one row for each way of drawing, and samplers beside each other."""

from itertools import count
from pathlib import Path

import pytest
from mlflow import MlflowClient

from flows import tracking
from flows.results_synthetic import FIGURES, PROBES, synthetic_rows, synthetic_section

FAST = {"sampler": "dpmpp_2m", "steps": "15", "guidance_scale": "1.5", "strength": "0.6"}
DDPM = FAST | {"sampler": "ddpm", "steps": "50"}


class Log:
    """Finished synthesis stages of a table, each newer than the one before."""

    def __init__(self, client: MlflowClient) -> None:
        self.client, self.clock = client, count(1)

    def drawn(self, fold: int, figure: float, model: str = "m", **how: str) -> None:
        now = 1000 * next(self.clock)
        tags = {"table": "t", "stage": "synthesis", "protocol": "speaker", "corpora": "a", "seed": "0"}
        run_id = self.client.create_run(
            tracking.experiment_id(), start_time=now, tags=tags | {"split": f"fold {fold}"}
        ).info.run_id
        for name in [f"{part}/{name}" for part in ("synthetic", "real") for name in FIGURES] + list(PROBES):
            self.client.log_metric(run_id, name, figure)
        for name in ("clips", "near_copies"):
            self.client.log_metric(run_id, name, 6.0)
        for name, value in {"diffusion": model, **{f"synthesis.{name}": how[name] for name in how}}.items():
            self.client.log_param(run_id, name, value)
        self.client.set_terminated(run_id, end_time=now + 1)


@pytest.fixture
def log(client: MlflowClient) -> Log:
    return Log(client)


def shown() -> list[tuple[str, str, str, float]]:
    """Sampler, strength, beside whom, and one of the figures."""
    return [
        (row["sampler"], f"{row['strength']:g}", row["beside"], row["synthetic/duplicate_ratio"])
        for row in synthetic_rows("t")
    ]


def test_each_way_of_drawing_has_the_newest_clips_of_each_split(log: Log) -> None:
    for figure in (1.0, 2.0):
        log.drawn(0, figure, **FAST)
    log.drawn(1, 4.0, **FAST)
    log.drawn(0, 8.0, **FAST | {"strength": "0.5"})
    assert shown() == [("dpmpp_2m", "0.5", "", 8.0), ("dpmpp_2m", "0.6", "", 3.0)]


def test_samplers_stand_beside_each_other_for_the_models_that_both_drew_from(log: Log) -> None:
    log.drawn(0, 1.0, model="first", **FAST)
    log.drawn(0, 2.0, model="second", **FAST)
    log.drawn(1, 4.0, model="third", **FAST)
    log.drawn(0, 8.0, model="first", **DDPM)
    assert shown() == [("ddpm", "0.6", "", 8.0), ("dpmpp_2m", "0.6", "", 3.0), ("dpmpp_2m", "0.6", "ddpm", 1.0)]
    log.drawn(0, 16.0, model="second", **DDPM)
    assert shown()[2] == ("dpmpp_2m", "0.6", "ddpm", 2.0)
    log.drawn(1, 32.0, model="third", **DDPM)
    assert shown() == [("ddpm", "0.6", "", 24.0), ("dpmpp_2m", "0.6", "", 3.0)]


def test_the_duplicate_ratio_is_shown_with_how_far_it_is_from_that_of_real_clips(log: Log, tmp_path: Path) -> None:
    log.drawn(0, 1.0, **FAST)
    (row,) = synthetic_rows("t")
    page = synthetic_section([row | {"synthetic/duplicate_ratio": 1.2, "real/duplicate_ratio": 1.25}], tmp_path)
    assert "| dpmpp_2m, 15 steps, guidance 1.5, from training clips noised by 0.6 |" in page
    assert "| 1.2 (real 1.25, -4.0%) |" in page
