"""What is in git: small files that name no machine."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LARGEST_BYTES = 1_500_000
MACHINE_PATH = re.compile(rb"(?<![\w.~$}])/(?:root|home)/\w+")
REGISTRY_HOST = re.compile(rb"[p]ypi\.org|[p]ythonhosted\.org|[n]pmjs\.org|[d]eb\.debian\.org|[c]onda\.anaconda\.org")


@pytest.fixture(scope="module")
def files() -> list[Path]:
    """The files that git tracks, or would with `git add`."""
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\0")
    return [path for name in names if name and (path := ROOT / name).is_file()]


def test_no_large_file(files: list[Path]) -> None:
    assert [str(path) for path in files if path.stat().st_size > LARGEST_BYTES] == []


@pytest.mark.parametrize("pattern", [MACHINE_PATH, REGISTRY_HOST], ids=["machine path", "registry host"])
def test_no_file_names_a_machine(files: list[Path], pattern: re.Pattern[bytes]) -> None:
    found = {str(path.relative_to(ROOT)): pattern.findall(path.read_bytes()) for path in files}
    assert {name: matches for name, matches in found.items() if matches} == {}


def test_the_patterns_find_what_they_look_for() -> None:
    assert MACHINE_PATH.search(b"open('/" + b"home/someone/data')")
    assert REGISTRY_HOST.search(b"https://" + b"pypi" + b".org/simple")


def test_license_is_apache() -> None:
    text = (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert "Apache License\n                           Version 2.0, January 2004" in text
    assert text.rstrip().endswith("limitations under the License.")


def test_ci_runs_what_people_run() -> None:
    script = ROOT / ".ci" / "run"
    assert script.stat().st_mode & 0o111
    assert script.read_text(encoding="utf-8").rstrip().endswith("exec make test")
