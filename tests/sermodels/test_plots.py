"""Pictures: each is a figure with what it should show, and its PNG is not blank."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import imread
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from sermodels.config import FrontEndConfig
from sermodels.emotions import ALL_EMOTIONS, COLOURS, COMMON_EMOTIONS
from sermodels.errors import StorageError
from sermodels.mel import mel_centres_hz
from sermodels.plots import (
    bar_picture,
    confusion_picture,
    curves,
    embedding_picture,
    interval_picture,
    log_mel_grid,
    save_figure,
)

CONFIG = FrontEndConfig()
RNG = np.random.default_rng(0)
LONG = "R = B, refitted, mean of 5 seeds, emodb, ravdess, speaker-dependent, for comparison: UAR 0.837"


def saved(figure: Figure, folder: Path) -> NDArray[np.float32]:
    """The pixels of the figure's PNG, shape (height, width, channel)."""
    save_figure(figure, folder / "pictures" / "picture.png")
    assert (folder / "pictures" / "picture.png").read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    pixels: NDArray[np.float32] = imread(folder / "pictures" / "picture.png")
    return pixels


def colours_in(pixels: NDArray[np.float32]) -> int:
    return len(np.unique(pixels.reshape(-1, pixels.shape[2]), axis=0))


def panels(figure: Figure) -> list[Axes]:
    return list(figure.axes)


def record(epoch: int, **values: float) -> dict[str, int | float]:
    return {"epoch": epoch, "learning_rate": 1e-3} | {key.replace("_", "/", 1): value for key, value in values.items()}


HISTORIES: dict[str, list[dict[str, int | float]]] = {
    "classifier": [
        record(epoch, train_loss=1 / (epoch + 1), train_accuracy=0.5, val_loss=0.6, val_uar=0.3, val_accuracy=0.4)
        for epoch in range(5)
    ],
    "one epoch": [record(0, train_loss=1.0, val_uar=0.3)],
    "loss alone": [record(epoch, train_loss=1.0 - epoch / 10) for epoch in range(3)],
}


@pytest.mark.parametrize(
    ("name", "count"), [("classifier", 3), ("one epoch", 2), ("loss alone", 1)], ids=list(HISTORIES)
)
def test_curves_have_a_panel_for_each_figure_of_the_history(tmp_path: Path, name: str, count: int) -> None:
    figure = curves(HISTORIES[name], "Training")
    assert len(panels(figure)) == count
    assert figure.get_suptitle() == "Training"
    drawn = {str(line.get_label()) for axes in panels(figure) for line in axes.lines}
    assert drawn == set(HISTORIES[name][0]) - {"epoch", "learning_rate"}
    for axes in panels(figure):
        for line in axes.lines:
            shown = [entry[str(line.get_label())] for entry in HISTORIES[name]]
            np.testing.assert_array_equal(line.get_ydata(), shown)
    assert colours_in(saved(figure, tmp_path)) > 10


@pytest.mark.parametrize(
    "bars",
    [
        {"baseline": [0.5, 0.6], "augmented": [0.625, 0.0]},
        {"one": [1.0, 0.25]},
        {letter: [0.1, 0.2] for letter in "ABCDE"},
    ],
    ids=["two", "one", "five"],
)
def test_bars_have_the_heights_and_labels_of_their_values(tmp_path: Path, bars: dict[str, list[float]]) -> None:
    figure = bar_picture(bars, ["UAR", "accuracy"], "Stages")
    axes = panels(figure)[0]
    heights = [bar.get_height() for bar in axes.patches if isinstance(bar, Rectangle)]
    assert heights == [value for values in bars.values() for value in values]
    assert [text.get_text() for text in axes.texts] == [f"{height:.3f}" for height in heights]
    middles = np.array([bar.get_x() + bar.get_width() / 2 for bar in axes.patches if isinstance(bar, Rectangle)])
    np.testing.assert_allclose(middles.reshape(len(bars), 2).mean(axis=0), [0.0, 1.0], atol=1e-9)
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["UAR", "accuracy"]
    assert colours_in(saved(figure, tmp_path)) > 10


@pytest.mark.parametrize(
    "matrix",
    [np.arange(36).reshape(6, 6), np.zeros((6, 6), int), np.array([[2]])],
    ids=["full", "zeros", "one class"],
)
def test_a_confusion_matrix_shows_every_count(tmp_path: Path, matrix: NDArray[np.int64]) -> None:
    labels = COMMON_EMOTIONS[: len(matrix)]
    figure = confusion_picture(matrix.astype(np.int64), labels, "Test fold")
    axes = panels(figure)[0]
    texts = {(text.get_position()[1], text.get_position()[0]): text.get_text() for text in axes.texts}
    assert texts == {(row, column): str(matrix[row, column]) for row, column in np.ndindex(matrix.shape)}
    share = np.asarray(axes.images[0].get_array())
    np.testing.assert_allclose(share.sum(axis=1), matrix.any(axis=1))
    np.testing.assert_allclose(share * matrix.sum(axis=1, keepdims=True), matrix)
    assert [tick.get_text() for tick in axes.get_yticklabels()] == list(labels)
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("predicted", "truth")
    assert colours_in(saved(figure, tmp_path)) > 10


