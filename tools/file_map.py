"""Writes README's file map: the first docstring line of every module, and the files beside them."""

import ast
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
README = ROOT / "README.md"
HEADING = "## File map\n"
BESIDE = {
    "presets/*.yaml": "what `demo`, `quick`, `seed` and `full` change of the defaults in `sermodels/config.py`",
    "tests/": "mirrors the rooms; `architecture/` holds the rules, `end_to_end/` runs the real commands",
    "tools/": "scripts that write `conda.yaml`, `MLproject` and this map, measure for docs/scaling.md, "
    "and put a running server to the test (`acceptance.py`)",
    "benchmarks/": "`make bench`: each part beside its alternative, in one run; raw figures in `results/`",
    "docs/scaling.md": "10,000 hours and 64 GPUs reckoned: bottlenecks, costs, knobs",
    "docs/experiments.md": "dated log of what was measured, failures included",
    "docs/operations/watching.md": "metrics, records and drift of a served model",
    "notebooks/colab.ipynb": "the pipeline and the demo on Google Colab",
    "MLproject": "entry points and parameters of `mlflow run .`, written from the command line",
    "prefect.yaml": "the deployments: `prefect deploy --all`",
    "conda.yaml": "the environment of `mlflow run . --env-manager uv`, written from the lock",
    "requirements.lock": "every package with version and hashes",
    "Makefile": "the commands that people and CI call",
    "Dockerfile": "images of the server (targets `cpu`, `cuda`) and of the pipeline (target `pipeline`)",
    "compose.yaml": "the server as a service",
    "serve/requirements-*.lock": "what the server's images install, with hashes",
    "CHANGELOG.md": "what changed, by version",
    "CONTRIBUTING.md": "how to work on it",
    "CITATION.cff": "how to cite it, and the corpora",
    "LICENSE": "Apache-2.0",
}


def file_map() -> str:
    """The section, heading included."""
    modules = sorted(path for room in ("sermodels", "flows", "serve") for path in (ROOT / room).rglob("*.py"))
    lines = [f"- `{path.relative_to(ROOT)}`: {first_line(path)}" for path in modules if path.name != "__init__.py"]
    lines += [f"- `{path}`: {text}" for path, text in BESIDE.items()]
    return HEADING + "\n" + "\n".join(lines) + "\n"


def first_line(path: Path) -> str:
    """The first line of a module's docstring."""
    return (ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "").splitlines()[0]


def main() -> None:
    """Replace the section in README, up to the next heading."""
    before, rest = README.read_text(encoding="utf-8").split(HEADING)
    after = rest[rest.index("\n## ") + 1 :] if "\n## " in rest else ""
    README.write_text(before + file_map() + ("\n" + after if after else ""), encoding="utf-8")


if __name__ == "__main__":
    main()
