"""What goes wrong in the demo, said in plain words."""

import html
from collections.abc import Iterator
from contextlib import contextmanager

import gradio as gr
from pydantic import ValidationError

from serve.errors import ServeError
from serve.problems import message_of


@contextmanager
def plain_words() -> Iterator[None]:
    """Turn errors that a user can act on into a message on the page; Gradio renders it as HTML, so it is escaped."""
    try:
        yield
    except ServeError as error:
        raise _shown(message_of(error)) from error
    except ValidationError as error:
        faults = [f"{'.'.join(str(part) for part in fault['loc'])}: {fault['msg']}" for fault in error.errors()]
        raise _shown("; ".join(faults)) from error


def _shown(message: str) -> gr.Error:
    """A message on the page, and no traceback in the log."""
    return gr.Error(html.escape(message[:1].upper() + message[1:]), title="That did not work", print_exception=False)
