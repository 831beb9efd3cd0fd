"""Memory that was freed goes back to the system: glibc keeps the pieces that a set of models leaves."""

import ctypes


def return_memory() -> None:
    """Give back what nobody uses; does nothing where the C library is another."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
