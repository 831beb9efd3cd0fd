"""The tab Classify: a recording, and which emotion it sounds like."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import gradio as gr

from serve.bundle import Bundle
from serve.demo_answer import answer_data, answer_page
from serve.demo_errors import plain_words
from serve.demo_files import NOT_HERE, keep, private_file, read_recording
from serve.service import Service

EMPTY = '<p class="ser-empty">{}</p>'


class RecordingInput(gr.Audio):
    """Takes uploads alone. Gradio would copy a file of the server, were it not told to check, and fetch an address."""

    is_template = True

    async def async_move_resource_to_block_cache(self, url_or_file_path: str | Path | None) -> str | None:
        """Refuse what does not lie where uploads do."""
        if url_or_file_path is not None and private_file(str(url_or_file_path)) is None:
            raise gr.Error(NOT_HERE, print_exception=False)
        path: str | None = await super().async_move_resource_to_block_cache(url_or_file_path)
        return path


def recording_input() -> RecordingInput:
    """Upload or microphone."""
    return RecordingInput(
        sources=["upload", "microphone"],
        type="filepath",
        label="Recording",
        buttons=[],
        waveform_options=gr.WaveformOptions(waveform_color="#8a94a6", waveform_progress_color="#d9730d"),
    )


def example_buttons(bundle: Bundle, recording: gr.Audio) -> Any:
    """A button for each of the bundle's recordings; clicking one fills `recording`. Returns the event, if any.

    The recordings are read now: the bundle's folder may go when another bundle is served.
    """
    if not bundle.examples():
        return None
    gr.HTML('<p class="ser-label">Examples</p>')
    with gr.Row(elem_classes="ser-examples"):
        recordings: dict[Any, tuple[bytes, str]] = {
            gr.Button(example_name(path), size="sm", min_width=60): (path.read_bytes(), path.name)
            for path in bundle.examples()
        }

    def fill(event: gr.EventData) -> str:
        return keep(*recordings[event.target])

    clicks = [button.click for button in recordings]
    return gr.on(clicks, fill, outputs=recording, show_progress="hidden", api_visibility="private")


def example_name(path: Path) -> str:
    """What a button says."""
    return path.stem.replace("_", " ").replace("-", " ")


def answer_on(
    handler: Callable[..., Any],
    *,
    button: gr.Button,
    recording: gr.Audio,
    example: Any,
    data: gr.JSON,
    page: gr.HTML,
    api_name: str,
) -> None:
    """Call `handler` when the button is pressed, and as soon as there is a new recording."""
    triggers = [button.click, recording.upload, recording.stop_recording]
    wiring: dict[str, Any] = {"inputs": recording, "outputs": [data, page], "show_progress_on": page}
    gr.on(triggers, handler, api_name=api_name, **wiring)
    if example is not None:
        example.then(handler, api_visibility="private", **wiring)


def classify_tab(service: Service) -> None:
    """Build the tab; its endpoint is /classify."""

    async def classify(recording: str | None) -> tuple[dict[str, Any], str]:
        """The emotion of a recording. Returns the same answer as POST /v1/classify, and the page's HTML."""
        with plain_words():
            content = await read_recording(recording, max_bytes=service.settings.max_body_bytes)
            result = await service.classify(content)
        service.answered(result)
        return answer_data(result), answer_page(result)

    with gr.Row():
        with gr.Column(scale=2, min_width=300):
            recording = recording_input()
            button = gr.Button("Classify", variant="primary", elem_id="classify-button")
            example = example_buttons(service.bundle, recording)
        with gr.Column(scale=3, min_width=300):
            page = gr.HTML(
                EMPTY.format("Record a voice, upload a file or click an example: the answer appears here."),
                elem_id="classify-answer",
            )
            data = gr.JSON(visible=False)
    answer_on(classify, button=button, recording=recording, example=example, data=data, page=page, api_name="classify")
