"""The predeploys have the published interface: names, types, mutability, events with what they index, errors."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from plait.derivation.attributes import FORKS, Fork
from plait.interop.messages import (
    CROSS_L2_INBOX,
    ETH_BRIDGE,
    ETH_LIQUIDITY,
    MESSENGER,
    RELAY_DESK,
    RELAY_FEES,
    TOKEN_BRIDGE,
)
from plait.native import Rollup, Store, keccak256
from plait.rollups.contracts import artifact
from plait.rollups.embedded.genesis import ETH_LIQUIDITY_BALANCE, GenesisSpecification, genesis_document, genesis_json
from plait.types import ChainId, Seconds

ID = "(address,uint256,uint256,uint256,uint256)"

# OP Stack specs, interop/{predeploys,superchain-eth-bridge,token-bridging}.md and the published ABIs of version 1.3.1.
PUBLISHED: dict[str, set[str]] = {
    "CrossL2Inbox": {
        f"function validateMessage({ID},bytes32) nonpayable",
        f"function calculateChecksum({ID},bytes32) pure -> bytes32",
        "function version() pure -> string",
        f"event ExecutingMessage(bytes32 indexed,{ID})",
        "error NotInAccessList()", "error BlockNumberTooHigh()", "error TimestampTooHigh()", "error LogIndexTooHigh()",
    },
    "L2ToL2CrossDomainMessenger": {
        "function sendMessage(uint256,address,bytes) nonpayable -> bytes32",
        "function resendMessage(uint256,uint256,address,address,bytes) nonpayable -> bytes32",
        f"function relayMessage({ID},bytes) payable -> bytes",
        "function successfulMessages(bytes32) view -> bool",
        "function sentMessages(uint256) view -> bytes32",
        "function messageNonce() view -> uint256",
        "function messageVersion() view -> uint16",
        "function crossDomainMessageSender() view -> address",
        "function crossDomainMessageSource() view -> uint256",
        "function crossDomainMessageContext() view -> address,uint256",
        "function version() pure -> string",
        "event SentMessage(uint256 indexed,address indexed,uint256 indexed,address,bytes)",
        "event RelayedMessage(uint256 indexed,uint256 indexed,bytes32 indexed,bytes32)",
        "error NotEntered()", "error ReentrantCall()", "error IdOriginNotL2ToL2CrossDomainMessenger()",
        "error EventPayloadNotSentMessage()", "error MessageDestinationSameChain()",
        "error MessageDestinationNotRelayChain()", "error MessageTargetL2ToL2CrossDomainMessenger()",
        "error MessageAlreadyRelayed()", "error InvalidMessage()",
    },
    "SuperchainETHBridge": {
        "function sendETH(address,uint256) payable -> bytes32",
        "function relayETH(address,address,uint256) nonpayable",
        "function version() pure -> string",
        "event SendETH(address indexed,address indexed,uint256,uint256)",
        "event RelayETH(address indexed,address indexed,uint256,uint256)",
        "error Unauthorized()", "error InvalidCrossDomainSender()", "error ZeroAddress()",
    },
    "ETHLiquidity": {
        "function burn() payable", "function mint(uint256) nonpayable", "function version() pure -> string",
        "event LiquidityBurned(address indexed,uint256)", "event LiquidityMinted(address indexed,uint256)",
        "error Unauthorized()",
    },
    "SuperchainTokenBridge": {
        "function sendERC20(address,address,uint256,uint256) nonpayable -> bytes32",
        "function relayERC20(address,address,address,uint256) nonpayable",
        "function version() pure -> string",
        "event SendERC20(address indexed,address indexed,address indexed,uint256,uint256)",
        "event RelayERC20(address indexed,address indexed,address indexed,uint256,uint256)",
        "error Unauthorized()", "error InvalidCrossDomainSender()", "error InvalidERC7802()", "error ZeroAddress()",
    },
}  # fmt: skip

# First four bytes of keccak256, as block explorers and client libraries know them
SELECTORS = {
    f"validateMessage({ID},bytes32)": "ab4d6f75",
    f"relayMessage({ID},bytes)": "8d1d298f",
    "sendMessage(uint256,address,bytes)": "7056f41f",
    "crosschainMint(address,uint256)": "18bf5077",
    "crosschainBurn(address,uint256)": "2b8c49e3",
    "NotInAccessList()": "e3c00816",
}


def type_of(parameter: dict[str, Any]) -> str:
    text = str(parameter["type"])
    if text.startswith("tuple"):
        return "(" + ",".join(map(type_of, parameter["components"])) + ")" + text[5:]
    return text


def described(entry: dict[str, Any]) -> str:
    indexed = [" indexed" if parameter.get("indexed") else "" for parameter in entry["inputs"]]
    types = (type_of(parameter) + mark for parameter, mark in zip(entry["inputs"], indexed, strict=True))
    text = f"{entry['type']} {entry['name']}({','.join(types)})"
    if entry["type"] == "function":
        text += f" {entry['stateMutability']}"
        if entry["outputs"]:
            text += " -> " + ",".join(map(type_of, entry["outputs"]))
    return text


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_interface_is_the_published_one(name: str) -> None:
    """Nothing is missing and nothing is there that is not published."""
    assert {described(entry) for entry in artifact(name).abi} == PUBLISHED[name]


@pytest.mark.parametrize("signature", SELECTORS)
def test_selectors(signature: str) -> None:
    """Selectors as published, so that foreign tools and contracts reach these functions."""
    assert keccak256(signature.encode())[:4].hex() == SELECTORS[signature]


def page_of(name: str) -> set[str]:
    """What docs/interop.md says that a contract of Plait's own has, without the names of parameters."""
    page = (Path(__file__).resolve().parents[3] / "docs/interop.md").read_text()
    block = page.split(f"\n{name}\n", 1)[1].split("\n\n", 1)[0].split("\n```", 1)[0]
    lines = set()
    for line in block.replace("Identifier ", f"{ID} ").splitlines():
        kind, rest = line.strip().split(" ", 1)
        given, _, returned = rest.partition(" returns ")
        head, _, tail = given.rpartition(")")
        called, _, arguments = head.partition("(")
        marks = [" indexed" if " indexed " in argument else "" for argument in split(arguments)]
        types = ",".join(first + mark for first, mark in zip(types_of(arguments), marks, strict=True))
        text = f"{kind} {called}({types})"
        if kind == "function":
            text += f" {tail.strip() or 'nonpayable'}"
            if returned:
                text += " -> " + ",".join(types_of(returned.removeprefix("(").removesuffix(")")))
        lines.add(text)
    return lines


