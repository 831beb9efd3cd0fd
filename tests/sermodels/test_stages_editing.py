"""Stage editing: clips of test speakers alone, moved to other emotions, told by figures, sounds and a picture."""

from dataclasses import replace

import numpy as np
import pytest
import soundfile

from sermodels.stages.editing import choose_edits, run_editing
from sermodels.store import StageResult
from tests.sermodels.tiny import EMOTIONS
from tests.sermodels.tiny_chain import Chain, changed, copy_workspace, whole_chain

STRENGTHS = (0.01, 1.0)


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Chain:
    return whole_chain(tmp_path_factory)


@pytest.fixture(scope="module")
def edited(chain: Chain, tmp_path_factory: pytest.TempPathFactory) -> StageResult:
    workspace = tmp_path_factory.mktemp("editing")
    copy_workspace(chain.context.workspace, workspace)
    config = changed(chain.config, "editing", strengths=STRENGTHS, clips_per_emotion=2)
    context = replace(chain.context, config=config, workspace=workspace)
    return run_editing(context, chain.stages["diffusion"], chain.stages["baseline"])


def test_figures_of_every_strength(edited: StageResult) -> None:
    figures = edited.read("figures.json")
    assert figures["clips"] == 4
    for strength in STRENGTHS:
        found = figures[f"strength_{strength:g}"]
        shares = [value for name, value in found.items() if name.startswith("heard")]
        assert len(shares) == 4
        assert all(0.0 <= share <= 1.0 for share in shares)
        assert -1.0 <= found["pitch_correlation"] <= 1.0


def test_hardly_any_noise_changes_hardly_anything(edited: StageResult) -> None:
    figures = edited.read("figures.json")
    assert abs(figures["strength_0.01"]["target_probability_gain"]) < 0.05
    assert figures["strength_0.01"]["heard_as_target"] == figures["strength_0.01"]["heard_as_target_before"]


def test_sounds_before_and_after(chain: Chain, edited: StageResult) -> None:
    first, second = EMOTIONS
    names = ("before", "strength_0.01", "strength_1")
    pairs = (f"{first}-to-{second}", f"{second}-to-{first}")
    files = sorted((edited.folder / "audio").glob("*.wav"))
    assert {path.name for path in files} == {f"{pair}-{name}.wav" for pair in pairs for name in names}
    frames = chain.config.diffusion.frames
    assert {soundfile.info(path).frames for path in files} == {256 * frames}
    assert (edited.folder / "editing.png").stat().st_size > 1000


def test_test_clips_alone_are_edited_and_every_other_emotion_is_a_target(chain: Chain) -> None:
    data = chain.context.load()
    test = data.indices(chain.context.split().test)
    edits = choose_edits(data.labels, test, changed(chain.config, "editing", clips_per_emotion=3))
    assert set(edits.places) <= set(test)
    assert (edits.source == data.labels[edits.places]).all()
    assert (edits.source != edits.target).all()
    assert len(edits.places) == len(np.unique(edits.places))


def test_a_second_call_reuses_all(chain: Chain, edited: StageResult) -> None:
    config = changed(chain.config, "editing", strengths=STRENGTHS, clips_per_emotion=2)
    context = replace(chain.context, config=config, workspace=edited.folder.parents[1])
    assert run_editing(context, chain.stages["diffusion"], chain.stages["baseline"]).reused
