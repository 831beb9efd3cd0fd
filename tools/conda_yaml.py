"""Write conda.yaml: the packages of requirements.lock at the same versions, for `mlflow run` to install.

Without the hashes, which neither conda nor mlflow can pass on, and with no reference to the lock: pip would then ask
for hashes all the same.
"""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
HEADER = """\
# Written by `make lock` from requirements.lock: the environment of `mlflow run . --env-manager uv`.
name: sermodels
channels:
  - conda-forge
dependencies:
  - python=3.11
  - pip
  - pip:
"""


def render(lock: str) -> str:
    """The text of conda.yaml for the text of a requirements.lock."""
    pins = re.findall(r"^[\w.-]+==[^\s;]+", lock, flags=re.MULTILINE)
    return HEADER + "".join(f"      - {pin}\n" for pin in pins)


if __name__ == "__main__":
    (ROOT / "conda.yaml").write_text(render((ROOT / "requirements.lock").read_text()))