def split(arguments: str) -> list[str]:
    """At the commas outside of parentheses."""
    parts = re.split(r",\s*(?![^()]*\))", arguments)
    return [part.strip() for part in parts if part.strip()]


def types_of(arguments: str) -> list[str]:
    return [argument.split(" ", 1)[0] for argument in split(arguments)]


@pytest.mark.parametrize("name", ["RelayDesk", "RelayFees"])
def test_the_page_has_the_interface_of_the_relay_contracts(name: str) -> None:
    """Every function, event and error with its types, and nothing that is not there."""
    assert {described(entry) for entry in artifact(name).abi} == page_of(name)


@pytest.mark.parametrize("fork", FORKS)
def test_genesis_holds_them_when_asked_only(fork: Fork) -> None:
    """The option adds seven accounts and changes no other; without it none is there."""
    plain = GenesisSpecification(chain_id=ChainId(901), timestamp=Seconds(1_700_000_000), fork=fork)
    interop = GenesisSpecification(chain_id=ChainId(901), timestamp=Seconds(1_700_000_000), fork=fork, interop=True)
    without, with_them = genesis_document(plain), genesis_document(interop)
    standard = (CROSS_L2_INBOX, MESSENGER, ETH_BRIDGE, ETH_LIQUIDITY, TOKEN_BRIDGE)
    added = {address.hex() for address in (*standard, RELAY_DESK, RELAY_FEES)}
    assert set(with_them["alloc"]) - set(without["alloc"]) == added
    assert {key: with_them["alloc"][key] for key in without["alloc"]} == without["alloc"]
    assert with_them | {"alloc": None} == without | {"alloc": None}
    rollup = Rollup.from_genesis(genesis_json(interop), Store.in_memory())
    assert [balance for _, balance, _ in rollup.accounts([CROSS_L2_INBOX, ETH_LIQUIDITY], 0)] == [
        0,
        ETH_LIQUIDITY_BALANCE,
    ]
