"""Presets and overrides: precedence, and errors that name the key and what is allowed."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from sermodels.config import Config
from sermodels.errors import ConfigError
from sermodels.presets import PRESETS, flatten, read_preset, resolve_config

NAMES = sorted(path.stem for path in PRESETS.glob("*.yaml"))
every_preset = pytest.mark.parametrize("name", NAMES)


@pytest.fixture
def preset(tmp_path: Path) -> Any:
    """Writes a preset file; returns its path as given on a command line."""

    def write(text: str) -> str:
        (tmp_path / "own.yaml").write_text(text, encoding="utf-8")
        return str(tmp_path / "own.yaml")

    return write


def test_the_presets_are_there() -> None:
    assert {"demo", "quick", "full", "seed"} <= set(NAMES)


@every_preset
def test_every_preset_resolves(name: str) -> None:
    assert isinstance(resolve_config(name), Config)


@every_preset
def test_a_preset_holds_only_what_differs(name: str) -> None:
    default = Config().model_dump(mode="json")
    for section, values in read_preset(name).items():
        for key, value in values.items():
            assert value != default[section][key], f"{section}.{key} is the default"


def test_the_seed_preset_is_the_other_protocol() -> None:
    assert resolve_config("seed").split.protocol == "seed"
    assert {resolve_config(name).split.protocol for name in NAMES if name != "seed"} == {"speaker"}


def test_precedence_is_default_preset_override(preset: Any) -> None:
    path = preset("training:\n  epochs: 7\n  patience: 3\n")
    config = resolve_config(path, ["training.patience=4", "clip.level=clip"])
    assert config.training.batch_size == Config().training.batch_size
    assert config.training.epochs == 7
    assert config.training.patience == 4
    assert config.clip.level == "clip"


def test_the_last_override_of_a_key_counts(preset: Any) -> None:
    assert resolve_config(preset(""), ["seed=1", "seed=2"]).seed == 2


@pytest.mark.parametrize(
    ("override", "section", "key", "value"),
    [
        ("training.learning_rate=1e-4", "training", "learning_rate", 1e-4),
        ("training.learning_rate=0.5", "training", "learning_rate", 0.5),
        ("split.fold=all", "split", "fold", "all"),
        ("split.fold=3", "split", "fold", 3),
        ("clip.trim_db=null", "clip", "trim_db", None),
        ("clip.trim_db=30", "clip", "trim_db", 30.0),
        ("classifier.image_size=[64, 96]", "classifier", "image_size", (64, 96)),
        ("corpus.names=[emodb]", "corpus", "names", ("emodb",)),
        ("corpus.data_dir=a=b", "corpus", "data_dir", "a=b"),
        ("corpus.data_dir='123'", "corpus", "data_dir", "123"),
    ],
)
def test_override_syntax(preset: Any, override: str, section: str, key: str, value: Any) -> None:
    config = resolve_config(preset("clip: {trim_db: 40.0}"), [override])
    assert getattr(getattr(config, section), key) == value


@settings(deadline=None)
@given(st.floats(min_value=1e-12, max_value=1e12), st.integers(1, 10**9))
def test_any_number_survives_the_command_line(rate: float, epochs: int) -> None:
    config = resolve_config("demo", [f"training.learning_rate={rate!r}", f"training.epochs={epochs}"])
    assert (config.training.learning_rate, config.training.epochs) == (rate, epochs)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("training.epoch=3", "unknown config key training.epoch; did you mean epochs? allowed here: epochs, batch_"),
        ("classifer.dropout=0", "unknown config key classifer; did you mean classifier? allowed here: seed, corpus"),
        ("clip.zzz=1", "unknown config key clip.zzz; allowed here: duration_s, trim_db, level, crop"),
        ("clip.zzz.yyy=1", "unknown config key clip.zzz; allowed here: duration_s"),
        ("..=1", "unknown config key ; allowed here: seed, corpus"),
        ("training.epochs=many", "training.epochs: Input should be a valid integer, unable to parse"),
        ("training.epochs=0", "training.epochs: Input should be greater than 0; came: 0"),
        ("training.optimizer=sgd", "training.optimizer: Input should be 'adam' or 'adamw'; came: 'sgd'"),
        ("training=3", "training: Input should be a valid dictionary or instance of TrainingConfig; came: 3"),
        ("seed.x=1", "seed: Input should be a valid integer; came: {'x': 1}"),
        ("split.fold=6", "fold 6 does not exist; allowed: 0 to 5, or all"),
        ("corpus.emotions=[anger, joy]", "unknown emotions ['joy']; allowed: anger, disgust"),
        ("clip.level.x=1", "override 'clip.level.x=1': level is a value, not a section"),
        ("training.epochs", "override 'training.epochs' is not of the form section.key=value"),
        ("=1", "override '=1' is not of the form section.key=value"),
        ("training.epochs=[1", "training.epochs=[1: not valid YAML"),
    ],
)
def test_a_wrong_override_is_named(preset: Any, override: str, message: str) -> None:
    with pytest.raises(ConfigError) as raised:
        resolve_config(preset("clip: {level: clip}"), [override])
    assert message in str(raised.value)


def test_all_problems_are_told_at_once() -> None:
    with pytest.raises(ConfigError) as raised:
        resolve_config("demo", ["training.epochs=0", "clip.zzz=1", "seed=x"])
    lines = str(raised.value).splitlines()
    assert lines[0] == "preset 'demo' and its overrides give a config that is not allowed:"
    assert len(lines) == 4


@pytest.mark.parametrize("name", ["demon", "", "demo.yml", "/no/such/preset.yaml", "."])
def test_an_unknown_preset_lists_the_allowed(name: str) -> None:
    with pytest.raises(ConfigError) as raised:
        resolve_config(name)
    assert f"unknown preset {name!r}; allowed: {', '.join(NAMES)}, or the path of a .yaml file" in str(raised.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"- 1\n- 2\n", "a preset is a mapping of sections, not list"),
        (b"just text", "a preset is a mapping of sections, not str"),
        (b"clip: [", "not valid YAML"),
        (b"clip: {a: *b}", "not valid YAML"),
        (b"\x00\xff\xfe", "not valid YAML"),
        (b"clip:\n", "clip: Input should be a valid dictionary"),
        (b"clip: {1: 2}", "clip.1: Keys should be strings"),
        (b"!!python/object/apply:os.getcwd []", "not valid YAML"),
    ],
)
def test_a_wrong_file_is_named(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "own.yaml"
    path.write_bytes(content)
    with pytest.raises(ConfigError) as raised:
        resolve_config(str(path))
    assert message in str(raised.value)
    assert "own.yaml" in str(raised.value)


def test_an_empty_file_is_the_defaults(preset: Any) -> None:
    assert resolve_config(preset("# nothing\n")) == Config()


def test_reading_a_preset_twice_gives_its_own_mapping() -> None:
    read_preset("demo")["clip"]["level"] = "changed"
    assert read_preset("demo")["clip"]["level"] != "changed"


def test_a_resolved_config_is_frozen() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        resolve_config("demo").training.epochs = 3


@every_preset
def test_flatten_has_every_leaf(name: str) -> None:
    config = resolve_config(name)
    flat = flatten(config)
    nested: dict[str, Any] = {}
    for key, value in flat.items():
        *section, leaf = key.split(".")
        (nested.setdefault(section[0], {}) if section else nested)[leaf] = value
    assert nested == config.model_dump(mode="json")
    assert Config.model_validate(nested) == config
    assert len(flat) == 1 + sum(
        len(getattr(config, field).__class__.model_fields) for field in nested if field != "seed"
    )


def test_flattened_values_are_overrides() -> None:
    config = resolve_config("quick")
    overrides = [f"{key}={yaml.safe_dump(value, default_flow_style=True)}" for key, value in flatten(config).items()]
    assert resolve_config("demo", overrides) == config
