"""Pictures: what they show is where it should be, in the emotion's colour, and said in words too."""

import base64
import io
import re

import matplotlib
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from sermodels.config import FrontEndConfig
from sermodels.emotions import COLOURS, COMMON_EMOTIONS
from sermodels.mel import mel_centres_hz
from serve.answers import Classification, Window
from serve.bundle import Bundle, Manifest
from serve.pictures import (
    MAX_COLUMNS,
    bars_picture,
    log_mel_picture,
    log_mel_png,
    palette,
    percent,
    summary,
    time_ticks,
    timeline_picture,
    window_edges,
)

CONFIG = FrontEndConfig()
RNG = np.random.default_rng(0)


def noise(frames: int, mels: int = 80) -> NDArray[np.float32]:
    return RNG.normal(-40.0, 15.0, (mels, frames)).astype(np.float32)


def cells(png: bytes) -> NDArray[np.uint8]:
    """The palette's numbers, low frequencies first."""
    return np.asarray(Image.open(io.BytesIO(png)))[::-1]


def classification(*probabilities: float) -> Classification:
    values = np.array(probabilities, dtype=np.float32)
    manifest = Manifest.model_construct(labels=COMMON_EMOTIONS)
    bundle = Bundle.model_construct(manifest=manifest)
    return Classification(bundle, values, noise(10), duration_s=1.0)


def windows(*rows: tuple[float, float, int, bool]) -> list[Window]:
    """Windows from start, end, the number of the certain emotion and whether it is quiet."""
    return [Window(start, end, np.eye(6, dtype=np.float32)[number], quiet) for start, end, number, quiet in rows]


def test_the_palette_is_matplotlib_s_magma() -> None:
    theirs = 255 * matplotlib.colormaps["magma"](np.arange(256))[:, :3]
    assert np.abs(palette() - theirs).max() < 3.0


def test_a_log_mel_has_a_pixel_a_cell_and_80_db() -> None:
    log_mel = np.full((80, 30), -120.0, dtype=np.float32)
    log_mel[3, 7], log_mel[4, 7] = -10.0, -50.0
    drawn = cells(log_mel_png(log_mel, top_db=80.0))
    assert drawn.shape == log_mel.shape
    assert (drawn[3, 7], drawn[4, 7], drawn[0, 0]) == (255, 128, 0)


@pytest.mark.parametrize("frames", [1, MAX_COLUMNS, MAX_COLUMNS + 1, 10 * MAX_COLUMNS + 3])
def test_a_long_log_mel_keeps_its_loudest_cells(frames: int) -> None:
    log_mel = np.full((80, frames), -120.0, dtype=np.float32)
    log_mel[5, frames - 1] = 0.0
    drawn = cells(log_mel_png(log_mel, top_db=80.0))
    assert drawn.shape[1] <= MAX_COLUMNS
    assert drawn[5, -1] == 255


def test_silence_is_one_colour() -> None:
    assert len(np.unique(cells(log_mel_png(np.full((80, 20), -100.0, dtype=np.float32), top_db=80.0)))) == 1


def test_a_log_mel_has_axes_of_seconds_and_kilohertz() -> None:
    html = log_mel_picture(noise(260), CONFIG, title="A clip")
    duration_s = 260 * CONFIG.hop_length / CONFIG.sample_rate_hz
    upright = re.findall(r'<span style="bottom:([\d.]+)%">([\d.]+)</span>', html)
    assert [label for _, label in upright] == ["0.5", "1", "2", "4", "8"]
    for place, label in upright:
        hz = np.interp(float(place) / 100 * 80 - 0.5, np.arange(80), mel_centres_hz(CONFIG))
        assert hz == pytest.approx(1000 * float(label), rel=0.01)
    across = re.findall(r'<span style="left:([\d.]+)%">([\d.]+)</span>', html)
    assert [label for _, label in across] == ["0", "0.5", "1", "1.5", "2", "2.5"]
    for place, label in across:
        assert float(place) / 100 * duration_s == pytest.approx(float(label), abs=0.001)
    assert 'alt="A clip: level by frequency, 0 to 11.025 kHz, over 3.0 s"' in html
    assert "A clip, kHz" in html


def test_a_picture_asks_for_nothing_elsewhere_and_escapes_its_title() -> None:
    html = log_mel_picture(noise(20), CONFIG, title="<b>&")
    (source,) = re.findall(r'src="([^"]*)"', html)
    kind, content = source.split(",")
    assert kind == "data:image/png;base64"
    assert cells(base64.b64decode(content)).shape == (80, 20)
    assert "<b>&" not in html


