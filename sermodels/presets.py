"""From a preset and overrides to the resolved config: class default < preset < command line."""

import difflib
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import UnionType
from typing import Any, get_args

import yaml
from pydantic import ValidationError

from sermodels.config import Config, Section
from sermodels.errors import ConfigError

PRESETS = Path(__file__).resolve().parents[1] / "presets"


def resolve_config(preset: str, overrides: Sequence[str] = ()) -> Config:
    """The config of a preset (name in `presets/`, or path of a YAML file) with `section.key=value` overrides on top.

    Values are YAML. Raises ConfigError naming the unknown preset or key, or the value that is not allowed.
    """
    values = read_preset(preset)
    for override in overrides:
        key, equals, text = override.partition("=")
        if not equals or not key:
            raise ConfigError(f"override {override!r} is not of the form section.key=value")
        _set(values, key.split("."), _parse(text, override), override)
    try:
        return Config.model_validate(values)
    except ValidationError as error:
        raise ConfigError(_explain(error, preset)) from error


def read_preset(preset: str) -> dict[str, Any]:
    """The mapping in a preset's file. Raises ConfigError."""
    path = Path(preset) if preset.endswith((".yaml", ".yml")) else PRESETS / f"{preset}.yaml"
    if not path.is_file():
        names = sorted(file.stem for file in PRESETS.glob("*.yaml"))
        raise ConfigError(f"unknown preset {preset!r}; allowed: {', '.join(names)}, or the path of a .yaml file")
    values = _parse(path.read_bytes(), str(path)) or {}
    if not isinstance(values, dict):
        raise ConfigError(f"{path}: a preset is a mapping of sections, not {type(values).__name__}")
    return values


def flatten(config: Config) -> dict[str, Any]:
    """The config as `section.key: value`, in JSON types."""
    return {
        f"{section}.{key}" if isinstance(value, dict) else section: inner
        for section, value in config.model_dump(mode="json").items()
        for key, inner in (value.items() if isinstance(value, dict) else [("", value)])
    }


def _parse(text: str | bytes, source: str) -> Any:
    """YAML, or an error that names where it stood."""
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"{source}: not valid YAML ({error})") from error


def _set(values: dict[str, Any], keys: Sequence[str], value: Any, override: str) -> None:
    """Set a nested value, making sections on the way."""
    for key in keys[:-1]:
        values = values.setdefault(key, {})
        if not isinstance(values, dict):
            raise ConfigError(f"override {override!r}: {key} is a value, not a section")
    values[keys[-1]] = value


def _explain(error: ValidationError, preset: str) -> str:
    """Each problem in one line: the key, what came, what is allowed."""
    lines = [f"preset {preset!r} and its overrides give a config that is not allowed:"]
    for problem in error.errors():
        key = ".".join(str(part) for part in problem["loc"])
        if problem["type"] == "extra_forbidden":
            allowed = _keys_beside(problem["loc"])
            near = difflib.get_close_matches(str(problem["loc"][-1]), allowed, n=1)
            hint = f"did you mean {near[0]}? " if near else ""
            lines.append(f"  unknown config key {key}; {hint}allowed here: {', '.join(allowed)}")
        else:
            lines.append(f"  {key or 'config'}: {problem['msg']}; came: {problem['input']!r}")
    return "\n".join(lines)


def _keys_beside(location: Sequence[int | str]) -> list[str]:
    """The keys of the section in which an unknown key stood."""
    section: type[Section] = Config
    for part in location[:-1]:
        annotation = section.model_fields[str(part)].annotation
        options: Mapping[int, Any] | tuple[Any, ...] = (
            get_args(annotation) if isinstance(annotation, UnionType) else (annotation,)
        )
        section = next(option for option in options if isinstance(option, type) and issubclass(option, Section))
    return list(section.model_fields)
