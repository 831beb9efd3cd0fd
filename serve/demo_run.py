"""A run that takes its time: pages while it denoises, and a button that cancels it."""

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Any

import gradio as gr

from sermodels.config import FrontEndConfig
from serve.answers import GeneratedClip
from serve.demo_classify import EMPTY
from serve.demo_clips import is_shown, progress_page
from serve.jobs import CancelledByClientError, Jobs, until
from serve.service import Events

STOPPED = EMPTY.format("Stopped. Change what you like and start again.")
REPORTED = gr.Progress()
_SET = "() => ({{interactive: {}, __type__: 'update'}})"
_PRIVATE: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}


async def pages_and_clips(
    events: Events, *, jobs: Jobs, session: gr.Request, progress: gr.Progress, front_end: FrontEndConfig
) -> AsyncGenerator[str | GeneratedClip, None]:
    """What to show on the way, then the clips; when the session cancels, that is the last thing shown."""
    with jobs.running(str(session.session_hash)) as stop:
        async with aclosing(until(stop, events)) as running:
            try:
                async for event in running:
                    if isinstance(event, GeneratedClip):
                        yield event
                        continue
                    progress((event.step, event.steps), desc="Denoising", unit="steps")
                    if is_shown(event):
                        yield progress_page(event, front_end)
            except CancelledByClientError:
                yield STOPPED


def when_opened(fill: Callable[..., Any], *, outputs: list[Any]) -> None:
    """Call `fill` whenever somebody opens the page: what is served may have changed since the server started."""
    gr.on(None, fill, outputs=outputs, queue=False, **_PRIVATE)


def run_on_click(
    button: gr.Button, stop: gr.Button, jobs: Jobs, handler: Callable[..., Any], *, api_name: str, **wiring: Any
) -> None:
    """`button` calls `handler`; `stop` works while that runs, and cancels what its session runs in `jobs`.

    Gradio runs a button's events one after the other, so `stop` is switched on first. Gradio's own way to cancel
    leaves the page as it is, or with the answer of a step that was on its way.
    """

    def cancel(session: gr.Request) -> None:
        jobs.cancel(str(session.session_hash))

    button.click(None, outputs=stop, js=_SET.format("true"), **_PRIVATE)
    run = button.click(handler, api_name=api_name, show_progress="hidden", **wiring)
    run.then(None, outputs=stop, js=_SET.format("false"), **_PRIVATE)
    stop.click(cancel, queue=False, **_PRIVATE)
