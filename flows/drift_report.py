"""The drift report: a page that loads nothing from elsewhere, the same as JSON, and a table for the terminal."""

import base64
from collections.abc import Mapping, Sequence
from html import escape
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flows.drift_reference import CONFIDENCE, EMOTION
from sermodels.drift import LARGE_PSI, SURE_P, ColumnDrift
from sermodels.log_mel_statistics import STATISTICS
from sermodels.plots import distribution_grid

MEANING = {EMOTION: "emotion that was answered", CONFIDENCE: "its probability", **STATISTICS}
Columns = Mapping[str, NDArray[np.generic]]

PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
:root {{ color-scheme: light dark; }}
body {{ font: 1rem/1.5 system-ui, sans-serif; max-width: 70rem; margin: 2rem auto; padding: 0 1rem; }}
table {{ border-collapse: collapse; width: 100%; }}
th, td {{ text-align: left; padding: .3rem .6rem; border-bottom: 1px solid #8886; }}
td.number {{ text-align: right; font-variant-numeric: tabular-nums; }}
tr.drifted {{ font-weight: 600; }}
img {{ max-width: 100%; height: auto; background: white; }}
</style>
<h1>{title}</h1>
<p>{drifted} of {count} columns have drifted: p below {sure} (adjusted for {count} columns) and a population stability
index (PSI) of at least {large}. Emotion and confidence are compared with the model's verdicts on clips that it was not
trained on, the rest with its training clips.</p>
<table>
<tr><th>Column</th><th>Meaning</th><th>PSI</th><th>p</th><th>Reference</th><th>Answers</th><th>Drifted</th></tr>
{rows}
</table>
<h2>Distributions</h2>
<img alt="Histograms of every column, of the reference and of the answers" src="data:image/png;base64,{picture}">
</html>
"""
ROW = (
    '<tr class="{kind}"><td>{name}</td><td>{meaning}</td><td class="number">{psi:.3f}</td><td class="number">{p:.3g}'
    "</td><td>{before}</td><td>{now}</td><td>{drifted}</td></tr>"
)


def report_page(title: str, columns: Sequence[ColumnDrift], reference: Columns, current: Columns) -> str:
    """The report as HTML, the largest difference first."""
    rows = [
        ROW.format(
            kind="drifted" if column.drifted else "",
            name=escape(column.name),
            meaning=escape(MEANING[column.name]),
            psi=column.psi,
            p=column.p,
            before=escape(_summary(reference[column.name])),
            now=escape(_summary(current[column.name])),
            drifted="yes" if column.drifted else "no",
        )
        for column in _largest_first(columns)
    ]
    return PAGE.format(
        title=escape(title),
        drifted=sum(column.drifted for column in columns),
        count=len(columns),
        sure=SURE_P,
        large=LARGE_PSI,
        rows="\n".join(rows),
        picture=_picture(reference, current),
    )


def report_json(columns: Sequence[ColumnDrift], reference: Columns, current: Columns) -> dict[str, Any]:
    """The report's figures."""
    return {
        column.name: {
            "psi": column.psi,
            "p": column.p,
            "drifted": column.drifted,
            "reference": _figures(reference[column.name]),
            "answers": _figures(current[column.name]),
        }
        for column in columns
    }


def report_table(columns: Sequence[ColumnDrift]) -> str:
    """The report's figures as Markdown."""
    rows = [
        f"| {column.name} | {column.psi:.3f} | {column.p:.3g} | {'yes' if column.drifted else 'no'} |"
        for column in _largest_first(columns)
    ]
    return "\n".join(["| column | PSI | p | drifted |", "| --- | --- | --- | --- |", *rows])


def _largest_first(columns: Sequence[ColumnDrift]) -> list[ColumnDrift]:
    return sorted(columns, key=lambda column: -column.psi)


def _figures(values: NDArray[np.generic]) -> dict[str, float]:
    """Count, and either the share of each category or median and outer tenths."""
    if values.dtype.kind == "U":
        names, counts = np.unique(values, return_counts=True)
        return {"count": len(values)} | {
            str(name): count / len(values) for name, count in zip(names, counts, strict=True)
        }
    tenths = np.quantile(values.astype(np.float64), (0.1, 0.5, 0.9))
    return {"count": len(values)} | dict(zip(("tenth", "median", "ninth_tenth"), tenths.tolist(), strict=True))


def _summary(values: NDArray[np.generic]) -> str:
    """A distribution in a few words."""
    figures = _figures(values)
    count = figures.pop("count")
    if values.dtype.kind == "U":
        return ", ".join(f"{name} {share:.0%}" for name, share in figures.items()) + f" ({count:,.0f})"
    return f"{figures['median']:.3g} ({figures['tenth']:.3g} to {figures['ninth_tenth']:.3g}; {count:,.0f})"


def _picture(reference: Columns, current: Columns) -> str:
    """Histograms as PNG in base64."""
    file = BytesIO()
    distribution_grid(reference, current, ("reference", "answers")).savefig(file, format="png", dpi=90)
    return base64.b64encode(file.getvalue()).decode("ascii")
