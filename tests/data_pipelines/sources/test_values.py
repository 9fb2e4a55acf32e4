import math
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_pipelines.sources import values

MOMENT = datetime(2024, 3, 1, 12, 30, 15, tzinfo=UTC)
SECONDS = 1_709_296_215  # `date -u -d "2024-03-01 12:30:15" +%s`


@pytest.mark.parametrize(
    ("cell", "number"),
    [
        *[(12, 12), (12.0, 12), ("12", 12), (" 12.0 ", 12), ("-3", -3), (0, 0), ("1e3", 1000), (Decimal("7.0"), 7)],
        *[(cell, None) for cell in (None, "", " ", "NaN", "null", "None", "n/a", math.nan)],
    ],
)
def test_counts(cell, number):
    assert values.whole(cell) == number
    assert type(values.whole(cell)) is type(number)


@pytest.mark.parametrize("cell", ["many", "3.5", 4.5, True, [1], {}, MOMENT, math.inf, "inf", 10**30, "1" * 40])
def test_what_is_no_count(cell):
    with pytest.raises((ValueError, TypeError, OverflowError)):
        values.whole(cell)


@pytest.mark.parametrize(
    "cell",
    [
        *[SECONDS, float(SECONDS), str(SECONDS), f"{SECONDS}.9", SECONDS * 1000, f"{SECONDS}999", SECONDS * 10**9],
        *["2024-03-01T12:30:15Z", "2024-03-01 12:30:15", "2024-03-01 12:30:15 UTC", "2024-03-01T13:30:15.25+01:00"],
        *[MOMENT, MOMENT.replace(tzinfo=None), MOMENT.astimezone(timezone(timedelta(hours=-7)))],
    ],
)
def test_times(cell):
    assert values.epoch(cell) == SECONDS


def test_days_and_missing_times():
    assert values.epoch("2024-03-01") == values.epoch(date(2024, 3, 1)) == 1_709_251_200
    assert [values.epoch(cell) for cell in (None, "", 0, "0", math.nan, "null")] == [None] * 6


@pytest.mark.parametrize("cell", ["soon", "2024", 2024, "20240301", -5, True, [], 10**25, math.inf, "1969-12-31"])
def test_what_is_no_time(cell):
    with pytest.raises((ValueError, TypeError, OverflowError)):
        values.epoch(cell)


@given(
    st.datetimes(datetime(1981, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC)),
    st.sampled_from([1, 1000, 10**6, 10**9]),
)
def test_the_unit_of_a_number_is_told_by_its_size(moment, unit):
    seconds = (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(seconds=1)
    assert values.epoch(seconds * unit) == values.epoch(str(seconds * unit)) == values.epoch(moment) == seconds
    assert values.epoch(moment.isoformat()) == seconds


def test_texts_and_names():
    assert values.text(" a\r\nb\u200b\xa0c ") == "a\nb c"
    assert values.text(b"\xc3\xbc") == "ü" and values.text("\ud800") == "?"
    assert [values.text(cell) for cell in (None, math.nan, 42)] == ["", "", "42"]
    assert [values.label(cell) for cell in (12.0, 12, " t1 ", "", None)] == ["12", "12", "t1", None, None]
    for cell in ([], {}, True):
        with pytest.raises(ValueError):
            values.text(cell)
    for cell in (None, "", " ", math.nan):
        with pytest.raises(ValueError):
            values.identifier(cell)


def test_a_digest_is_of_the_text_alone():
    assert values.digest("a text") == values.digest("a text") != values.digest("a text.")
    assert values.digest("a", "b") != values.digest("ab")
