"""The views, in the order of the navigation; the first one is shown to whoever names none."""

from interfaces.dashboard import analytics, ask, calls, events, groups, health, provenance, sweeps
from interfaces.dashboard.page import View

VIEWS: tuple[View, ...] = (
    ask.VIEW,
    calls.VIEW,
    analytics.VIEW,
    groups.VIEW,
    sweeps.VIEW,
    provenance.VIEW,
    events.VIEW,
    health.VIEW,
)
