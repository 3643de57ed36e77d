"""The rule of the verdicts: what it confirms, what it contradicts, and when it says nothing."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alexnet.reproduce.verdict import (
    CONFIRMED,
    CONTRADICTED,
    TOO_FEW,
    UNMEASURED,
    UNRESOLVED,
    judge,
    student_quantile,
)

VALUES = st.floats(-50, 50).map(lambda value: round(value, 3))
PAIRS = st.lists(st.tuples(VALUES, VALUES), min_size=3, max_size=12)


@pytest.mark.parametrize("probability", [0.5, 0.9, 0.975, 0.9995])
def test_the_quantile_is_scipys(probability: float) -> None:
    stats = pytest.importorskip("scipy.stats")
    for degrees in (*range(1, 12), 30, 101):
        expected = float(stats.t.ppf(probability, degrees))
        assert student_quantile(probability, degrees) == pytest.approx(expected, rel=1e-9, abs=1e-9)


@settings(max_examples=30)
@given(PAIRS)
def test_the_interval_is_scipys(pairs: list[tuple[float, float]]) -> None:
    stats = pytest.importorskip("scipy.stats")
    better, other = zip(*pairs, strict=True)
    judged = judge(better, other)
    assert judged.interval is not None
    differences = [b - a for a, b in pairs]
    if max(differences) - min(differences) < 1e-6:
        assert judged.interval[0] == pytest.approx(judged.interval[1], abs=1e-6)
        return
    expected = stats.ttest_rel(other, better).confidence_interval(0.95)
    assert judged.interval == pytest.approx((expected.low, expected.high), rel=1e-6, abs=1e-9)


@settings(max_examples=30)
@given(PAIRS)
def test_the_verdict_says_on_which_side_of_zero_the_interval_lies(pairs: list[tuple[float, float]]) -> None:
    judged = judge(*zip(*pairs, strict=True))
    assert judged.interval is not None and judged.effect is not None
    low, high = judged.interval
    assert low <= judged.effect <= high or math.isclose(low, high, abs_tol=1e-9)
    assert judged.verdict == (CONFIRMED if low > 0 else CONTRADICTED if high < 0 else UNRESOLVED)


@settings(max_examples=30)
@given(PAIRS)
def test_exchanged_arms_have_the_opposite_verdict(pairs: list[tuple[float, float]]) -> None:
    better, other = zip(*pairs, strict=True)
    opposite = {CONFIRMED: CONTRADICTED, CONTRADICTED: CONFIRMED, UNRESOLVED: UNRESOLVED}
    assert judge(other, better).verdict == opposite[judge(better, other).verdict]


def test_two_seeds_are_no_verdict_however_large_the_effect() -> None:
    judged = judge([1.0, 1.0], [99.0, 99.1])
    assert judged.verdict == TOO_FEW and judged.interval is None
    assert judged.effect == pytest.approx(98.05)
    assert judge([], []).verdict == UNMEASURED and judge([], []).effect is None


def test_an_effect_as_large_as_the_spread_is_not_resolved() -> None:
    assert judge([10.0, 12.0, 11.0], [11.0, 11.5, 13.0]).verdict == UNRESOLVED
    assert judge([10.0, 12.0, 11.0], [12.0, 14.1, 12.9]).verdict == CONFIRMED


def test_seeds_are_paired() -> None:
    """Seeds differ by 20 points, the arms by one in each: only pairs show that."""
    assert judge([10.0, 20.0, 30.0], [11.0, 21.1, 30.9]).verdict == CONFIRMED
    with pytest.raises(ValueError, match="shorter"):
        judge([1.0, 2.0, 3.0], [1.0, 2.0])
