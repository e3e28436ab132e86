"""Fuzzing of every decoder and of the RPC entries: seeded, guided by the lines that inputs reach, replayable.

`python -m sim.fuzz --list` names the targets, `python -m sim.fuzz batch --seconds 60` works on one of them.
"""
