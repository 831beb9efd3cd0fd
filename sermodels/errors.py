"""Errors that a user can act on: each message names the input and the remedy."""

from collections.abc import Iterator


class SermodelsError(Exception):
    """Base of all errors raised for bad input or a bad environment."""


class ConfigError(SermodelsError):
    """A preset, key or value of the configuration is not allowed."""


class CorpusError(SermodelsError):
    """A corpus folder, manifest or file name is not what its scheme says."""


class AudioError(SermodelsError):
    """A recording cannot be read."""


class SplitError(SermodelsError):
    """A split cannot be made, or would leak."""


class WeightsError(SermodelsError):
    """Pretrained weights or a checkpoint cannot be loaded."""


class StorageError(SermodelsError):
    """A file cannot be written or read back."""


def causes(error: BaseException | None) -> Iterator[BaseException]:
    """The error, what caused it, and so on."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
