"""The one folder that knows every part: settings in, a wired study out."""

from interfaces.composition.opening import open_study

__all__ = ["open_study"]
