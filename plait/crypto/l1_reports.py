"""Signing and checking what validators report of the L1. Level 1."""

from plait.codec.l1_items import SignedReport, encode_report, report_message
from plait.native import ed25519_sign, ed25519_verify
from plait.types.consensus import ConsensusAddress, consensus_address
from plait.types.identifiers import NetworkId
from plait.types.l1 import L1Report


def reporter_of(public_key: bytes) -> ConsensusAddress:
    """Consensus address of a reporter's key."""
    return consensus_address(public_key)


def sign_report(network_id: NetworkId, report: L1Report, seed: bytes) -> bytes:
    """Canonical bytes of a report signed by the 32-byte seed of its `public_key`."""
    return encode_report(report, ed25519_sign(seed, report_message(network_id, report)))


def is_signed(network_id: NetworkId, signed: SignedReport) -> bool:
    """Whether the report's key signed it, for this network."""
    return ed25519_verify(signed.report.public_key, report_message(network_id, signed.report), signed.signature)
