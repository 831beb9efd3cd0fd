"""Stage F on a tiny corpus: who is fitted and predicted, what is kept, and recordings that are missing or silent."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from sermodels.errors import AudioError, ConfigError, SplitError
from sermodels.files import read_json, write_json
from sermodels.plan import TablePlan, plan_of
from sermodels.predictions import read_predictions
from sermodels.stages.context import RunContext, read_utterances
from sermodels.stages.functionals import FEATURES_FILE, run_functionals
from tests.sermodels.tiny import tiny_config, write_corpus
from tests.sermodels.tiny_chain import Chain, changed, elsewhere, start, whole_chain


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Chain:
    return whole_chain(tmp_path_factory)


@pytest.fixture
def context(chain: Chain, tmp_path: Path) -> RunContext:
    return elsewhere(chain, tmp_path / "workspace")


def test_predictions_are_of_the_split_and_figures_are_theirs(context: RunContext) -> None:
    result, split = run_functionals(context), context.split()
    figures = result.read("figures.json")
    assert (figures["stage"], figures["weights"]) == ("F", "none")
    assert figures["training_clips"] == len(split.training) + len(split.development)
    for part in ("development", "test"):
        predictions = read_predictions(result.folder / f"predictions-{part}.csv")
        assert predictions.identifiers == getattr(split, part)
        np.testing.assert_allclose(predictions.probabilities.sum(axis=1), 1.0, atol=1e-5)
        accuracy = float(np.mean(predictions.predicted == predictions.truth))
        assert figures[part]["accuracy"] == pytest.approx(accuracy)
        assert (result.folder / f"confusion-{part}.png").exists()
    assert figures["gap"] == figures["training"]["accuracy"] - figures["development"]["accuracy"]


def test_development_clips_are_predicted_by_what_has_not_heard_them(context: RunContext) -> None:
    """With their labels turned round, their own predictions stay, and those of the test clips do not."""
    before = run_functionals(context)
    corpus = read_json(context.prepared.folder / "corpus.json")
    emotions = list(context.config.corpus.emotions)
    development = set(context.split().development)
    for row in corpus["utterances"]:
        if row["identifier"] in development:
            row["emotion"] = emotions[(emotions.index(row["emotion"]) + 1) % len(emotions)]
    turned = replace(context.prepared, folder=context.workspace / "stages" / "turned")
    write_json(turned.folder / "corpus.json", corpus | {"digest": "turned"})
    after = run_functionals(replace(context, prepared=turned))
    own, theirs = ([read_predictions(each.folder / f"predictions-{part}.csv").probabilities for each in (before, after)]
                   for part in ("development", "test"))  # fmt: skip
    np.testing.assert_array_equal(*own)
    assert not np.array_equal(*theirs)


def test_a_second_run_and_another_seed_use_what_is_there(context: RunContext) -> None:
    first = run_functionals(context)
    again = run_functionals(context)
    other = run_functionals(replace(context, config=context.config.model_copy(update={"seed": 7})))
    assert (first.reused, again.reused, other.reused) == (False, True, True)
    with np.load(next((context.workspace / "stages").glob(f"descriptors-*/{FEATURES_FILE}"))) as file:
        assert file["vectors"].shape == (len(read_utterances(context.prepared)), len(file["names"]))


def test_a_missing_recording_is_named(tmp_path: Path) -> None:
    write_corpus(tmp_path / "data")
    context = start(tiny_config(tmp_path / "data"), tmp_path / "workspace")
    path = read_utterances(context.prepared)[3].path
    path.unlink()
    with pytest.raises(AudioError, match=f"{path}: cannot be read"):
        run_functionals(context)


def test_a_silent_recording_is_named(tmp_path: Path) -> None:
    write_corpus(tmp_path / "data")
    context = start(tiny_config(tmp_path / "data"), tmp_path / "workspace")
    path = read_utterances(context.prepared)[3].path
    soundfile.write(path, np.zeros(16_000), 16_000)
    with pytest.raises(AudioError, match=f"{path}: holds nothing but silence"):
        run_functionals(context)


def test_a_speaker_on_two_sides_stops_it(context: RunContext) -> None:
    split = read_json(context.split_path)
    planted = split["test"][0]
    path = context.workspace / "planted.json"
    write_json(path, split | {"training": [*split["training"], planted]})
    with pytest.raises(SplitError, match=planted):
        run_functionals(replace(context, split_path=path))


def test_it_runs_once_for_each_draw_of_the_split(chain: Chain) -> None:
    plan = TablePlan(seeds=2, stages="AF")
    first, second = plan.configs(chain.config)
    assert [plan.stages_with(one, chain.config) for one in (first, second)] == ["AF", "A"]
    drawn = changed(second, "split", protocol="seed")
    assert plan.stages_with(drawn, chain.config) == "AF"
    assert TablePlan(stages="A").stages_with(first, chain.config) == "A"


def test_the_command_line_takes_its_letter() -> None:
    assert plan_of("speaker", "all", 1, "BRF").stages == "BRF"
    with pytest.raises(ConfigError, match="--stages X: allowed are A, B, C, D, R, F"):
        plan_of("speaker", "all", 1, "FX")
