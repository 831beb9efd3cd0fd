"""Sides take turns, and what their figures say is plain arithmetic."""

from pathlib import Path

import pytest

from benchmarks import machine
from benchmarks.agreement import DisagreementError, require_close
from benchmarks.measure import alternate, compare, relative_spread, timed
from benchmarks.rows import limit_row, row


def test_sides_take_turns_after_a_round_that_is_not_counted() -> None:
    calls: list[str] = []

    def side(name: str) -> float:
        calls.append(name)
        return float(len(calls))

    figures = alternate({"A": lambda: side("A"), "B": lambda: side("B")}, rounds=3)
    assert calls == ["A", "B"] * 4
    assert figures == {"A": [3.0, 5.0, 7.0], "B": [4.0, 6.0, 8.0]}


def test_the_ratio_is_the_median_of_the_rounds_ratios() -> None:
    found = compare([1.0, 2.0, 4.0], [2.0, 8.0, 12.0])
    assert (found.ours, found.alternative, found.ratio) == (2.0, 8.0, 3.0)
    assert found.spread == pytest.approx((3.5 - 2.5) / 3.0)


def test_more_is_better_where_it_is_said() -> None:
    assert compare([10.0, 30.0], [5.0, 10.0], better="higher").ratio == 2.5


def test_spread_is_the_interquartile_range_over_the_median() -> None:
    assert relative_spread([1.0, 2.0, 3.0, 4.0, 5.0]) == pytest.approx(2.0 / 3.0)
    assert relative_spread([7.0]) == 0.0


def test_timed_measures_seconds_of_one_call() -> None:
    calls: list[int] = []
    assert 0.0 <= timed(lambda: calls.append(1))() < 5.0
    assert calls == [1]


def test_rows_say_whether_their_target_is_reached() -> None:
    assert row("a", [1.0], [3.0], unit="s", target=3.0, device="this").met
    assert not row("a", [1.0], [2.9], unit="s", target=3.0, device="this").met
    assert limit_row("a", [0.2], limit=0.3, unit="s", device="this").met
    assert not limit_row("a", [0.4], limit=0.3, unit="s", device="this").met


@pytest.mark.parametrize(
    ("ours", "theirs"), [([1.0, 2.2], [1.0, 2.0]), ([1.0], [1.0, 2.0]), ([float("nan")], [1.0])], ids=str
)
def test_a_disagreement_raises(ours: list[float], theirs: list[float]) -> None:
    with pytest.raises(DisagreementError, match="log-mel"):
        require_close("log-mel", ours, theirs, tolerance=0.1, unit="dB")


def test_agreement_tells_the_largest_difference() -> None:
    assert require_close("log-mel", [1.0, 2.05], [1.0, 2.0], tolerance=0.1, unit="dB") == pytest.approx(0.05)


def test_bfloat16_is_not_measured_where_it_would_be_emulated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "has_bfloat16", lambda device: False)
    monkeypatch.setitem(machine.SIDE, "cpu", 256)
    monkeypatch.setattr(machine, "COPIED_BYTES", 1_000_000)
    rates = machine.measure_rates(tmp_path)
    assert rates.bfloat16 == rates.float32 > 0
    assert not list(tmp_path.iterdir())
