"""Faces of a node: the interfaces of other programs of the OP Stack, answered by Plait so that those stay unmodified.

Each is off unless its setting is given, and listens on this machine only ([guide](docs/opstack/faces.md)).
"""
