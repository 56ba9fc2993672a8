"""Minutes, hours and days as a time zone counts them."""

import random
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo, available_timezones

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.errors import Rejected
from domain.time_buckets import MOST_BUCKETS, Bucket, bucket_named, bucket_starts, zone_named

NEVER = datetime.min.replace(tzinfo=UTC)


def starts(bucket: Bucket, zone: str, since: str, until: str) -> list[str]:
    found = bucket_starts(bucket, zone_named(zone), at(since), at(until))
    return [start.astimezone(zone_named(zone)).strftime("%d %H:%M %z") for start in found]


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def test_the_day_on_which_clocks_go_forward_has_23_hours():
    days = bucket_starts("day", zone_named("Europe/Berlin"), at("2026-03-28T12:00"), at("2026-03-30T12:00"))
    assert [later - earlier for earlier, later in pairwise(days)] == [
        timedelta(hours=24),
        timedelta(hours=23),
        timedelta(hours=24),
    ]


def test_the_hour_that_comes_twice_is_two_buckets():
    found = starts("hour", "Europe/Berlin", "2026-10-24T23:30", "2026-10-25T02:00")
    assert found == ["25 01:00 +0200", "25 02:00 +0200", "25 02:00 +0100", "25 03:00 +0100"]


def test_where_clocks_change_by_half_an_hour_no_time_is_lost_or_counted_twice():
    found = bucket_starts("hour", zone_named("Australia/Lord_Howe"), at("2026-04-04T12:00"), at("2026-04-04T18:00"))
    assert found == sorted(set(found))
    assert found[0] <= at("2026-04-04T12:00")
    assert found[-1] >= at("2026-04-04T18:00")


@pytest.mark.parametrize(
    ("zone", "first"),
    [("Asia/Kolkata", "01 05:00 +0530"), ("Asia/Kathmandu", "01 05:00 +0545"), ("UTC", "01 00:00 +0000")],
)
def test_hours_are_those_of_the_zones_clock(zone, first):
    assert starts("hour", zone, "2026-03-01T00:00", "2026-03-01T01:00")[0] == first


def test_a_day_that_a_zone_left_out_is_none():
    found = starts("day", "Pacific/Apia", "2011-12-29T20:00", "2011-12-31T20:00")
    assert [each[:2] for each in found] == ["29", "31", "01", "02"]


def test_a_day_without_a_midnight_begins_when_it_begins():
    assert starts("day", "America/Sao_Paulo", "2018-11-04T12:00", "2018-11-04T13:00")[0] == "04 01:00 -0200"


def test_minutes_are_whole():
    assert starts("minute", "UTC", "2026-03-01T00:00:59", "2026-03-01T00:02") == [
        "01 00:00 +0000",
        "01 00:01 +0000",
        "01 00:02 +0000",
    ]


def test_there_may_be_ten_thousand_and_no_more():
    since = at("2026-03-01")
    found = bucket_starts("minute", zone_named("UTC"), since, since + timedelta(minutes=MOST_BUCKETS))
    assert len(found) == MOST_BUCKETS + 1
    with pytest.raises(Rejected, match="take longer buckets"):
        bucket_starts("minute", zone_named("UTC"), since, since + timedelta(minutes=MOST_BUCKETS + 1))


@given(
    st.sampled_from(sorted(available_timezones())),
    st.datetimes(datetime(1900, 1, 1), datetime(2037, 1, 1)),  # noqa: DTZ001 - in UTC, below
    st.integers(0, 2**31),
    st.sampled_from(["hour", "minute"]),
)
def test_every_bucket_begins_where_the_clock_shows_it(name, about, chance, bucket):
    zone, chances = ZoneInfo(name), random.Random(chance)
    # Half of the times near a change of clocks, if there is one within two years.
    days = [about.replace(tzinfo=UTC) + timedelta(days=day) for day in range(730)]
    changes = [one for one, next_ in pairwise(days) if offset(one, zone) != offset(next_, zone)]
    since = chances.choice(changes or days) + timedelta(seconds=chances.randrange(86400))
    step = timedelta(**{f"{bucket}s": 1})
    found = bucket_starts(bucket, zone, since, since + 50 * step)
    expected = [begun(since, zone, step)]
    while expected[-1] < since + 50 * step:
        expected.append(begun(expected[-1] + step, zone, step))
    assert found == [start for place, start in enumerate(expected) if start > max(expected[:place], default=NEVER)]


def offset(at: datetime, zone: ZoneInfo) -> timedelta | None:
    return at.astimezone(zone).utcoffset()


def begun(at: datetime, zone: ZoneInfo, step: timedelta) -> datetime:
    """Back to where the clock showed a whole hour, or minute."""
    local = at.astimezone(zone)
    minutes = local.minute if step == timedelta(hours=1) else 0
    return at - timedelta(minutes=minutes, seconds=local.second, microseconds=local.microsecond)


@pytest.mark.parametrize("name", ["Mars/Base", "", "../../etc/passwd", "europe\x00", "CEST" * 99])
def test_an_unknown_zone_is_refused_in_words(name):
    with pytest.raises(Rejected, match="use an IANA name") as refused:
        zone_named(name)
    assert refused.value.fields == ("timezone",)


def test_an_unknown_bucket_is_refused_in_words():
    with pytest.raises(Rejected, match="minute, hour, day"):
        bucket_named("week")
