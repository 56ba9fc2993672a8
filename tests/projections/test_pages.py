"""Pages on their way to the read models: in order, each once, ahead of time, and in batches that fit."""

import gc
from contextlib import closing

import pytest

from projections.pages import FIRST_BATCH, LARGEST_BATCH, SMALLEST_BATCH, BatchSize, SharedPages, without_collecting
from tests.projections.tallies import STREAM, happened


def positions(pages, *, limit, until=None, start=0):
    found = []
    while page := pages.page(after=found[-1] if found else start, limit=limit, until=until):
        found += [event.position for event in page]
    return found


@pytest.mark.parametrize("limit", [1, 7, 10, 30, 31])
def test_what_is_read_ahead_is_neither_skipped_nor_repeated(log, limit):
    log.write(STREAM, *(happened() for _ in range(30)))
    with closing(SharedPages(log)) as pages:
        assert positions(pages, limit=limit) == list(range(1, 31))
        assert positions(pages, limit=limit, until=17, start=3) == list(range(4, 18))


def test_limits_may_change_from_page_to_page(log):
    log.write(STREAM, *(happened() for _ in range(30)))
    with closing(SharedPages(log)) as pages:
        found = []
        for limit in (10, 3, 20, 1, 100):
            page = pages.page(after=found[-1] if found else 0, limit=limit, until=None)
            assert len(page) <= limit
            found += [event.position for event in page]
        assert found == list(range(1, len(found) + 1))


def test_events_that_come_after_the_end_was_read_ahead_are_found(log):
    log.write(STREAM, *(happened() for _ in range(5)))
    with closing(SharedPages(log)) as pages:
        assert len(pages.page(after=0, limit=5, until=None)) == 5  # and the end is read ahead
        log.write(STREAM, happened())
        pages.forget()
        assert [event.position for event in pages.page(after=5, limit=5, until=None)] == [6]


def test_batches_grow_while_they_are_fast_and_shrink_when_they_are_slow():
    size = BatchSize()
    assert size.events == FIRST_BATCH
    for _ in range(10):
        size.took(0.01)
    assert size.events == LARGEST_BATCH
    for _ in range(20):
        size.took(60)
    assert size.events == SMALLEST_BATCH
    assert BatchSize(largest=7).events == 7


def test_the_collector_is_as_it_was_after_a_batch_that_failed():
    def a_batch_that_fails():
        with without_collecting():
            return [gc.isenabled(), 1 / 0]

    with pytest.raises(ZeroDivisionError):
        a_batch_that_fails()
    assert gc.isenabled()
