"""The views, in the order of the navigation; the first one is shown to whoever names none."""

from interfaces.dashboard import analytics, ask, calls, events, health
from interfaces.dashboard.page import View

VIEWS: tuple[View, ...] = (
    ask.VIEW,
    calls.VIEW,
    analytics.VIEW,
    events.VIEW,
    health.VIEW,
)
