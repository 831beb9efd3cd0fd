"""summary.json keeps what other parts measured, and the page shows misses with their reasons."""

from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.__main__ import PARTS, parse_arguments
from benchmarks.page import PICTURE, page_text, write_page
from benchmarks.rows import Row, read_summary, write_summary
from sermodels.files import read_json

MET = Row("features, cold", 2.0, 12.0, "s", 6.0, 5.0, 0.04, 0.5, "a processor", "12 clips")
MISSED = Row("bytes", 50.0, 600.0, "bytes", 12.0, 20.0, 0.0, None, "a processor")


def test_rows_of_other_parts_are_kept_and_own_ones_replaced(tmp_path: Path) -> None:
    write_summary(tmp_path, [MET, MISSED])
    faster = replace(MET, ours=1.0, ratio=12.0)
    write_summary(tmp_path, [faster, replace(MET, part="start")])
    assert [one.part for one in read_summary(tmp_path)] == ["features, cold", "bytes", "start"]
    assert read_summary(tmp_path)[:2] == [faster, MISSED]


def test_summary_has_exactly_the_agreed_keys(tmp_path: Path) -> None:
    write_summary(tmp_path, [MET, MISSED])
    keys = {"part", "ours", "alternative", "unit", "ratio", "target", "spread", "floor", "device"}
    with_note, without = read_json(tmp_path / "summary.json")
    assert (with_note.keys(), without.keys()) == (keys | {"note"}, keys)


def test_a_miss_stays_with_its_reason() -> None:
    text = page_text([MET, MISSED], {"float16 does not compress": ["bytes", "start"]})
    assert "| features, cold | 2 | 12 | s | 6× | 5× | met | 4% | 0.5 |" in text
    assert "| bytes | 50 | 600 | bytes | 12× | 20× | **missed** | 0% | – |" in text
    assert "- **bytes**: float16 does not compress" in text
    assert "**features, cold**" not in text
    assert "- features, cold: 12 clips" in text


def test_parts_that_miss_for_one_reason_share_a_line() -> None:
    missed = [MISSED, replace(MISSED, part="start"), replace(MISSED, part="memory")]
    text = page_text(missed, {"float16 does not compress": ["bytes", "memory"], "imports": ["start"]})
    assert "- **bytes**; **memory**: float16 does not compress\n- **start**: imports\n" in text


def test_a_miss_without_a_reason_says_so() -> None:
    assert "- **bytes**: the reason is not found yet" in page_text([MISSED], {})


def test_the_page_names_every_alternative_and_its_picture(tmp_path: Path) -> None:
    write_summary(tmp_path, [MET, MISSED])
    write_page(tmp_path, tmp_path / "performance.md")
    text = (tmp_path / "performance.md").read_text(encoding="utf-8")
    assert "- `litserve_app.py`: LitServe" in text
    assert (tmp_path / PICTURE).read_bytes().startswith(b"\x89PNG")


def test_nothing_measured_leaves_the_page_alone(tmp_path: Path) -> None:
    write_page(tmp_path, tmp_path / "performance.md")
    assert list(tmp_path.iterdir()) == []


def test_the_command_line_knows_its_parts(capsys: pytest.CaptureFixture[str]) -> None:
    assert parse_arguments([]).parts == list(PARTS)
    assert set(parse_arguments([]).parts) - set(parse_arguments(["--quick"]).parts) == {"accuracy", "pipeline"}
    assert parse_arguments(["--quick", "--parts", "accuracy,growth"]).parts == ["accuracy", "growth"]
    with pytest.raises(SystemExit):
        parse_arguments(["--parts", "features,speed"])
    assert parse_arguments(["--devices", "cuda"]).devices == ("cuda",)
    with pytest.raises(SystemExit):
        parse_arguments(["--devices", "tpu"])
    assert "unknown parts speed" in capsys.readouterr().err
