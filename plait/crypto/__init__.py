"""Hashes, Merkle proofs and the commitments of a sub-block. Level 1."""
