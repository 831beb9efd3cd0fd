"""Runs a notebook's code cells in order in one process, as a kernel would, until its standard input ends.

`python notebook.py NOTEBOOK SETTINGS`: SETTINGS is JSON that overrides the cell tagged `parameters`. A line `!command`
goes to the shell, with `{...}` filled in as IPython does; one that fails ends the run.
"""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

SHELL = re.compile(r"^(\s*)!(.*)$", flags=re.MULTILINE)


def shell(command: str) -> None:
    """What IPython does with `!command`."""
    subprocess.run(command, shell=True, check=True)


def source(cell: dict[str, Any]) -> str:
    """A cell as plain Python."""
    return SHELL.sub(lambda found: f"{found[1]}shell(f{found[2]!r})", "".join(cell["source"]))


def main(notebook: str, settings: str) -> None:
    """Run all, show the table, and stop the server when nobody needs it any more."""
    space: dict[str, Any] = {"shell": shell}
    for cell in json.loads(Path(notebook).read_text(encoding="utf-8"))["cells"]:
        if cell["cell_type"] == "code":
            exec(compile(source(cell), cell["id"], "exec"), space)
        if "parameters" in cell["metadata"].get("tags", []):
            space |= json.loads(settings)
    try:
        print("ENDED " + space["table"].to_json(orient="records"), flush=True)
        sys.stdin.read()
    finally:
        space["server"].terminate()
        space["server"].wait(60)


if __name__ == "__main__":
    main(*sys.argv[1:])
