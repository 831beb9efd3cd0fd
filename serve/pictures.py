"""Pictures as HTML: probability bars, log-mel with axes, timeline. Text keeps its size and the page's colours.

A drawn picture would have one text colour for light and dark, and shrink with its text on a phone.
"""

import base64
import io
from collections.abc import Iterable, Sequence
from html import escape
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sermodels.config import FrontEndConfig
from sermodels.emotions import COLOURS
from sermodels.mel import mel_centres_hz
from serve.answers import Classification, Window

MAX_COLUMNS = 1600
"""Pixels across; longer log-mels show the loudest of several frames."""
_TICK_HZ = (500.0, 1000.0, 2000.0, 4000.0, 8000.0)
_TICK_STEPS_S = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0)
_MAX_TICKS = 7
_LAST_TICK = 0.93
_MINUTES_FROM_S = 120.0
_PERCENT_SHOWN = 0.005
_MAGMA = (
    "000004 0a0822 1d1147 36106b 51127c 6a1c81 832681 9c2e7f b73779 cf4070 e55064 f4695c fb8761 fea571 fec287 fde0a1 "
    "fcfdbf"
)
"""The colour map magma of matplotlib at 17 even places; straight lines between them err by 2.3 of 255 at most."""


def palette() -> NDArray[np.uint8]:
    """The colour map, (256, 3)."""
    anchors = np.array([list(bytes.fromhex(colour)) for colour in _MAGMA.split()])
    places = np.linspace(0, 255, len(anchors)).round()
    channels = [np.interp(np.arange(256), places, channel) for channel in anchors.T]
    return np.stack(channels, axis=1).round().astype(np.uint8)


