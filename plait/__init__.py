"""Plait: a shared sequencer network for OP Stack rollups."""

__version__ = "0.1.0"
