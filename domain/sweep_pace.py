"""How long the rest of a sweep will take, from the steps that are finished: a step's cost grows with its K."""

from collections.abc import Mapping, Sequence

import numpy as np

FEWEST_TO_FIT = 3


def remaining_seconds(
    durations_s: Mapping[int, float], missing: Sequence[int], *, at_once: int, since_s: float = 0.0
) -> float | None:
    """Seconds until all missing steps are done; None while no step tells how long one takes.

    durations_s: of finished steps by their K, each as long as it took among others
    at_once: how many steps are computed at a time
    since_s: how long ago the last step was finished; that much of the rest is done already

    A step costs a + b·K: both fitted once there are three finished steps, before that a is 0. Whatever is fitted, no
    step is expected to take less than nothing.
    """
    if not missing:
        return 0.0
    if not durations_s:
        return None
    fixed, each = _costs(durations_s)
    expected = [max(fixed + each * k, 0.0) for k in missing]
    # Spread over those that are computed at once, but never less than the longest one takes.
    whole = max(sum(expected) / max(1, at_once), *expected)
    return max(whole - since_s, 0.0)


def _costs(durations_s: Mapping[int, float]) -> tuple[float, float]:
    """What a step costs anyhow, and what each cluster adds, in seconds."""
    ks = np.array(list(durations_s), dtype=np.float64)
    seconds = np.array(list(durations_s.values()), dtype=np.float64)
    if len(ks) >= FEWEST_TO_FIT:
        each, fixed = np.polyfit(ks, seconds, 1)
        if each >= 0 and fixed >= 0:
            return float(fixed), float(each)
    return 0.0, float(seconds.sum() / ks.sum())
