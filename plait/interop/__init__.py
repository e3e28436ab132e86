"""OP Stack interop: what a message between rollups is, and when executing it is valid. Pure functions.

Parts
    identifiers  where a log is and what it says: payload hash, log hash, checksum
    access_list  how a transaction declares the messages that it executes, and the strict reader of that
    messages     the three logs of the protocol, the messenger's message hash, and calldata that relays a message
    validity     one function per rule, with the OP Stack's error codes
    relays       from a log to the transaction that delivers it
    relay_fees   Plait's own: what a delivery earns, and the transaction that claims it
    cycles       messages of one timestamp must not depend on each other in a circle

Nothing here sequences anything; docs/interop.md has the rules in prose. Level 2: imports plait.types, plait.limits,
plait.errors and plait.native (Keccak-256 only); no clock, no IO.

Source: OP Stack specs, interop/{messaging,predeploys,derivation}.md; behaviour compared with op-supernode and
op-interop-filter, and with their published vectors (tests/conformance/vectors/interop_*.json).
"""

from plait.interop.access_list import Access, encode_accesses, join_inbox_keys, parse_access_list, parse_accesses
from plait.interop.cycles import SameTimeExecution, chains_in_cycles
from plait.interop.identifiers import Identifier, LogIndex, Message, MessageChainId
from plait.interop.messages import CROSS_L2_INBOX, MESSENGER, RELAY_DESK, RELAY_FEES, Log
from plait.interop.relay_fees import Claim, Delivered, Offer
from plait.interop.relays import Relay, relays_of
from plait.interop.validity import InteropChain, InteropSet, MessageRefusal, RpcCode

__all__ = [
    "CROSS_L2_INBOX",
    "MESSENGER",
    "RELAY_DESK",
    "RELAY_FEES",
    "Access",
    "Claim",
    "Delivered",
    "Identifier",
    "InteropChain",
    "InteropSet",
    "Log",
    "LogIndex",
    "Message",
    "MessageChainId",
    "MessageRefusal",
    "Offer",
    "Relay",
    "RpcCode",
    "SameTimeExecution",
    "chains_in_cycles",
    "encode_accesses",
    "join_inbox_keys",
    "parse_access_list",
    "parse_accesses",
    "relays_of",
]
