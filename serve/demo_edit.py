"""The tab Edit: a recording moved towards another emotion, before and after."""

from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import gradio as gr

from serve.answers import Classification, EditRequest, GeneratedClip
from serve.classifier import Waveform
from serve.demo_answer import verdict
from serve.demo_classify import EMPTY, example_buttons, recording_input
from serve.demo_clips import cards_page, clip_card, clip_data, keep_sound, player
from serve.demo_errors import plain_words
from serve.demo_files import read_recording
from serve.demo_generate import NO_DIFFUSION, sampling_inputs, seed_input
from serve.demo_run import REPORTED, pages_and_clips, run_on_click
from serve.jobs import Jobs
from serve.pictures import bars_picture, log_mel_picture
from serve.service import Service


def edit_tab(service: Service) -> None:
    """Build the tab; its endpoint is /edit."""
    jobs = Jobs()

    async def edit(
        session: gr.Request,
        recording: str | None,
        emotion: str,
        strength: float = 0.5,
        seed: int = 0,
        steps: int | None = None,
        guidance: float | None = None,
        progress: gr.Progress = REPORTED,
    ) -> AsyncIterator[tuple[Any, Any, str]]:
        """Move a recording towards an emotion. Returns the verdict before and after, the WAV, and the page's HTML."""
        with plain_words():
            request = EditRequest(emotion=emotion, strength=strength, seed=seed, steps=steps, guidance_scale=guidance)
            content = await read_recording(recording, max_bytes=service.settings.max_body_bytes)
            waveform = await service.decode(content)
            before = await service.classify_waveform(waveform)
            events = service.edit(waveform, request)
            front_end = before.bundle.manifest.front_end
            run = pages_and_clips(events, jobs=jobs, session=session, progress=progress, front_end=front_end)
            async with aclosing(run) as running:
                async for made in running:
                    if isinstance(made, str):
                        yield gr.skip(), gr.skip(), made
                        continue
                    path = keep_sound(made.waveform, sample_rate_hz=made.sample_rate_hz, name=f"edited-{emotion}")
                    cards = [before_card(waveform, before), _after_card(made, path)]
                    yield _data(before, made), path, cards_page(cards)

    diffusion = service.bundle.manifest.diffusion
    if diffusion is None:
        gr.Markdown(NO_DIFFUSION)
    with gr.Row(visible=diffusion is not None):
        with gr.Column(scale=2, min_width=300):
            recording = recording_input()
            example_buttons(service.bundle, recording)
            emotion = gr.Radio(list(service.labels), value=service.labels[0], label="Towards")
            strength = gr.Slider(
                0.05, 1.0, 0.5, step=0.05, label="Strength", info="How much is made anew; 1 keeps nothing."
            )
            seed = seed_input()
            steps, guidance = sampling_inputs(diffusion)
            with gr.Row():
                button = gr.Button("Edit", variant="primary", min_width=120)
                stop = gr.Button("Cancel", variant="stop", interactive=False, min_width=80)
        with gr.Column(scale=3, min_width=300):
            page = gr.HTML(EMPTY.format("Before and after appear here."), elem_id="edit-answer")
            file = gr.File(visible=False)
            data = gr.JSON(visible=False)
    inputs = [recording, emotion, strength, seed, steps, guidance]
    run_on_click(button, stop, jobs, edit, api_name="edit", inputs=inputs, outputs=[data, file, page])


def before_card(waveform: Waveform, result: Classification) -> str:
    """The recording as it came."""
    front_end = result.bundle.manifest.front_end
    path = keep_sound(waveform, sample_rate_hz=front_end.sample_rate_hz, name="before")
    return (
        f'<section class="ser-card"><h3>Before</h3>{player(path, label="before")}{verdict(result)}'
        f"{bars_picture(result)}{log_mel_picture(result.log_mel, front_end, title='Log-mel')}</section>"
    )


def _after_card(clip: GeneratedClip, path: str) -> str:
    """The recording as it became."""
    return clip_card(clip, path, title=f"After, towards {clip.emotion}")


def _data(before: Classification, after: GeneratedClip) -> dict[str, Any]:
    """What a client reads."""
    return {
        "before": {"emotion": before.emotion, "probabilities": before.by_label()},
        "after": clip_data(after),
    }
