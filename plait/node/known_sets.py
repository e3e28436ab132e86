"""The validator sets that a node has seen, by their hash: PlaitRegistry knows no more of its set than that.

With a directory they lie in `sets.json`, replaced whole, the newest L1_CHECKPOINT_SETS_KEPT of them. A file that cannot
be read counts as none: the sets of other nodes, and of the heights to come, take its place. Level 6.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec

from plait.codec.damage import DAMAGED
from plait.l1.attestations import AttestedValidator, set_hash
from plait.ledger.economy import Economy
from plait.limits import L1_CHECKPOINT_SETS_KEPT
from plait.storage import Files
from plait.types import Hash32

_FILE: Final = "sets.json"
_Set = tuple[AttestedValidator, ...]


def acting_set(economy: Economy) -> _Set:
    """The validators that act in the height after this ledger's, in the registry's order; empty without validators."""
    current = economy.rotation.current
    powers = dict(zip(current.addresses, current.powers, strict=True))
    found: list[AttestedValidator] = []
    for address in current.by_power():
        operator = economy.keys.get(address)
        validator = None if operator is None else economy.validators.get(operator)
        if operator is None or validator is None:
            return ()  # forgotten while its key still acts: the set of the next height has no such validator
        found.append(AttestedValidator(operator, validator.public_key, powers[address]))
    return tuple(found)


class KnownSets:
    """Sets by hash. Methods block for a disk sync when a set is new.

    Args:
        directory: exists; None keeps them in memory.
    """

    def __init__(self, directory: Path | None, files: Files | None = None) -> None:
        self._path = None if directory is None else directory / _FILE
        self._files = files or Files()
        self._sets: dict[Hash32, _Set] = {}
        if self._path is not None and self._path.exists():
            try:
                kept = msgspec.json.decode(self._path.read_bytes(), type=list[list[AttestedValidator]])
                self._sets = {set_hash(one): tuple(one) for one in kept[-L1_CHECKPOINT_SETS_KEPT:]}
            except (OSError, *DAMAGED):
                self._sets = {}

    def get(self, hash_: Hash32) -> _Set:
        """A set; empty when it is not known."""
        return self._sets.get(hash_, ())

    def add(self, validators: Sequence[AttestedValidator]) -> Hash32:
        """Keeps a set. Returns its hash. Raises OSError."""
        hash_ = set_hash(validators)
        if validators and hash_ not in self._sets:
            kept = [*self._sets.items(), (hash_, tuple(validators))][-L1_CHECKPOINT_SETS_KEPT:]
            self._sets = dict(kept)
            if self._path is not None:
                self._files.write_whole(self._path, msgspec.json.encode(list(self._sets.values())))
        return hash_


__all__ = ["KnownSets", "acting_set"]
