"""docs/performance.md: the rows of summary.json as a table and a picture, misses with the reason that was found."""

import ast
from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.figure import Figure

from benchmarks.rows import Row, read_summary
from sermodels.files import read_json, write_text
from sermodels.plots import save_figure

FOLDER = Path(__file__).parent
REASONS = FOLDER / "reasons.json"
PICTURE = "performance.png"
HEAD = """# Speed beside the alternatives

Written by `python -m benchmarks --page` from `benchmarks/results/summary.json`; no figure is typed by hand. Measured by

```
make bench ARGS="--data-dir data --weights resnet18.safetensors --bundle workspace/served/champion"
```

and in ten minutes with smaller counts and without the pipeline, from a clean clone, by `make bench-quick` (into
`benchmarks/results/quick/`).
Both sides have their turns in one run, A B A B, after a round that is not counted. A ratio says how many times better
ours is, the median of the rounds' ratios; the spread is their interquartile range over their median. The floor is what
the machine's measured rates (matrix product, memory, disk) allow at best. Where a row has no alternative, it has a
limit. A part fails when both sides' outputs differ by more than the tolerance in its notes.
"""


def write_page(results: Path, page: Path) -> None:
    """Write the page and its picture beside it. Raises StorageError."""
    rows, reasons = read_summary(results), read_json(REASONS)
    if rows:
        write_text(page, page_text(rows, reasons))
        save_figure(bars(rows), page.with_name(PICTURE))


def page_text(rows: Sequence[Row], reasons: Mapping[str, Sequence[str]]) -> str:
    """The page in Markdown; `reasons` has the parts that miss for each."""
    lines = [HEAD, f"![Ratios over targets]({PICTURE})\n", *_table(rows), ""]
    missed = [one.part for one in rows if not one.met]
    lines += ["## Missed\n", *_missed(missed, reasons)] if missed else []
    lines += ["\n## How each row was measured\n", *(f"- {one.part}: {one.note}" for one in rows if one.note)]
    lines += ["\n## The alternatives\n", *_alternatives(), "\n## The machines\n"]
    lines += [f"- {device}" for device in dict.fromkeys(one.device for one in rows)]
    return "\n".join(lines) + "\n"


def _missed(parts: Sequence[str], reasons: Mapping[str, Sequence[str]]) -> list[str]:
    """A line for each reason, with all parts that miss for it."""
    reason_of = {part: reason for reason, own in reasons.items() for part in own}
    found = [reason_of.get(part, "the reason is not found yet") for part in parts]
    together = {reason: [part for part, own in zip(parts, found, strict=True) if own == reason] for reason in found}
    return [f"- {'; '.join(f'**{part}**' for part in own)}: {reason}" for reason, own in together.items()]


def _table(rows: Sequence[Row]) -> list[str]:
    """A line for each row."""
    lines = ["| part | ours | alternative | unit | ratio | to reach | | spread | floor |"]
    lines += ["| --- | ---: | ---: | --- | ---: | ---: | --- | ---: | ---: |"]
    for one in rows:
        verdict = "met" if one.met else "**missed**"
        floor = "–" if one.floor is None else _number(one.floor)
        cells = [one.part, _number(one.ours), _number(one.alternative), one.unit, f"{_number(one.ratio)}×"]
        cells += [f"{_number(one.target)}×", verdict, f"{one.spread:.0%}", floor]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def _number(value: float) -> str:
    """Three digits, without an exponent."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}" if abs(value) >= 0.001 else f"{value:.5f}"


def _alternatives() -> list[str]:
    """What each file of alternatives/ says of itself."""
    files = sorted(path for path in (FOLDER / "alternatives").glob("*.py") if path.name != "__init__.py")
    texts = [(path, ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "") for path in files]
    return [f"- `{path.name}`: {text.splitlines()[0]}" for path, text in texts]


def bars(rows: Sequence[Row]) -> Figure:
    """Ratio over target of each row, on a logarithmic axis: what passes the line reaches its target."""
    figure = Figure(figsize=(9.0, 0.32 * len(rows) + 1.2), layout="constrained")
    axes = figure.add_subplot()
    shares = [one.ratio / one.target for one in rows]
    axes.barh(range(len(rows)), shares, color=["#2a7f62" if one.met else "#b5483a" for one in rows])
    axes.axvline(1.0, color="black", linewidth=1.0)
    axes.set_yticks(range(len(rows)), [one.part for one in rows], fontsize=7)
    axes.invert_yaxis()
    axes.set(xscale="log", xlabel="ratio / target (1: reached)")
    axes.grid(axis="x", alpha=0.3)
    return figure
