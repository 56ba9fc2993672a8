import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from domain.clustering.compilation import compiled
from domain.clustering.threads import at_most, in_parts, one_blas_thread, thread_count


def blas_threads():
    return {library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"}


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_results_come_in_the_order_of_the_parts_whichever_ends_first(threads):
    with at_most(threads):
        assert in_parts(lambda part: (time.sleep(0.002 * (5 - part)), part)[1], range(6)) == [0, 1, 2, 3, 4, 5]
        assert in_parts(len, []) == []


def test_as_many_threads_work_as_are_allowed_and_the_caller_is_one_of_them():
    together = threading.Barrier(3, timeout=10)

    def meet(_part):
        together.wait()
        return threading.get_ident()

    with at_most(3):
        assert threading.get_ident() in in_parts(meet, range(3))
    with at_most(1):
        assert set(in_parts(lambda _: threading.get_ident(), range(9))) == {threading.get_ident()}
    assert thread_count() >= 1


def test_a_part_can_be_cut_into_parts_however_many_there_are():
    with at_most(4):
        nested = in_parts(lambda outer: sum(in_parts(lambda inner: outer * inner, range(20))), range(100))
    assert nested == [190 * outer for outer in range(100)]


def test_the_first_error_is_raised_and_what_was_set_is_put_back():
    before = blas_threads()
    with at_most(2), pytest.raises(ZeroDivisionError):
        in_parts(lambda part: 1 // part, [1, 0, 2])
    assert blas_threads() == before


def test_blas_has_one_thread_until_the_last_one_inside_leaves():
    before = blas_threads()
    with one_blas_thread():
        with one_blas_thread():
            assert blas_threads() == {1}
        assert blas_threads() == {1}
        assert in_parts(lambda _: blas_threads(), range(3)) == [{1}] * 3
    assert blas_threads() == before


def in_a_thread_of_its_own(function):
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(function).result()


def test_any_thread_sets_and_lifts_the_limit_of_blas_whoever_did_before():
    def seen():
        with one_blas_thread():
            return blas_threads()

    with threadpool_limits(2):
        assert in_a_thread_of_its_own(seen) == {1}
        with one_blas_thread():
            assert in_a_thread_of_its_own(seen) == {1}
        assert blas_threads() == {2}
        leave = ExitStack()
        leave.enter_context(one_blas_thread())
        in_a_thread_of_its_own(leave.close)
        assert blas_threads() == {2}


def test_a_kernel_that_can_be_kept_nowhere_is_compiled_all_the_same():
    made = {}
    exec("def doubled(number):\n    return 2 * number", made)
    assert compiled("int64(int64)")(made["doubled"])(21) == 42