def test_frequencies_out_of_the_band_have_no_tick() -> None:
    config = FrontEndConfig(f_min_hz=600.0, f_max_hz=3_000.0)
    html = log_mel_picture(noise(20), config, title="Narrow")
    assert re.findall(r'<span style="bottom:[\d.]+%">([\d.]+)</span>', html) == ["1", "2"]


def test_bars_have_the_length_and_colour_of_their_emotion() -> None:
    html = bars_picture(classification(0.5, 0.25, 0.125, 0.122, 0.002, 0.001))
    bars = re.findall(r"<span>(\w+)</span>.*?width:([\d.]+)%;background:(#\w+).*?<span>(.*?)</span>", html)
    assert [(name, colour) for name, _, colour, _ in bars] == [(name, COLOURS[name]) for name in COMMON_EMOTIONS]
    assert [float(width) for _, width, _, _ in bars] == [50.0, 25.0, 12.5, 12.2, 0.2, 0.1]
    assert [share for *_, share in bars] == [percent(value) for value in (0.5, 0.25, 0.125, 0.122, 0.002, 0.001)]
    assert re.findall(r'class="ser-first"><span>(\w+)', html) == ["anger"]


@pytest.mark.parametrize(
    ("share", "text"), [(0.0, "&lt;1&nbsp;%"), (0.004, "&lt;1&nbsp;%"), (0.006, "1&nbsp;%"), (1.0, "100&nbsp;%")]
)
def test_a_percentage_is_whole(share: float, text: str) -> None:
    assert percent(share) == text


def area(path: str) -> float:
    """Area of a path, by the shoelace formula."""
    points = np.array([[float(number) for number in point.split()] for point in path.strip("MZ").split("L")])
    x, y = points.T
    return float(abs(np.dot(x, np.roll(y, 1)) - np.dot(y, np.roll(x, 1))) / 2)


def test_a_timeline_s_areas_are_the_probabilities_times_their_stretches() -> None:
    shares = RNG.dirichlet(np.ones(6), size=3).astype(np.float32)
    row = [Window(start, start + 5.0, share, False) for start, share in zip((0.0, 2.5, 4.0), shares, strict=True)]
    html = timeline_picture(row, COMMON_EMOTIONS, duration_s=9.0)
    drawn = {colour: area(path) for path, colour in re.findall(r'<path d="([^"]*)" fill="(#\w+)"', html)}
    stretches_s = np.array([3.75, 2.0, 3.25])
    for number, label in enumerate(COMMON_EMOTIONS):
        assert drawn[COLOURS[label]] == pytest.approx(float(shares[:, number] @ stretches_s), abs=0.01)
    assert sum(drawn.values()) == pytest.approx(9.0, abs=0.05)
    assert "<rect" not in html
    assert "quiet" not in re.sub(r'class="ser-quiet"', "", html)


def test_quiet_stretches_are_marked_and_said() -> None:
    row = windows((0.0, 5.0, 0, False), (2.5, 7.5, 5, True), (5.0, 10.0, 0, False))
    html = timeline_picture(row, COMMON_EMOTIONS, duration_s=10.0)
    assert re.findall(r'<rect x="([\d.]+)" y="0" width="([\d.]+)"', html) == [("3.75", "2.50")]
    assert "0 to 4 s anger, 4 to 6 s quiet, 6 to 10 s anger" in html
    assert "pale: quiet" in html


def test_a_summary_joins_what_is_alike() -> None:
    row = windows((0.0, 5.0, 0, False), (2.5, 7.5, 0, False), (5.0, 10.0, 5, False))
    edges_s = window_edges(row, duration_s=10.0)
    assert edges_s == [0.0, 3.75, 6.25, 10.0]
    assert summary(row, COMMON_EMOTIONS, edges_s) == "0 to 6 s anger, 6 to 10 s sadness"


@given(st.floats(0.01, 4000.0))
def test_ticks_are_few_and_leave_room_for_the_unit(duration_s: float) -> None:
    ticks = time_ticks(duration_s)
    assert ticks[0] == 0.0
    assert len(ticks) <= 8
    assert ticks[-1] < duration_s
    assert ticks == sorted(set(ticks))


def test_long_times_are_minutes() -> None:
    row = windows((0.0, 150.0, 0, False), (150.0, 300.0, 1, False))
    html = timeline_picture(row, COMMON_EMOTIONS, duration_s=300.0)
    assert re.findall(r"left:[\d.]+%\">([\d:]+)<", html) == ["0:00", "1:00", "2:00", "3:00", "4:00"]
    assert "<b>min</b>" in html
