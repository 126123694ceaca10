"""Moked: a real-time Hebrew phone agent that turns every call into a lead."""

__version__ = "0.1.0"
