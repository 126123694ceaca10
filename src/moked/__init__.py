"""Moked: a real-time Hebrew phone agent that turns every call into a lead."""

import os

__version__ = "0.1.0"

# ONNX Runtime (1.29 and later) writes events and an identifier of the machine to a file and sends them to its maker,
# unless this is set before it is loaded (its Privacy.md). A telephone of other people's callers reports to nobody; a
# child process inherits it.
os.putenv("ORT_DISABLE_TELEMETRY", "1")
