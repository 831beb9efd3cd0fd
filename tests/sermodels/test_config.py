"""The configuration: frozen, closed against unknown keys, and within its ranges."""

from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from sermodels.config import (
    AugmentationConfig,
    ClassifierConfig,
    ClipConfig,
    Config,
    CorpusConfig,
    DiffusionConfig,
    FrontEndConfig,
    Section,
    SplitConfig,
    SynthesisConfig,
    TrainingConfig,
)
from sermodels.emotions import ALL_EMOTIONS, COMMON_EMOTIONS

SECTIONS: tuple[type[Section], ...] = (
    AugmentationConfig,
    ClassifierConfig,
    ClipConfig,
    Config,
    CorpusConfig,
    DiffusionConfig,
    FrontEndConfig,
    SplitConfig,
    SynthesisConfig,
    TrainingConfig,
)
every_section = pytest.mark.parametrize("section", SECTIONS, ids=lambda section: section.__name__)

NOT_ALLOWED: list[tuple[str, str, Any]] = [
    ("corpus", "data_dir", None),
    ("corpus", "names", "emodb"),
    ("corpus", "demo_seed", -1),
    ("front_end", "sample_rate_hz", 0),
    ("front_end", "n_fft", 1024.5),
    ("front_end", "hop_length", -1),
    ("front_end", "n_mels", "many"),
    ("front_end", "f_min_hz", -1.0),
    ("front_end", "f_max_hz", float("inf")),
    ("front_end", "top_db", 0.0),
    ("clip", "duration_s", 0.0),
    ("clip", "trim_db", -40.0),
    ("clip", "level", "loud"),
    ("clip", "crop", "end"),
    ("split", "protocol", "random"),
    ("split", "folds", 1),
    ("split", "fold", -1),
    ("split", "fold", "every"),
    ("split", "development_fraction", 0.0),
    ("split", "development_fraction", 0.5),
    ("split", "test_fraction", 0.9),
    ("split", "seed", -1),
    ("augmentation", "probability", 1.01),
    ("augmentation", "time_mask_fraction", -0.1),
    ("augmentation", "frequency_mask_fraction", 2.0),
    ("augmentation", "shift_fraction", float("nan")),
    ("augmentation", "noise_std", -0.01),
    ("augmentation", "gain_low", 0.0),
    ("augmentation", "mixup_alpha", -1.0),
    ("classifier", "backbone", "resnet101"),
    ("classifier", "weights", 5),
    ("classifier", "trainable", "fc"),
    ("classifier", "dropout", 1.5),
    ("classifier", "image_size", (224,)),
    ("classifier", "image_size", (224, 0)),
    ("training", "epochs", 0),
    ("training", "batch_size", 1),
    ("training", "optimizer", "sgd"),
    ("training", "learning_rate", 0.0),
    ("training", "learning_rate", float("inf")),
    ("training", "learning_rate", float("nan")),
    ("training", "weight_decay", -0.1),
    ("training", "warmup_fraction", 1.1),
    ("training", "label_smoothing", -0.1),
    ("training", "patience", 0),
    ("training", "epoch_size", "all"),
    ("training", "precision", "float16"),
    ("diffusion", "frames", 0),
    ("diffusion", "widths", (64, 0)),
    ("diffusion", "timesteps", 1),
    ("diffusion", "schedule", "cosine"),
    ("diffusion", "condition_dropout", 2.0),
    ("diffusion", "variation", -0.5),
    ("diffusion", "ema_decay", 1.5),
    ("synthesis", "per_emotion", 0),
    ("synthesis", "sampler", "euler"),
    ("synthesis", "steps", 0),
    ("synthesis", "guidance_scale", -1.0),
    ("synthesis", "audio_per_emotion", -1),
]


@every_section
def test_an_unknown_key_is_an_error(section: type[Section]) -> None:
    with pytest.raises(ValidationError, match="Extra inputs are not permitted"):
        section.model_validate({"no_such_key": 1})


@every_section
def test_a_section_is_frozen(section: type[Section]) -> None:
    value = section()
    for name in section.model_fields:
        with pytest.raises(ValidationError, match="frozen"):
            setattr(value, name, getattr(value, name))


@every_section
def test_defaults_satisfy_their_own_rules_and_survive_json(section: type[Section]) -> None:
    value = section()
    assert section.model_validate(value.model_dump()) == value
    assert section.model_validate_json(value.model_dump_json()) == value


