"""Errors of serving: each knows the HTTP status that says whose fault it is."""

from sermodels.errors import SermodelsError


class ServeError(SermodelsError):
    """Base of all errors that a request can end with."""

    status = 500


class BundleError(ServeError):
    """A bundle is missing, damaged or does not fit this version."""


class DeviceError(ServeError):
    """The execution provider that was asked for is not to be had."""


class InputError(ServeError):
    """A request asks for something that is not allowed."""

    status = 422


class UndecodableError(ServeError):
    """The bytes sent are no recording that can be decoded."""

    status = 415


class TooLargeError(ServeError):
    """A body has too many bytes, or a recording too many seconds."""

    status = 413


class BusyError(ServeError):
    """The queue is full."""

    status = 429


class UnavailableError(ServeError):
    """The served bundle has no such part."""

    status = 404
