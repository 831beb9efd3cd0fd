"""Who imports what: import-linter's contracts, and what stays out of a process that does not need it."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ROOMS = ("flows", "serve", "sermodels")
TRAINING = ("config", "features", "augmentation", "classifier", "training", "diffusion")
ABSENT_IN_TRAINING = (
    "librosa", "soundfile", "pooch", "matplotlib", "espeakng_loader",
    "mlflow", "prefect", "fastapi", "gradio", "onnxruntime", "flows", "serve",
)  # fmt: skip


def run(*command: str, folder: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """Run a command in `folder`, standard error and output together."""
    return subprocess.run(command, cwd=folder, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)


def lint_imports(folder: Path) -> subprocess.CompletedProcess[str]:
    """Check the contracts of the project in `folder`."""
    program = "from importlinter.cli import lint_imports_command; lint_imports_command()"
    return run(sys.executable, "-c", program, "--no-cache", "--no-logo", folder=folder)


def training_modules() -> list[str]:
    """Every module of the library's training part, found in the tree."""
    library = ROOT / "sermodels"
    files = [path for name in TRAINING for path in [library / f"{name}.py", *(library / name).rglob("*.py")]]
    modules = [".".join(path.relative_to(ROOT).with_suffix("").parts) for path in files if path.exists()]
    return [module.removesuffix(".__init__") for module in modules]


def test_contracts_hold() -> None:
    result = lint_imports(ROOT)
    assert result.returncode == 0, result.stdout


@pytest.mark.parametrize(
    ("path", "statement"),
    [
        ("sermodels/offender.py", "import mlflow.pyfunc"),
        ("sermodels/offender.py", "from onnxruntime import InferenceSession"),
        ("sermodels/offender.py", "import serve"),
        ("serve/offender.py", "from flows import tracking"),
        ("flows/offender.py", "import mlflow"),
    ],
)
def test_contracts_see_an_offender(tmp_path: Path, path: str, statement: str) -> None:
    for room in ROOMS:
        shutil.copytree(ROOT / room, tmp_path / room, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    (tmp_path / path).write_text(f"{statement}\n", encoding="utf-8")
    result = lint_imports(tmp_path)
    assert result.returncode != 0
    assert ".offender ->" in result.stdout, result.stdout


def test_training_modules_import_where_the_rest_is_missing() -> None:
    modules = training_modules()
    assert {module.split(".")[1] for module in modules} == set(TRAINING)
    program = f"import sys; sys.modules.update(dict.fromkeys({ABSENT_IN_TRAINING!r})); import {', '.join(modules)}"
    result = run(sys.executable, "-c", program)
    assert result.returncode == 0, result.stdout


@pytest.mark.parametrize("command", [("flows",), ("flows", "run"), ("sermodels.corpora",)], ids=" ".join)
def test_help_needs_no_heavy_import(command: tuple[str, ...]) -> None:
    module, *arguments = command
    program = (
        "import atexit, runpy, sys\n"
        "heavy = {'torch', 'mlflow', 'prefect', 'librosa', 'gradio'}\n"
        "atexit.register(lambda: print('IMPORTED', sorted(heavy & set(sys.modules))))\n"
        f"sys.argv = {[module, *arguments, '--help']!r}\n"
        f"runpy.run_module({module!r}, run_name='__main__', alter_sys=True)\n"
    )
    result = run(sys.executable, "-c", program)
    assert result.returncode == 0, result.stdout
    assert "usage:" in result.stdout.lower()
    assert result.stdout.rstrip().endswith("IMPORTED []"), result.stdout
