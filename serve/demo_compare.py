"""The tab Compare: one recording through the model that is served and the one that may replace it."""

import asyncio
from typing import Any

import gradio as gr

from serve.demo_answer import answer_data, answer_page
from serve.demo_classify import EMPTY, answer_on, example_buttons, recording_input
from serve.demo_errors import plain_words
from serve.demo_files import read_recording
from serve.demo_run import when_opened
from serve.errors import UnavailableError
from serve.service import Service

NONE_SERVED = "No challenger is served here, so there is nothing to compare with."


def compare_tab(service: Service) -> None:
    """Build the tab; its endpoint is /compare."""

    async def compare(recording: str | None) -> tuple[dict[str, Any], str]:
        """The emotion of a recording by champion and challenger. Returns both answers, and the page's HTML."""
        with plain_words():
            if service.challenger is None:
                raise UnavailableError(NONE_SERVED)
            content = await read_recording(recording, max_bytes=service.settings.max_body_bytes)
            waveform = await service.decode(content)
            ours, theirs = await asyncio.gather(
                service.classify_waveform(waveform), service.classify_waveform(waveform, challenger=True)
            )
        sides = {"champion": ours, "challenger": theirs}
        for result in sides.values():
            service.answered(result)
        data = {role: answer_data(result) for role, result in sides.items()}
        columns = [f"<div><h3>{role.capitalize()}</h3>{answer_page(result)}</div>" for role, result in sides.items()]
        return data, f'<div class="ser-columns">{"".join(columns)}</div>'

    def shown() -> tuple[Any, Any]:
        served = service.challenger is not None
        return gr.Markdown(visible=not served), gr.Column(visible=served)

    served = service.challenger is not None
    note = gr.Markdown(
        f"{NONE_SERVED}\n\nA *challenger* is a newly trained model that has not replaced the *champion* yet. "
        "Start the server with `--challenger FOLDER` to hear what both say of the same recording.",
        visible=not served,
    )
    with gr.Column(visible=served) as both:
        recording = recording_input()
        button = gr.Button("Compare", variant="primary")
        example = example_buttons(service.bundle, recording)
        page = gr.HTML(EMPTY.format("Both answers appear here, side by side."), elem_id="compare-answer")
        data = gr.JSON(visible=False)
    answer_on(compare, button=button, recording=recording, example=example, data=data, page=page, api_name="compare")
    when_opened(shown, outputs=[note, both])
