"""The tab Generate: new speech-like sound with an emotion, shown while it is denoised."""

from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import gradio as gr

from serve.answers import MAX_COUNT, MAX_GUIDANCE, MAX_INTENSITY, GeneratedClip, GenerationRequest
from serve.bundle import Diffusion
from serve.demo_classify import EMPTY
from serve.demo_clips import cards_page, clip_card, clip_data, keep_sound
from serve.demo_errors import plain_words
from serve.demo_run import REPORTED, pages_and_clips, run_on_click
from serve.jobs import Jobs
from serve.service import Service

NO_DIFFUSION = "This server's bundle has no diffusion model: it classifies only."
SEED_BITS = 32


def generate_tab(service: Service) -> None:
    """Build the tab; its endpoint is /generate."""
    jobs = Jobs()

    async def generate(
        session: gr.Request,
        emotion: str,
        intensity: float = 1.0,
        seed: int = 0,
        count: int = 1,
        steps: int | None = None,
        guidance: float | None = None,
        progress: gr.Progress = REPORTED,
    ) -> AsyncIterator[tuple[Any, Any, str]]:
        """New clips. Returns what the classifier takes each for, the WAV files, and the page's HTML."""
        cards, data, files = [], [], []
        with plain_words():
            request = GenerationRequest(
                emotion=emotion, intensity=intensity, seed=seed, count=count, steps=steps, guidance_scale=guidance
            )
            events = service.generate(request)
            front_end = service.bundle.manifest.front_end
            run = pages_and_clips(events, jobs=jobs, session=session, progress=progress, front_end=front_end)
            async with aclosing(run) as running:
                async for made in running:
                    if isinstance(made, str):
                        yield gr.skip(), gr.skip(), made
                        continue
                    name = f"{made.emotion}-{request.seed}-{made.number + 1}"
                    path = keep_sound(made.waveform, sample_rate_hz=made.sample_rate_hz, name=name)
                    cards.append(clip_card(made, path, title=_title(made)))
                    data.append(clip_data(made))
                    files.append(path)
        if data:
            yield {"clips": data}, files, cards_page(cards)

    diffusion = service.bundle.manifest.diffusion
    if diffusion is None:
        gr.Markdown(NO_DIFFUSION)
    with gr.Row(visible=diffusion is not None):
        with gr.Column(scale=2, min_width=300):
            emotion = gr.Radio(list(service.labels), value=service.labels[0], label="Emotion")
            intensity = gr.Slider(0.0, MAX_INTENSITY, 1.0, step=0.1, label="Intensity", info="1 is as in training.")
            count = gr.Slider(1, MAX_COUNT, 2, step=1, label="Clips", precision=0)
            seed = seed_input()
            steps, guidance = sampling_inputs(diffusion)
            with gr.Row():
                button = gr.Button("Generate", variant="primary", elem_id="generate-button", min_width=120)
                stop = gr.Button("Cancel", variant="stop", interactive=False, elem_id="cancel-button", min_width=80)
        with gr.Column(scale=3, min_width=300):
            page = gr.HTML(EMPTY.format("What the model makes appears here, step by step."), elem_id="generate-answer")
            files = gr.Files(visible=False)
            data = gr.JSON(visible=False)
    inputs = [emotion, intensity, seed, count, steps, guidance]
    run_on_click(button, stop, jobs, generate, api_name="generate", inputs=inputs, outputs=[data, files, page])


def seed_input() -> gr.Number:
    """The seed, and a button for another one."""
    with gr.Row(elem_classes="ser-seed"):
        seed = gr.Number(0, label="Seed", info="The same seed gives the same sound.", precision=0, minimum=0, scale=3)
        other = gr.Button("Another", size="sm", min_width=80, scale=1)
    other.click(None, outputs=seed, js=f"() => Math.floor(Math.random() * 2 ** {SEED_BITS})")
    return seed


def sampling_inputs(diffusion: Diffusion | None) -> tuple[gr.Slider, gr.Slider]:
    """Steps and guidance, folded away: the model's own are good."""
    most, usual, scale = 2, 1, 1.0
    if diffusion is not None:
        most, scale = len(diffusion.sigmas), diffusion.guidance_scale
        usual = min(diffusion.steps, most)
    with gr.Accordion("Sampling", open=False):
        steps = gr.Slider(1, most, usual, step=1, label="Steps", info="More are slower and cleaner.", precision=0)
        guidance = gr.Slider(
            0.0, MAX_GUIDANCE, scale, step=0.1, label="Guidance", info="1 is none; more is more typical, less varied."
        )
    return steps, guidance


def _title(clip: GeneratedClip) -> str:
    """What a card is called."""
    return f"{clip.emotion.capitalize()}, clip {clip.number + 1}"
