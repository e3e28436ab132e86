"""Which links a set of faults breaks. Pure: the supervisor applies the answer to its proxies.

A node can be disconnected from all others, and the network can be parted into groups; a link is broken when either
says so, and cut is stronger than silent.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from plait.errors import RequestRefused
from plait.testnet.links import LinkState


class Faults:
    """The faults of links in force."""

    def __init__(self) -> None:
        self.disconnected: dict[str, LinkState] = {}
        self.groups: tuple[frozenset[str], ...] = ()
        self._between_groups: LinkState = "open"

    def disconnect(self, name: str, state: LinkState) -> None:
        """Separates one node from all others; `open` connects it again."""
        if state == "open":
            self.disconnected.pop(name, None)
        else:
            self.disconnected[name] = state

    def partition(self, groups: Sequence[Iterable[str]], names: Iterable[str], state: LinkState) -> None:
        """Parts the network. Nodes in no group make one more group.

        Args:
            groups: disjoint sets of names.
            names: of all nodes.
            state: of the links between groups.

        Raises:
            RequestRefused: `partition_invalid` when a node is unknown or in two groups, or there is one group only.
        """
        known = set(names)
        parts = [frozenset(group) for group in groups if group]
        for part in parts:
            for name in sorted(part - known):
                raise RequestRefused(f"There is no node {name!r} to part from others.", code="partition_invalid")
        rest = frozenset(known.difference(*parts)) if parts else frozenset(known)
        if rest:
            parts.append(rest)
        if len(parts) < 2 or sum(map(len, parts)) != len(known):
            raise RequestRefused(
                "A partition needs two groups at least, and no node in two of them.", code="partition_invalid"
            )
        self.groups, self._between_groups = tuple(parts), state

    def heal(self) -> None:
        """Takes every fault back."""
        self.disconnected.clear()
        self.groups = ()

    def forget(self, name: str) -> None:
        """A node that is removed has no faults."""
        self.disconnected.pop(name, None)
        self.groups = tuple(group - {name} for group in self.groups)

    def state_of(self, source: str, target: str) -> LinkState:
        """Of the link between two nodes, whichever dials."""
        states = [self.disconnected.get(source, "open"), self.disconnected.get(target, "open")]
        states.extend(self._between_groups for group in self.groups if (source in group) != (target in group))
        if "cut" in states:
            return "cut"
        return "silent" if "silent" in states else "open"
