"""The rows of the table: one figure of ours beside the alternative's, kept in results/summary.json."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from benchmarks.measure import Comparison, compare
from sermodels.files import read_json, write_json

SUMMARY = "summary.json"


@dataclass(frozen=True)
class Row:
    """`ratio` is how many times better ours is, whether less or more is better; it is to reach `target`.

    `floor` is what the machine's measured limits allow, in `unit`; None where nothing was reckoned.
    """

    part: str
    ours: float
    alternative: float
    unit: str
    ratio: float
    target: float
    spread: float
    floor: float | None
    device: str
    note: str = ""

    @property
    def met(self) -> bool:
        """Whether the target is reached."""
        return self.ratio >= self.target

    def json(self) -> dict[str, Any]:
        """For summary.json: without an empty note."""
        return {key: value for key, value in asdict(self).items() if key != "note" or value}


@dataclass(frozen=True)
class Measured:
    """What one part gives: its rows, its raw figures, and what could not be measured and why."""

    rows: list[Row]
    raw: dict[str, Any]
    missing: tuple[str, ...] = ()


def row(
    part: str,
    ours: Sequence[float],
    alternative: Sequence[float],
    *,
    unit: str,
    target: float,
    device: str,
    better: Literal["lower", "higher"] = "lower",
    floor: float | None = None,
    note: str = "",
) -> Row:
    """The row of two sides that were measured in turns."""
    return _row(part, compare(ours, alternative, better=better), unit, target, floor, device, note)


def limit_row(
    part: str,
    ours: Sequence[float],
    *,
    limit: float,
    unit: str,
    device: str,
    floor: float | None = None,
    note: str = "",
) -> Row:
    """The row of a figure that has no alternative but a limit to stay below."""
    return _row(part, compare(ours, [limit] * len(ours)), unit, 1.0, floor, device, note)


def _row(part: str, figures: Comparison, unit: str, target: float, floor: float | None, device: str, note: str) -> Row:
    return Row(
        part, figures.ours, figures.alternative, unit, figures.ratio, target, figures.spread, floor, device, note
    )


def read_summary(folder: Path) -> list[Row]:
    """The rows measured so far."""
    path = folder / SUMMARY
    return [Row(**values) for values in read_json(path)] if path.exists() else []


def merge(before: Sequence[Row], measured: Sequence[Row]) -> list[Row]:
    """A row measured anew takes the place of its old figure; those of other parts stay."""
    fresh = {one.part: one for one in measured}
    kept = [fresh.pop(one.part, one) for one in before]
    return kept + list(fresh.values())


def write_summary(folder: Path, measured: Sequence[Row]) -> list[Row]:
    """Merge into summary.json; returns all rows."""
    rows = merge(read_summary(folder), measured)
    write_json(folder / SUMMARY, [one.json() for one in rows])
    return rows