@pytest.mark.parametrize("labels", [COMMON_EMOTIONS, ALL_EMOTIONS, COMMON_EMOTIONS[:2]])
def test_an_embedding_shows_every_clip_and_centroid(tmp_path: Path, labels: tuple[str, ...]) -> None:
    count = len(labels)
    truth = np.repeat(np.arange(count), 5).astype(np.int64)
    figure = embedding_picture(
        RNG.normal(size=(5 * count, 2)), truth, RNG.normal(size=(count, 2)), labels, "Embeddings"
    )
    axes = panels(figure)[0]
    assert sum(len(np.asarray(points.get_offsets())) for points in axes.collections) == 6 * count
    legend = axes.get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == list(labels)
    assert colours_in(saved(figure, tmp_path)) > 3 * count


def test_an_embedding_without_clips_of_an_emotion(tmp_path: Path) -> None:
    figure = embedding_picture(np.zeros((1, 2)), np.array([1]), np.zeros((2, 2)), COMMON_EMOTIONS[:2], "One clip")
    assert colours_in(saved(figure, tmp_path)) > 5


def test_every_emotion_has_its_colour() -> None:
    assert tuple(COLOURS) == ALL_EMOTIONS
    assert len(set(COLOURS.values())) == len(ALL_EMOTIONS)


def noise(frames: int, mels: int = 80) -> NDArray[np.float16]:
    return RNG.normal(-40.0, 15.0, (mels, frames)).astype(np.float16)


GRIDS: dict[str, Any] = {
    "rows of one length": [[noise(40), noise(60)], [noise(50), noise(30)]],
    "ragged": [[noise(40)], [noise(50), noise(30), noise(20)]],
    "an empty row": [[], [noise(40)]],
    "one frame": [[noise(1)]],
    "silence": [[np.full((80, 9), -100.0, dtype=np.float16)]],
    "single precision": [[noise(20).astype(np.float32)]],
}


def strip_of(axes: Axes) -> NDArray[np.float32]:
    """What a row of the grid shows, (mel, frame)."""
    picture = axes.images[0].get_array()
    assert picture is not None
    return np.ma.getdata(picture)


@pytest.mark.parametrize("rows", GRIDS.values(), ids=GRIDS)
def test_a_grid_shows_every_log_mel(tmp_path: Path, rows: list[list[NDArray[np.floating]]]) -> None:
    figure = log_mel_grid(rows, COMMON_EMOTIONS[: len(rows)], CONFIG, "Recordings")
    columns = max(len(row) for row in rows)
    for axes, row in zip(panels(figure), rows, strict=True):
        places = np.split(strip_of(axes), columns, axis=1)
        for place, log_mel in zip(places, row, strict=False):
            frames = log_mel.shape[1]
            np.testing.assert_array_equal(place[:, :frames], log_mel - log_mel.max())
            assert np.isnan(place[:, frames:]).all()
        assert all(np.isnan(place).all() for place in places[len(row) :])
    assert colours_in(saved(figure, tmp_path)) > 10


def test_the_axes_of_a_grid_are_seconds_and_kilohertz() -> None:
    figure = log_mel_grid([[noise(100), noise(180)], [noise(90)]], ["anger", "fear"], CONFIG, "Recordings")
    first, last = panels(figure)
    centres_hz = mel_centres_hz(CONFIG)
    for tick, label in zip(first.get_yticks(), first.get_yticklabels(), strict=True):
        band = np.interp(tick - 0.5, np.arange(80), centres_hz)
        assert band == pytest.approx(1000 * float(label.get_text()), rel=0.01)
    assert (first.get_ylabel(), last.get_ylabel()) == ("anger\nkHz", "fear\nkHz")
    starts_and_seconds = last.get_xticks().reshape(2, 3)
    second_column = strip_of(first).shape[1] / 2
    np.testing.assert_allclose(starts_and_seconds[0], np.arange(3) * 22_050 / 256)
    np.testing.assert_allclose(starts_and_seconds[1], second_column + np.arange(3) * 22_050 / 256)
    assert [tick.get_text() for tick in last.get_xticklabels()] == ["0", "1", "2"] * 2
    assert (first.xaxis.get_visible(), last.xaxis.get_visible()) == (False, True)


def test_frequencies_out_of_the_band_have_no_tick() -> None:
    config = FrontEndConfig(f_min_hz=600.0, f_max_hz=4_000.0)
    axes = panels(log_mel_grid([[noise(10)]], ["anger"], config, "Narrow"))[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["2"]


def test_a_picture_that_cannot_be_written_is_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / "folder").write_text("a file")
    with pytest.raises(StorageError, match=r"picture\.png: cannot be written"):
        save_figure(curves(HISTORIES["one epoch"], "Training"), tmp_path / "folder" / "picture.png")


@pytest.mark.parametrize(
    "figure",
    [
        confusion_picture(np.eye(6, dtype=np.int64), COMMON_EMOTIONS, LONG),
        interval_picture(["A", "B"], np.array([[0.5, 0.4, 0.6], [0.6, 0.5, 0.7]]), LONG, "UAR"),
    ],
    ids=["confusion", "intervals"],
)
def test_a_long_title_is_not_cut_off(tmp_path: Path, figure: Figure) -> None:
    saved(figure, tmp_path)
    (title,) = (text for text in figure.texts if LONG[:10] in text.get_text())
    box, whole = title.get_window_extent(), figure.bbox
    assert whole.x0 <= box.x0 < box.x1 <= whole.x1
    assert whole.y0 <= box.y0 < box.y1 <= whole.y1


def test_no_window_is_asked_for() -> None:
    """Figures are made without pyplot, which would keep every one of them in memory."""
    import matplotlib.pyplot

    curves(HISTORIES["one epoch"], "Training")
    assert matplotlib.pyplot.get_fignums() == []
