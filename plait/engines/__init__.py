"""Engines: adapters that reach agreement and drive the one `Application`. Level 5."""
