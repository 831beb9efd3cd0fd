"""The tab Classify: a recording, and which emotion it sounds like."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.blocks import Block
from gradio.components import Component

from serve.answers import MAX_KNOWN
from serve.bundle import Bundle
from serve.demo_answer import answer_data, answer_page
from serve.demo_errors import plain_words
from serve.demo_files import NOT_HERE, keep, private_file, read_recording
from serve.errors import InputError
from serve.service import Service

KNOWN = "The answer is better with some, in several moods: what is heard in all of them is the voice, and no emotion."
EMPTY = '<p class="ser-empty">{}</p>'


class _UploadsAlone(Block):
    """Takes uploads alone. Gradio would copy a file of the server, or fetch an address, were it not told.

    It is the second base of an input: what Gradio calls a template is known by the name of the first one.
    """

    is_template = True

    async def async_move_resource_to_block_cache(self, url_or_file_path: str | Path | None) -> str | None:
        """Refuse what does not lie where uploads do."""
        if url_or_file_path is not None and private_file(str(url_or_file_path)) is None:
            raise gr.Error(NOT_HERE, print_exception=False)
        path: str | None = await super().async_move_resource_to_block_cache(url_or_file_path)
        return path


class RecordingInput(gr.Audio, _UploadsAlone):
    """One recording."""


class RecordingsInput(gr.File, _UploadsAlone):
    """Several recordings."""


def recording_input() -> RecordingInput:
    """Upload or microphone."""
    return RecordingInput(
        sources=["upload", "microphone"],
        type="filepath",
        label="Recording",
        buttons=[],
        waveform_options=gr.WaveformOptions(waveform_color="#8a94a6", waveform_progress_color="#d9730d"),
    )


def known_input() -> RecordingsInput:
    """Uploads of what else a speaker said."""
    with gr.Accordion("Other recordings of this speaker", open=False, elem_id="known"):
        gr.HTML(f'<p class="ser-label">{KNOWN}</p>')
        return RecordingsInput(file_count="multiple", label="Other recordings", height=140)


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
    more: Sequence[Component] = (),
) -> None:
    """Call `handler` when the button is pressed, and as soon as there is a new recording; it gets `more` too."""
    triggers = [button.click, recording.upload, recording.stop_recording]
    wiring: dict[str, Any] = {"inputs": [recording, *more], "outputs": [data, page], "show_progress_on": page}
    gr.on(triggers, handler, api_name=api_name, **wiring)
    if example is not None:
        example.then(handler, api_visibility="private", **wiring)


def classify_tab(service: Service) -> None:
    """Build the tab; its endpoint is /classify."""

    async def classify(recording: str | None, known: list[str] | None = None) -> tuple[dict[str, Any], str]:
        """The emotion of a recording, where it may be known what else its speaker said.

        Returns the same answer as POST /v1/classify, and the page's HTML.
        """
        with plain_words():
            largest = service.settings.max_body_bytes
            content = await read_recording(recording, max_bytes=largest)
            if len(known or ()) > MAX_KNOWN:
                raise InputError(f"These are {len(known or ())} other recordings; at most {MAX_KNOWN} are used.")
            others = [await read_recording(path, max_bytes=largest) for path in known or ()]
            result = await service.classify(content, known=others)
        service.answered(result)
        return answer_data(result), answer_page(result)

    with gr.Row():
        with gr.Column(scale=2, min_width=300):
            recording = recording_input()
            button = gr.Button("Classify", variant="primary", elem_id="classify-button")
            example = example_buttons(service.bundle, recording)
            known = known_input()
        with gr.Column(scale=3, min_width=300):
            page = gr.HTML(
                EMPTY.format("Record a voice, upload a file or click an example: the answer appears here."),
                elem_id="classify-answer",
            )
            data = gr.JSON(visible=False)
    answer_on(
        classify,
        button=button,
        recording=recording,
        example=example,
        data=data,
        page=page,
        api_name="classify",
        more=[known],
    )