@pytest.mark.parametrize(("section", "key", "value"), NOT_ALLOWED)
def test_wrong_types_and_ranges_are_named(section: str, key: str, value: Any) -> None:
    with pytest.raises(ValidationError) as raised:
        Config.model_validate({section: {key: value}})
    assert {problem["loc"][:2] for problem in raised.value.errors()} == {(section, key)}


@pytest.mark.parametrize("value", [{"views": 2}, {"evaluation_s": 4.0}])
def test_evaluation_elsewhere_in_a_clip_needs_places(value: dict[str, float]) -> None:
    with pytest.raises(ValidationError, match=r"needs? crop: random"):
        ClipConfig.model_validate({"crop": "start", **value})
    assert ClipConfig.model_validate({"crop": "random", **value}).crop == "random"


def test_evaluation_hears_as_much_as_training_unless_told() -> None:
    assert ClipConfig(duration_s=2.0).heard_s == 2.0
    assert ClipConfig(duration_s=2.0, crop="random", evaluation_s=3.0).heard_s == 3.0


def test_clips_that_are_resized_have_one_length() -> None:
    clip = {"crop": "random", "evaluation_s": 4.0}
    with pytest.raises(ValidationError, match=r"evaluation_s 4 needs classifier.image_size: null, not \[224, 224\]"):
        Config.model_validate({"clip": clip})
    assert Config.model_validate({"clip": clip, "classifier": {"image_size": None}}).clip.heard_s == 4.0


def test_a_negative_seed_is_refused() -> None:
    with pytest.raises(ValidationError, match="greater than or equal to 0"):
        Config(seed=-1)


@pytest.mark.parametrize("fold", [6, 7, 100])
def test_a_fold_out_of_range_says_what_is_allowed(fold: int) -> None:
    with pytest.raises(ValidationError, match=f"fold {fold} does not exist; allowed: 0 to 5, or all"):
        SplitConfig(fold=fold)


@pytest.mark.parametrize(("fold", "folds"), [(5, 6), (0, 2), ("all", 2), (9, 10)])
def test_a_fold_in_range_is_taken(fold: Any, folds: int) -> None:
    assert SplitConfig(fold=fold, folds=folds).fold == fold


def test_an_unknown_emotion_lists_the_known_ones() -> None:
    with pytest.raises(ValidationError, match=r"unknown emotions \['joy'\]; allowed: anger, disgust, fear, .*surprise"):
        CorpusConfig(emotions=("anger", "joy"))


@pytest.mark.parametrize("emotions", [(), ("anger",), ("anger", "fear", "anger")])
def test_emotions_are_two_at_least_and_each_named_once(emotions: tuple[str, ...]) -> None:
    with pytest.raises(ValidationError, match="at least two, each named once"):
        CorpusConfig(emotions=emotions)


def test_no_corpus_at_all_is_refused() -> None:
    with pytest.raises(ValidationError, match="name at least one corpus or manifest"):
        CorpusConfig(names=())
    assert CorpusConfig(names=(), manifests=("own.csv",)).names == ()


def test_the_common_emotions_in_their_order_are_the_default() -> None:
    assert Config().corpus.emotions == COMMON_EMOTIONS
    assert COMMON_EMOTIONS == ("anger", "disgust", "fear", "happiness", "neutral", "sadness")
    assert len(set(ALL_EMOTIONS)) == 9


def test_defaults_are_the_published_recipe() -> None:
    config = Config()
    assert (config.front_end.sample_rate_hz, config.front_end.n_fft, config.front_end.hop_length) == (22_050, 1024, 256)
    assert (config.front_end.n_mels, config.clip.duration_s, config.classifier.image_size) == (80, 10.0, (224, 224))
    assert (config.classifier.backbone, config.classifier.trainable) == ("resnet50", ("layer4", "fc"))
    assert (config.training.optimizer, config.training.learning_rate, config.training.epochs) == ("adam", 1e-4, 50)
    assert (config.diffusion.timesteps, config.synthesis.per_emotion) == (50, 200)


def test_sections_are_closed_and_nested_in_one_level() -> None:
    for name, field in Config.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            assert issubclass(field.annotation, Section), name
            for inner in field.annotation.model_fields.values():
                assert not isinstance(inner.annotation, type) or not issubclass(inner.annotation, BaseModel)


def test_emotions_have_one_order_whatever_order_they_are_named_in() -> None:
    emotions = Config.model_validate({"corpus": {"emotions": ["sadness", "boredom", "anger"]}}).corpus.emotions
    assert emotions == ("anger", "sadness", "boredom")
