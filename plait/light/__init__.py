"""A light client of a Plait network: what was decided, checked without a node of one's own.

From one trusted block it follows the commits of CometBFT's validators, and proves a rollup's ordered stream over a
range of slots: complete, in order, decided by more than two thirds of the voting power.

    from plait.client.light import RpcProvider
    from plait.light import Client, Trusted

    async with RpcProvider("http://127.0.0.1:8545") as node:
        client = Client(node, Trusted(height, block_hash))
        async for sub_block in client.sub_blocks(rollup_id, first_slot, last_slot):
            ...

Level 5: a library without IO; it asks a `Provider`. `plait.client.light` has the one that asks a node.
"""

from plait.errors import LightConflict, LightRefused
from plait.light.account import Account, Anchor
from plait.light.blocks import LightBlock, decode_light_block, encode_light_block
from plait.light.client import Client, Trusted
from plait.light.evidence import AttackKind, Evidence
from plait.light.provider import Provider, StreamProvider
from plait.light.stream import Item, ItemKind, SubBlock
from plait.light.verification import Policy, verify, verify_backwards

__all__ = [
    "Account",
    "Anchor",
    "AttackKind",
    "Client",
    "Evidence",
    "Item",
    "ItemKind",
    "LightBlock",
    "LightConflict",
    "LightRefused",
    "Policy",
    "Provider",
    "StreamProvider",
    "SubBlock",
    "Trusted",
    "decode_light_block",
    "encode_light_block",
    "verify",
    "verify_backwards",
]
