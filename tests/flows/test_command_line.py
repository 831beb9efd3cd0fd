"""The command line: options to overrides, and errors behind errors."""

import os
from pathlib import Path
from typing import Any

import pytest

from flows.__main__ import known_error, main, overrides_of, use_workspace
from flows.arguments import parse_arguments
from sermodels.errors import ConfigError, StorageError
from sermodels.plan import plan_of


def test_empty_options_leave_the_preset_alone() -> None:
    options = parse_arguments(["run", "--data-dir=", "--protocol=", "--fold=", "--weights=", "--overrides="])
    assert overrides_of(options) == []
    assert options.preset == "demo"


def test_options_become_overrides_and_free_ones_win() -> None:
    options = parse_arguments(["run", "--fold=all", "--weights=none", "--overrides=split.fold=2 training.epochs=3"])
    assert overrides_of(options) == ["split.fold=all", "classifier.weights=none", "split.fold=2", "training.epochs=3"]


@pytest.mark.parametrize(
    ("given", "expected"), [([], "false"), (["--skip-unreadable"], "true"), (["--skip-unreadable=false"], "false")]
)
def test_skip_unreadable_is_a_switch_with_a_value(given: list[str], expected: str) -> None:
    assert parse_arguments(["run", *given]).skip_unreadable == expected


def test_prefect_lives_in_the_workspace_unless_told_otherwise(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    monkeypatch.delenv("PREFECT_HOME", raising=False)
    use_workspace(tmp_path)
    assert os.environ["PREFECT_HOME"] == str(tmp_path / "prefect")
    monkeypatch.setenv("PREFECT_HOME", "/elsewhere")
    use_workspace(tmp_path)
    assert os.environ["PREFECT_HOME"] == "/elsewhere"


def test_the_error_behind_a_failing_clean_up_is_found() -> None:
    def fail() -> None:
        try:
            raise StorageError("cache: the disk is full")
        finally:
            raise OSError("database or disk is full")

    with pytest.raises(OSError, match="database") as caught:
        fail()
    assert str(known_error(caught.value)) == "cache: the disk is full"
    assert known_error(ValueError("a bug")) is None


def test_bad_preset_ends_with_one_line(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["run", "--preset=demmo", f"--workspace={tmp_path}"]) == 1
    assert capsys.readouterr().err.startswith("error: unknown preset 'demmo'; allowed: demo, full, quick, seed")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"protocols": "speakers"}, "--protocols speakers: allowed are speaker, corpus, seed"),
        ({"stages": "ABX"}, "--stages X: allowed are A, B, C, D"),
        ({"folds": "first"}, "--folds first: numbers such as 0,1,2, or all"),
        ({"seeds": 0}, "--seeds 0: at least 1"),
    ],
)
def test_a_table_that_is_not_allowed(change: dict[str, Any], message: str) -> None:
    options: dict[str, Any] = {"protocols": "speaker,seed", "folds": "0,1", "seeds": 2, "stages": "AB"}
    assert plan_of(**options).folds == (0, 1)
    with pytest.raises(ConfigError, match=message):
        plan_of(**options | change)


@pytest.mark.usefixtures("client")
def test_an_empty_store_has_no_page(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["results", "--preset=quick"]) == 1
    assert "no finished cell of table quick; run: python -m flows table" in capsys.readouterr().err
