"""Minutes, hours and days as people in a time zone count them, also when clocks are changed."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Literal, get_args
from zoneinfo import ZoneInfo, available_timezones

from domain.errors import Rejected

Bucket = Literal["minute", "hour", "day"]

MOST_BUCKETS = 10_000
LONGEST_BUCKET = timedelta(days=2)
_DAY = timedelta(days=1)
# What is looked at when nobody says since when: what fits well on a chart.
USUAL: dict[str, timedelta] = {"minute": timedelta(hours=3), "hour": timedelta(days=7), "day": timedelta(days=90)}


def bucket_named(name: str) -> Bucket:
    """A bucket by its name. Raises Rejected."""
    for each in get_args(Bucket):
        if name == each:
            found: Bucket = each
            return found
    raise Rejected(f"{name[:60]!r} is no bucket; use one of {', '.join(get_args(Bucket))}", fields=("bucket",))


def zone_named(name: str) -> ZoneInfo:
    """A time zone by its IANA name. Raises Rejected."""
    # Only names that there are: others would be looked for as files.
    if name not in _zones():
        raise Rejected(
            f"{name[:60]!r} is no time zone; use an IANA name such as Europe/Berlin, Asia/Kolkata or UTC",
            fields=("timezone",),
        )
    return ZoneInfo(name)


@cache
def _zones() -> frozenset[str]:
    return frozenset(available_timezones())


def bucket_starts(bucket: Bucket, zone: ZoneInfo, since: datetime, until: datetime) -> list[datetime]:
    """When each bucket begins that overlaps [since, until), in UTC, and at the end when the last one ends.

    A day is as long as it is in the zone: 23 or 25 hours when clocks are changed; an hour that comes twice is two
    buckets. Raises Rejected for more than 10,000.
    """
    starts: list[datetime] = []
    for start in _starts(bucket, zone, since):
        if not starts or start > starts[-1]:
            starts.append(start)
        if start >= until:
            return starts
        if len(starts) > MOST_BUCKETS:
            break
    raise Rejected(
        f"From {since.isoformat()} to {until.isoformat()} there are more than {MOST_BUCKETS:,} buckets of a {bucket}; "
        "take longer buckets, or a later since",
        fields=("bucket", "since", "until"),
    )


def _starts(bucket: Bucket, zone: ZoneInfo, since: datetime) -> Iterator[datetime]:
    local = since.astimezone(zone)
    if bucket == "day":
        day = datetime(local.year, local.month, local.day)  # noqa: DTZ001 - midnight of the zone, given below
        while True:
            yield day.replace(tzinfo=zone).astimezone(UTC)
            day += timedelta(days=1)
    step = timedelta(minutes=1) if bucket == "minute" else timedelta(hours=1)
    start = _floor(bucket, since.astimezone(UTC), zone)
    while True:
        # In no zone were clocks changed and changed back within a day, so that they go on as they do.
        if start.astimezone(zone).utcoffset() == (start + _DAY).astimezone(zone).utcoffset():
            yield from (start + number * step for number in range(_DAY // step))
            start += _DAY
        else:
            yield start
            start = _floor(bucket, start + step, zone)


def _floor(bucket: Bucket, at: datetime, zone: ZoneInfo) -> datetime:
    """When the local minute or hour began: what has passed of it is taken off, and no offset touched."""
    local = at.astimezone(zone)
    minutes = local.minute if bucket == "hour" else 0
    if not (minutes or local.second or local.microsecond):
        return at
    return at - timedelta(minutes=minutes, seconds=local.second, microseconds=local.microsecond)
