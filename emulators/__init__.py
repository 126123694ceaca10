"""Emulators of the outside services, for development and tests only: real wire, faults on request.

Never imported by `src`.
"""
