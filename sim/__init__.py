"""The laboratory: virtual clock, seeded worlds of several nodes, faults, byzantine proposers and independent checkers.

Imports plait, never the reverse. Everything random comes from one `random.Random(seed)`; nothing reads a clock, a file
or the environment, so a seed is a complete description of a run.
"""
