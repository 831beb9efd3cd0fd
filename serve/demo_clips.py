"""Clips that a model made: progress while it denoises, then sound, picture and verdict of each."""

from html import escape
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sermodels.config import FrontEndConfig
from serve.answers import GeneratedClip, Progress
from serve.demo_answer import verdict
from serve.demo_files import address, keep
from serve.pictures import bars_picture, log_mel_picture
from serve.wav import wav_bytes

UPDATES = 8
"""Pictures that a run shows on its way, whatever its number of steps."""


def is_shown(progress: Progress) -> bool:
    """Whether this step is drawn."""
    return progress.step % max(1, progress.steps // UPDATES) == 0 or progress.step == progress.steps


def progress_page(progress: Progress, front_end: FrontEndConfig) -> str:
    """The bar, and what the model sees so far."""
    cards = [
        f'<section class="ser-card">{log_mel_picture(log_mel, front_end, title=f"Clip {number}")}</section>'
        for number, log_mel in enumerate(progress.log_mel, 1)
    ]
    return (
        f'<label class="ser-progress">Step {progress.step} of {progress.steps}'
        f'<progress value="{progress.step}" max="{progress.steps}"></progress></label>{cards_page(cards)}'
    )


def cards_page(cards: list[str]) -> str:
    """Cards beside each other where there is room."""
    return f'<div class="ser-cards">{"".join(cards)}</div>'


def keep_sound(waveform: NDArray[np.float32], *, sample_rate_hz: int, name: str) -> str:
    """Write a waveform where the page may fetch it; returns the path."""
    return keep(wav_bytes(waveform, sample_rate_hz), f"{name}.wav")


def player(path: str, *, label: str) -> str:
    """The browser's own player, which works by keyboard and on a phone, and the file."""
    source, heard = escape(address(path)), escape(label)
    return (
        f'<audio controls preload="metadata" src="{source}" aria-label="Play {heard}"></audio>'
        f'<a class="ser-file" href="{source}" download="{escape(Path(path).name)}" aria-label="Download {heard}">'
        "Download WAV</a>"
    )


def clip_card(clip: GeneratedClip, path: str, *, title: str) -> str:
    """One clip: sound, what the classifier takes it for, and its log-mel."""
    front_end = clip.verdict.bundle.manifest.front_end
    return (
        f'<section class="ser-card"><h3>{escape(title)}</h3>{player(path, label=title)}{verdict(clip.verdict)}'
        f"{bars_picture(clip.verdict)}{log_mel_picture(clip.log_mel, front_end, title='Log-mel')}</section>"
    )


def clip_data(clip: GeneratedClip) -> dict[str, Any]:
    """What a client reads of a clip; its sound is a file beside this."""
    return {
        "emotion": clip.emotion,
        "number": clip.number,
        "sample_rate_hz": clip.sample_rate_hz,
        "duration_s": len(clip.waveform) / clip.sample_rate_hz,
        "verdict": {"emotion": clip.verdict.emotion, "probabilities": clip.verdict.by_label()},
    }
