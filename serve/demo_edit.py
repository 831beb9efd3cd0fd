"""The tab Edit: a recording moved towards another emotion, before and after."""

from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import gradio as gr

from serve.answers import Classification, EditRequest, GeneratedClip, Progress
from serve.bundle import Bundle
from serve.demo_answer import verdict
from serve.demo_classify import EMPTY, example_buttons, recording_input
from serve.demo_clips import cards_page, clip_card, clip_data, is_shown, keep_sound, player, progress_page
from serve.demo_errors import plain_words
from serve.demo_files import read_recording
from serve.demo_generate import NO_DIFFUSION, REPORTED, cancellable, sampling_inputs, seed_input
from serve.pictures import bars_picture, log_mel_picture
from serve.service import Service, Waveform


def edit_tab(service: Service) -> None:
    """Build the tab; its endpoint is /edit."""
    front_end = service.bundle.manifest.front_end

    async def edit(
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
            async with aclosing(service.edit(content, request)) as events:
                async for event in events:
                    if isinstance(event, Progress):
                        progress((event.step, event.steps), desc="Denoising", unit="steps")
                        if is_shown(event):
                            yield gr.skip(), gr.skip(), progress_page(event, front_end)
                        continue
                    path = keep_sound(event.waveform, sample_rate_hz=event.sample_rate_hz, name=f"edited-{emotion}")
                    cards = [before_card(waveform, before, service.bundle), _after_card(event, path, service.bundle)]
                    yield _data(before, event), gr.File(path, visible=True), cards_page(cards)

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
            file = gr.File(label="WAV file", visible=False, interactive=False)
            data = gr.JSON(visible=False)
    run = button.click(
        edit,
        inputs=[recording, emotion, strength, seed, steps, guidance],
        outputs=[data, file, page],
        api_name="edit",
        show_progress="hidden",
    )
    cancellable(run, button, stop, page)


def before_card(waveform: Waveform, result: Classification, bundle: Bundle) -> str:
    """The recording as it came."""
    front_end = bundle.manifest.front_end
    path = keep_sound(waveform, sample_rate_hz=front_end.sample_rate_hz, name="before")
    return (
        f'<section class="ser-card"><h3>Before</h3>{player(path, label="before")}{verdict(result)}'
        f"{bars_picture(result)}{log_mel_picture(result.log_mel, front_end, title='Log-mel')}</section>"
    )


def _after_card(clip: GeneratedClip, path: str, bundle: Bundle) -> str:
    """The recording as it became."""
    return clip_card(clip, path, bundle.manifest.front_end, title=f"After, towards {clip.emotion}")


def _data(before: Classification, after: GeneratedClip) -> dict[str, Any]:
    """What a client reads."""
    return {
        "before": {"emotion": before.emotion, "probabilities": before.by_label()},
        "after": clip_data(after),
    }
