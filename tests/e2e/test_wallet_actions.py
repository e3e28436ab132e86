"""ethers and viem, unmodified, sign every kind of ledger action as the node shows it, and the node finds the signer."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import msgspec
import pytest

from plait.codec.action import body_from_json, encode_action, typed_data
from plait.crypto.actions import recover_action
from plait.rollups.embedded.accounts import DEVELOPMENT_ACCOUNTS
from plait.types.action import Action

pytestmark = pytest.mark.node_js

REPOSITORY = Path(__file__).resolve().parents[2]
CLIENTS = REPOSITORY / "tests/e2e/clients"
VECTORS = msgspec.json.decode((REPOSITORY / "tests/conformance/vectors/action_v1.json").read_bytes())
SIGNER = DEVELOPMENT_ACCOUNTS[4]


def test_wallet_libraries_sign_every_kind_of_action() -> None:
    node = shutil.which("node")
    assert node is not None, "Node.js is missing; install it, then `npm ci` in tests/e2e/clients"
    assert (CLIENTS / "node_modules" / "viem").is_dir(), "run `npm ci` in tests/e2e/clients"
    bodies = [body_from_json(vector["name"], vector["fields"]) for vector in VECTORS]
    heads = [(vector["networkId"], vector["nonce"], int(vector["maxFee"])) for vector in VECTORS]
    documents = [typed_data(*head, body) for head, body in zip(heads, bodies, strict=True)]
    done = subprocess.run(
        [node, "sign_actions.mjs"],
        cwd=CLIENTS,
        input=json.dumps({"key": "0x" + SIGNER.private_key.hex(), "documents": documents}),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(lines) == len(VECTORS)
    for (network, nonce, fee), body, line in zip(heads, bodies, lines, strict=True):
        for library in ("ethers", "viem"):
            signature = bytes.fromhex(line[library][2:])
            raw = encode_action(Action(nonce=nonce, max_fee=fee, body=body, signature=signature))
            assert recover_action(raw, network).sender == SIGNER.address, (library, type(body).__name__)
