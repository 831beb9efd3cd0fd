"""Pictures: curves, confusion matrices, embeddings, log-mels. Each function returns a matplotlib Figure."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from textwrap import fill

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from sermodels.config import FrontEndConfig
from sermodels.emotions import COLOURS
from sermodels.files import atomic_write
from sermodels.mel import mel_centres_hz

TITLE_WIDTH = 50
"""Letters of a title that fit into one line above a picture of 6 inches."""
PNG_LEVEL = 3
"""zlib's: less than half the time of its usual one, for pictures that are a tenth larger."""
GAP_FRAMES = 12
"""Between two log-mels of a grid."""


def save_figure(figure: Figure, path: Path, *, dpi: int = 110) -> None:
    """Write a figure as PNG, atomically. Raises StorageError."""
    FigureCanvasAgg(figure)
    with atomic_write(path) as temporary:
        figure.savefig(temporary, format="png", dpi=dpi, pil_kwargs={"compress_level": PNG_LEVEL})


def curves(history: Sequence[Mapping[str, int | float]], title: str) -> Figure:
    """Loss, and UAR and accuracy where the history has them, over the epochs."""
    shown = [("loss", "loss"), ("share right", "accuracy"), ("UAR", "uar")]
    panels = [(name, keys) for name, key in shown if (keys := _keys_ending(history[0], f"/{key}"))]
    figure = Figure(figsize=(4.2 * len(panels), 3.4), layout="constrained")
    figure.suptitle(title)
    for place, (name, keys) in enumerate(panels, 1):
        axes = figure.add_subplot(1, len(panels), place)
        for key in keys:
            axes.plot(
                [record["epoch"] for record in history], [record[key] for record in history], label=key, marker="."
            )
        axes.set(xlabel="epoch", ylabel=name)
        axes.grid(alpha=0.3)
        axes.legend()
    return figure


def _keys_ending(record: Mapping[str, int | float], ending: str) -> list[str]:
    """The record's keys with this ending."""
    return [key for key in record if key.endswith(ending)]


def bar_picture(bars: Mapping[str, Sequence[float]], names: Sequence[str], title: str) -> Figure:
    """Shares between 0 and 1 as groups of labelled bars: one group a name, one colour a series."""
    figure = Figure(figsize=(1.6 * len(names) + 2.0, 4.0), layout="constrained")
    axes = figure.add_subplot()
    width = 0.8 / len(bars)
    for place, (series, values) in enumerate(bars.items()):
        drawn = axes.bar(np.arange(len(names)) + width * (place + 0.5) - 0.4, values, width, label=series)
        axes.bar_label(drawn, fmt="%.3f", fontsize=8)
    axes.set(title=title, ylim=(0.0, 1.0), xticks=range(len(names)))
    axes.set_xticklabels(names)
    axes.legend()
    return figure


def interval_picture(names: Sequence[str], values: NDArray[np.floating], title: str, figure_of: str) -> Figure:
    """Figures (row, 3) as dots with intervals: value, lower and upper bound, one row a name, the first on top."""
    figure = Figure(figsize=(7.0, 0.45 * len(names) + 1.4), layout="constrained")
    axes = figure.add_subplot()
    places = np.arange(len(names))[::-1]
    errors = np.abs(values[:, 1:] - values[:, :1]).T
    axes.errorbar(values[:, 0], places, xerr=errors, fmt="o", capsize=4)
    for place, value in zip(places, values[:, 0], strict=True):
        axes.annotate(
            f"{value:.3f}", (value, place), xytext=(0, 7), textcoords="offset points", ha="center", fontsize=8
        )
    axes.set(xlabel=f"{figure_of} with 95 % interval", ylim=(-0.7, len(names) - 0.3))
    figure.suptitle(fill(title, TITLE_WIDTH))
    axes.set_yticks(places, names)
    axes.grid(axis="x", alpha=0.3)
    return figure


def confusion_picture(matrix: NDArray[np.int64], labels: Sequence[str], title: str) -> Figure:
    """Confusion matrix: colour is the recall of each row, the numbers are clips."""
    figure = Figure(figsize=(6.0, 5.2), layout="constrained")
    axes = figure.add_subplot()
    share = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    picture = axes.imshow(share, cmap="Blues", vmin=0.0, vmax=1.0)
    for row, column in np.ndindex(matrix.shape):
        colour = "white" if share[row, column] > 0.6 else "black"
        axes.text(column, row, str(matrix[row, column]), ha="center", va="center", color=colour)
    axes.set(xticks=range(len(labels)), yticks=range(len(labels)), xlabel="predicted", ylabel="truth")
    figure.suptitle(fill(title, TITLE_WIDTH))
    axes.set_xticklabels(labels, rotation=35, ha="right")
    axes.set_yticklabels(labels)
    figure.colorbar(picture, ax=axes, label="share of the row", shrink=0.8)
    return figure


