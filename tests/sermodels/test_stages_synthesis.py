"""Stage synthesis: as many clips as asked for, each with where it comes from, some of them to be heard."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from sermodels.stages.context import RunContext, read_utterances
from sermodels.stages.synthesis import draw_part, run_synthesis
from sermodels.store import StageResult
from sermodels.synthesis import read_synthetic
from sermodels.vocoder import PEAK
from tests.sermodels.tiny import EMOTIONS
from tests.sermodels.tiny_chain import Chain, changed, copy_workspace, results_of, whole_chain


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Chain:
    return whole_chain(tmp_path_factory)


def files_of(stage: StageResult) -> set[str]:
    return {str(path.relative_to(stage.folder)) for path in stage.folder.rglob("*") if path.is_file()}


def synthesis_with(chain: Chain, workspace: Path, **values: object) -> StageResult:
    config = changed(chain.config, "synthesis", **values)
    copy_workspace(chain.context.workspace, workspace)
    context = RunContext(config, workspace, chain.context.prepared, chain.context.split_path)
    return run_synthesis(context, chain.stages["diffusion"], chain.stages["baseline"])


def test_the_folder_holds_shards_sounds_figures_and_provenance(chain: Chain) -> None:
    assert files_of(chain.stages["synthesis"]) == {
        *(f"clips/shard-{emotion}-{start:05d}.npz" for emotion in (0, 1) for start in (0, 3)),
        *("audio/anger-00.wav", "audio/sadness-00.wav", "synthetic.png", "neighbours.png"),
        *("figures.json", "provenance.json", "inputs.json", "complete.json"),
    }


def test_parts_that_were_drawn_before_are_kept_and_the_same(chain: Chain, tmp_path: Path) -> None:
    copy_workspace(chain.context.workspace, tmp_path)
    context = RunContext(chain.config, tmp_path, chain.context.prepared, chain.context.split_path)
    before, judge = chain.stages["diffusion"], chain.stages["baseline"]

    for part in (2, 0):
        draw_part(context, before, judge, part=part, parts=3)
    (folder,) = (tmp_path / "stages").glob("synthesis-*")
    drawn = {path: path.stat().st_mtime_ns for path in folder.glob("clips/*.npz")}
    assert {path.name for path in drawn} == {"shard-0-00000.npz", "shard-1-00000.npz", "shard-1-00003.npz"}

    result = run_synthesis(context, before, judge)
    draw_part(context, before, judge, part=1, parts=3)

    assert {path: path.stat().st_mtime_ns for path in drawn} == drawn
    assert results_of(result) == results_of(chain.stages["synthesis"])


def test_every_clip_is_whole_and_of_its_emotion(chain: Chain) -> None:
    log_mels, labels = read_synthetic(chain.stages["synthesis"].folder / "clips", 2, chain.config.synthesis)

    assert labels == [0] * 5 + [1] * 5
    assert {log_mel.shape for log_mel in log_mels} == {(32, 16)}
    assert all(np.isfinite(log_mel).all() for log_mel in log_mels)
    assert len({log_mel.tobytes() for log_mel in log_mels}) == 10


def test_every_clip_says_where_it_comes_from(chain: Chain) -> None:
    provenance = chain.stages["synthesis"].read("provenance.json")

    assert provenance["split"] == "fold 0"
    assert tuple(provenance["training_clips"]) == chain.context.split().training
    assert provenance["diffusion"] == chain.stages["diffusion"].key
    assert [clip["identifier"] for clip in provenance["clips"]] == [
        f"synthetic/{emotion}-{number:05d}" for emotion in EMOTIONS for number in range(5)
    ]
    assert [clip["seed"] for clip in provenance["clips"]] == [[7, emotion, n] for emotion in (0, 1) for n in range(5)]


def test_their_quality_stands_beside_that_of_real_clips(chain: Chain) -> None:
    figures = chain.stages["synthesis"].read("figures.json")

    assert figures["clips"] == 10
    assert 0.0 <= figures["agreement/uar"] <= 1.0
    assert {f"agreement/recall/{emotion}" for emotion in EMOTIONS} <= figures.keys()
    measured = ("frechet_distance", "mmd", "density", "coverage", "duplicate_ratio")
    assert {f"{part}/{name}" for part in ("synthetic", "real") for name in measured} <= figures.keys()
    assert all(np.isfinite(value) for value in figures.values())


def test_every_clip_says_how_sure_the_judge_is_of_its_emotion(chain: Chain) -> None:
    stage = chain.stages["synthesis"]
    agreement = np.array([clip["agreement"] for clip in stage.read("provenance.json")["clips"]])

    assert ((agreement >= 0.0) & (agreement <= 1.0)).all()
    assert len(EMOTIONS) == 2, "of two emotions the more probable one is heard"
    assert np.mean(agreement > 0.5) == pytest.approx(stage.read("figures.json")["agreement/accuracy"])


def test_clips_may_start_from_training_clips_of_their_emotion(chain: Chain, tmp_path: Path) -> None:
    stage = synthesis_with(chain, tmp_path, strength=0.5)

    clips, split = stage.read("provenance.json")["clips"], chain.context.split()
    emotion_of = {u.identifier: u.emotion for u in read_utterances(chain.context.prepared)}
    assert {clip["original"] for clip in clips} <= set(split.training)
    assert all(emotion_of[clip["original"]] == clip["emotion"] for clip in clips)
    assert len({clip["original"] for clip in clips}) > 1
    from_noise = chain.stages["synthesis"].read("provenance.json")["clips"]
    assert {clip["original"] for clip in from_noise} == {""}


def test_near_copies_are_marked_and_counted(chain: Chain) -> None:
    stage = chain.stages["synthesis"]
    marked = [clip["near_copy"] for clip in stage.read("provenance.json")["clips"]]

    assert sum(marked) == stage.read("figures.json")["near_copies"]


def test_sounds_have_rate_length_and_level(chain: Chain) -> None:
    for emotion in EMOTIONS:
        samples, rate_hz = soundfile.read(chain.stages["synthesis"].folder / "audio" / f"{emotion}-00.wav")

        assert rate_hz == 22_050
        assert len(samples) == 256 * 16
        assert np.abs(samples).max() == pytest.approx(PEAK, abs=1e-3)


def test_a_second_call_reuses_all(chain: Chain) -> None:
    again = run_synthesis(chain.context, chain.stages["diffusion"], chain.stages["baseline"])

    assert again.reused
    assert again.folder == chain.stages["synthesis"].folder


@pytest.mark.parametrize(("per_emotion", "audio", "heard"), [(1, 2, 1), (1, 0, 0)])
def test_no_more_is_heard_than_there_is(chain: Chain, tmp_path: Path, per_emotion: int, audio: int, heard: int) -> None:
    stage = synthesis_with(chain, tmp_path, per_emotion=per_emotion, audio_per_emotion=audio)

    sounds = sorted((stage.folder / "audio").glob("*.wav")) if heard else []
    assert len(sounds) == 2 * heard
    assert (stage.folder / "synthetic.png").is_file()
    assert len(stage.read("provenance.json")["clips"]) == 2 * per_emotion


def test_the_first_clips_do_not_depend_on_how_many_there_are(chain: Chain, tmp_path: Path) -> None:
    config = chain.config.synthesis
    few = synthesis_with(chain, tmp_path, per_emotion=1, audio_per_emotion=0)

    alone, _ = read_synthetic(few.folder / "clips", 2, config.model_copy(update={"per_emotion": 1}))
    among, _ = read_synthetic(chain.stages["synthesis"].folder / "clips", 2, config)

    for one, other in zip(alone, (among[0], among[5]), strict=True):
        np.testing.assert_allclose(one.astype(np.float32), other.astype(np.float32), atol=2.0)