def log_mel_png(log_mel: NDArray[np.floating], *, top_db: float) -> bytes:
    """A log-mel (mel, frame) in dB as PNG, one pixel a cell, low frequencies at the bottom.

    What lies `top_db` below the loudest cell is black.
    """
    group = max(1, -(-log_mel.shape[1] // MAX_COLUMNS))
    columns = np.arange(0, log_mel.shape[1], group)
    level_db = np.maximum.reduceat(np.asarray(log_mel, dtype=np.float32), columns, axis=1)
    share = (level_db - level_db.max()) / top_db + 1.0
    pixels = (np.clip(share[::-1], 0.0, 1.0) * 255.0).round().astype(np.uint8)
    image = Image.frombytes("P", (pixels.shape[1], pixels.shape[0]), pixels.tobytes())
    image.putpalette(palette().tobytes())
    buffer = io.BytesIO()
    image.save(buffer, format="PNG", optimize=True)
    return buffer.getvalue()


def log_mel_picture(log_mel: NDArray[np.floating], front_end: FrontEndConfig, *, title: str) -> str:
    """A log-mel (mel, frame) in dB with axes of seconds and kilohertz."""
    duration_s = log_mel.shape[1] * front_end.hop_length / front_end.sample_rate_hz
    source = base64.b64encode(log_mel_png(log_mel, top_db=front_end.top_db)).decode("ascii")
    heard = f"{title}: level by frequency, {front_end.f_min_hz / 1000:g} to {front_end.f_max_hz / 1000:g} kHz, over"
    return (
        f'<figure class="ser-plot"><figcaption>{escape(title)}, kHz</figcaption>'
        f'<div class="ser-axis-y">{_frequency_ticks(front_end)}</div>'
        f'<div class="ser-pane"><img src="data:image/png;base64,{source}" alt="{escape(heard)} {duration_s:.1f} s">'
        f"</div>{_time_axis(duration_s)}</figure>"
    )


def bars_picture(result: Classification) -> str:
    """The probability of each emotion as a bar in its colour; the most probable one stands out."""
    rows = [
        f'<li class="{"ser-first" if label == result.emotion else ""}"><span>{escape(label)}</span>'
        f'<i aria-hidden="true"><i style="width:{100 * value:.1f}%;background:{COLOURS[label]}"></i></i>'
        f"<span>{percent(value)}</span></li>"
        for label, value in result.by_label().items()
    ]
    return f'<ul class="ser-bars" aria-label="Probability of each emotion">{"".join(rows)}</ul>'


def timeline_picture(windows: Sequence[Window], labels: Sequence[str], *, duration_s: float) -> str:
    """Stacked probabilities over the time of a long recording; quiet stretches are pale."""
    edges_s = window_edges(windows, duration_s=duration_s)
    shares = np.stack([window.probabilities for window in windows])
    tops = np.hstack([np.zeros((len(windows), 1)), np.cumsum(shares, axis=1)])
    areas = [
        f'<path d="{_area(edges_s, tops[:, number], tops[:, number + 1])}" fill="{COLOURS[label]}"/>'
        for number, label in enumerate(labels)
    ]
    quiet = [
        f'<rect x="{start:.2f}" y="0" width="{end - start:.2f}" height="1"/>'
        for start, end, window in zip(edges_s, edges_s[1:], windows, strict=False)
        if window.quiet
    ]
    heard = f"Probability of each emotion over {duration_s:.0f} s: {summary(windows, labels, edges_s)}"
    return (
        '<figure class="ser-plot ser-timeline"><figcaption>Over time</figcaption>'
        '<div class="ser-axis-y"><span style="bottom:100%">100&nbsp;%</span><span style="bottom:50%">50</span>'
        '<span style="bottom:0">0</span></div>'
        f'<div class="ser-pane"><svg role="img" aria-label="{escape(heard)}" viewBox="0 0 {duration_s:.2f} 1" '
        'preserveAspectRatio="none" shape-rendering="crispEdges">'
        f'{"".join(areas)}<g class="ser-quiet">{"".join(quiet)}</g></svg></div>'
        f"{_time_axis(duration_s)}{_legend(labels, with_quiet=bool(quiet))}</figure>"
    )


def window_edges(windows: Sequence[Window], *, duration_s: float) -> list[float]:
    """Where one window's stretch of the picture ends and the next one's begins: half-way through their overlap."""
    between = [(before.end_s + after.start_s) / 2 for before, after in pairwise(windows)]
    return [0.0, *between, duration_s]


def summary(windows: Sequence[Window], labels: Sequence[str], edges_s: Sequence[float]) -> str:
    """The timeline in words, such as "0 to 8 s anger, 8 to 12 s sadness"."""
    stretches: list[tuple[str, float, float]] = []
    for window, start_s, end_s in zip(windows, edges_s, edges_s[1:], strict=False):
        name = "quiet" if window.quiet else labels[int(window.probabilities.argmax())]
        if stretches and stretches[-1][0] == name:
            start_s = stretches.pop()[1]
        stretches.append((name, start_s, end_s))
    return ", ".join(f"{start_s:.0f} to {end_s:.0f} s {name}" for name, start_s, end_s in stretches)


def percent(share: float) -> str:
    """A share as a whole percentage."""
    return f"{100 * share:.0f}&nbsp;%" if share >= _PERCENT_SHOWN else "&lt;1&nbsp;%"


def dot(emotion: str) -> str:
    """A spot of the emotion's colour."""
    return f'<i class="ser-dot" style="background:{COLOURS[emotion]}" aria-hidden="true"></i>'


def time_ticks(duration_s: float) -> list[float]:
    """Round times from 0 on, seven at most, and none at the end: the unit stands there."""
    step_s = next((step for step in _TICK_STEPS_S if duration_s / step <= _MAX_TICKS), duration_s)
    return [float(tick) for tick in np.arange(0.0, _LAST_TICK * duration_s, step_s)] or [0.0]


def _time_axis(duration_s: float) -> str:
    """Ticks below a picture, and the unit."""
    in_minutes = duration_s >= _MINUTES_FROM_S
    ticks = [
        f'<span style="left:{100 * tick / max(duration_s, 1e-9):.2f}%">{_time(tick, in_minutes=in_minutes)}</span>'
        for tick in time_ticks(duration_s)
    ]
    return f'<div class="ser-axis-x">{"".join(ticks)}<b>{"min" if in_minutes else "s"}</b></div>'


def _time(time_s: float, *, in_minutes: bool) -> str:
    """A time as a tick has it."""
    return f"{int(time_s) // 60}:{int(time_s) % 60:02d}" if in_minutes else f"{time_s:.4g}"


def _frequency_ticks(front_end: FrontEndConfig) -> str:
    """Ticks beside a log-mel, each at the middle of its band."""
    shown_hz = [hz for hz in _TICK_HZ if front_end.f_min_hz <= hz <= front_end.f_max_hz]
    places = np.interp(shown_hz, mel_centres_hz(front_end), np.arange(front_end.n_mels) + 0.5) / front_end.n_mels
    return "".join(
        f'<span style="bottom:{100 * place:.2f}%">{hz / 1000:g}</span>'
        for hz, place in zip(shown_hz, places, strict=True)
    )


def _area(edges_s: Sequence[float], bottom: NDArray[np.floating], top: NDArray[np.floating]) -> str:
    """The path of one emotion's stacked steps; the picture's y axis points down."""
    there = [(x, 1.0 - y) for left, right, y in zip(edges_s, edges_s[1:], top, strict=False) for x in (left, right)]
    back = [(x, 1.0 - y) for left, right, y in zip(edges_s, edges_s[1:], bottom, strict=False) for x in (left, right)]
    return f"M{_points(there)}L{_points(reversed(back))}Z"


def _points(points: Iterable[tuple[float, float]]) -> str:
    """Points as a path has them."""
    return "L".join(f"{x:.2f} {y:.4f}" for x, y in points)


def _legend(labels: Sequence[str], *, with_quiet: bool) -> str:
    """The emotions' colours."""
    entries = [f"<span>{dot(label)}{escape(label)}</span>" for label in labels]
    quiet = ["<span>pale: quiet</span>"] if with_quiet else []
    return f'<div class="ser-legend" aria-hidden="true">{"".join([*entries, *quiet])}</div>'
