"""Identifiers. Sized by convention and checked where bytes enter the system (codec, RPC, native core)."""

from typing import NewType

Address = NewType("Address", bytes)
"""20 bytes: an account of a rollup."""

Hash32 = NewType("Hash32", bytes)
"""32 bytes: Keccak-256 of Ethereum objects, SHA-256 in Plait's own Merkle trees."""

ChainId = NewType("ChainId", int)
"""EIP-155 chain id, 1 to 2**64 - 1."""

NetworkId = NewType("NetworkId", int)
"""A sequencer network, 1 to 2**64 - 1; every proposal names it, so that none is valid on two networks."""

RollupId = NewType("RollupId", int)
"""A rollup's identity on the network; equal to its chain id, which every signed transaction already commits to."""

Height = NewType("Height", int)
"""Number of a decided sub-block; the first is 1, as in CometBFT."""

Slot = NewType("Slot", int)
"""Tick of the time grid that all rollups share, counted from the network's genesis time; the first is 0."""

SubIndex = NewType("SubIndex", int)
"""Position of a sub-block within its slot, from 0."""

BlockNumber = NewType("BlockNumber", int)
"""Number of a rollup's block; genesis is 0."""