def embedding_picture(
    points: NDArray[np.floating],
    truth: NDArray[np.int64],
    centroids: NDArray[np.floating],
    labels: Sequence[str],
    title: str,
) -> Figure:
    """Points (clip, 2) coloured by emotion, and the centroids (emotion, 2)."""
    figure = Figure(figsize=(7.0, 5.6), layout="constrained")
    axes = figure.add_subplot()
    for number, label in enumerate(labels):
        own = points[truth == number]
        axes.scatter(own[:, 0], own[:, 1], s=12, alpha=0.6, color=COLOURS[label], label=label)
        axes.scatter(
            centroids[number, 0], centroids[number, 1], s=220, marker="*", color=COLOURS[label], edgecolor="black"
        )
    axes.set(title=title, xticks=[], yticks=[])
    axes.legend(title="star: centroid", fontsize=9)
    return figure


def log_mel_grid(
    rows: Sequence[Sequence[NDArray[np.floating]]], labels: Sequence[str], config: FrontEndConfig, title: str
) -> Figure:
    """Log-mels (mel, frame) in dB in a grid, one row an emotion, all on one scale of time and one of frequency.

    A row is one picture, and places are reckoned here: axes, ticks and matplotlib's layout take longer than all else.
    """
    columns = max(len(row) for row in rows)
    width = max(log_mel.shape[1] for row in rows for log_mel in row) + GAP_FRAMES
    inches = (2.6 * columns + 1.0, 1.7 * len(rows) + 0.8)
    figure = Figure(figsize=inches)
    figure.suptitle(title)
    grid = figure.subplots(
        len(rows),
        squeeze=False,
        gridspec_kw={
            "left": 0.8 / inches[0],
            "right": 1.0 - 0.1 / inches[0],
            "bottom": 0.5 / inches[1],
            "top": 1.0 - 0.45 / inches[1],
            "hspace": 0.08,
        },
    )[:, 0]
    for axes, row, label in zip(grid, rows, labels, strict=True):
        _draw_log_mels(axes, row, width, columns, config)
        axes.xaxis.set_visible(axes is grid[-1])
        axes.set_ylabel(f"{label}\nkHz", fontsize=9)
    frames_a_second = config.sample_rate_hz / config.hop_length
    seconds = range(int(width / frames_a_second) + 1)
    grid[-1].set_xticks(
        [column * width + second * frames_a_second for column in range(columns) for second in seconds],
        [str(second) for _ in range(columns) for second in seconds],
        fontsize=8,
    )
    grid[-1].set_xlabel("s", fontsize=9)
    return figure


def distribution_grid(
    first: Mapping[str, NDArray[np.generic]], second: Mapping[str, NDArray[np.generic]], names: tuple[str, str]
) -> Figure:
    """Two samples side by side, one histogram a column: shares of numbers in 20 bins, or of each category."""
    columns = 4
    rows = -(-len(first) // columns)
    figure = Figure(figsize=(3.2 * columns, 2.3 * rows + 0.5), layout="constrained")
    for place, (name, before) in enumerate(first.items(), 1):
        axes = figure.add_subplot(rows, columns, place)
        samples = [before, second[name]]
        together = np.concatenate(samples)
        if before.dtype.kind == "U":
            labels = np.unique(together)
            samples = [np.searchsorted(labels, sample) for sample in samples]
            edges = np.arange(len(labels) + 1) - 0.5
            axes.set_xticks(range(len(labels)), labels, rotation=35, ha="right", fontsize=8)
        else:
            edges = np.histogram_bin_edges(together.astype(np.float64), 20)
        axes.hist(
            samples, edges.tolist(), weights=[np.full(len(sample), 1 / len(sample)) for sample in samples], label=names
        )
        axes.set_title(name, fontsize=10)
        axes.tick_params(labelsize=8)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return figure


def _draw_log_mels(
    axes: Axes, row: Sequence[NDArray[np.floating]], width: int, columns: int, config: FrontEndConfig
) -> None:
    """Log-mels side by side, each in `width` frames and 80 dB below its own loudest cell."""
    strip = np.full((config.n_mels, columns * width), np.nan, dtype=np.float32)
    for column, log_mel in enumerate(row):
        strip[:, column * width : column * width + log_mel.shape[1]] = log_mel - log_mel.max()
    extent = (0.0, float(strip.shape[1]), 0.0, float(config.n_mels))
    axes.imshow(strip, origin="lower", aspect="auto", cmap="magma", vmin=-80.0, vmax=0.0, extent=extent)
    ticks_hz = [hz for hz in (500.0, 2000.0, 8000.0) if config.f_min_hz <= hz <= config.f_max_hz]
    axes.set_yticks(
        np.interp(ticks_hz, mel_centres_hz(config), np.arange(config.n_mels) + 0.5),
        [f"{hz / 1000:g}" for hz in ticks_hz],
        fontsize=8,
    )
