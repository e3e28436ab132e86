"""The node's own account for delivering messages: it signs deliveries and claims, and holds the key of nothing else.

The builder asks for raw transactions and decides what they say; this signs them. The key comes from a file that only
its owner may read, 64 hexadecimal digits, or is the devnet's public one (accounts.DEVELOPMENT_RELAYER). It appears in
no log, error, argument or representation. Policy "paid" delivers what pays its own cost; "free" delivers all.

Signing is deterministic (RFC 6979): equal requests give equal bytes. Source: EIP-1559, EIP-2930, EIP-2.
"""

import os
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Literal, Self

from plait.codec.rlp import encode_bytes, encode_list, encode_uint
from plait.errors import ConfigurationError
from plait.native import keccak256, recover_signer, sign_digest
from plait.node.config import NetworkConfig, NodeConfig
from plait.rollups.embedded.accounts import DEVELOPMENT_RELAYER
from plait.types import Address, RollupId

RelayPolicy = Literal["free", "paid"]

_KEY_TEXT_BYTES_MAX: Final = 68
"""0x, 64 digits, a line end of one or two bytes."""
_DYNAMIC_FEE: Final = b"\x02"
"""Transaction type of EIP-1559."""


class LocalRelayer:
    """A relayer whose key is in this process.

    Args:
        private_key: 32 bytes; 1 to the group order less one.
        policy: "paid" delivers what pays its own cost, "free" delivers all.

    Raises:
        ConfigurationError: `relayer_key_malformed` for bytes that are no private key.
    """

    __slots__ = ("_private_key", "address", "policy")

    def __init__(self, private_key: bytes, *, policy: RelayPolicy) -> None:
        probe = keccak256(b"plait/relayer/address")
        signer = None
        if len(private_key) == 32:
            try:
                signer = recover_signer(probe, sign_digest(private_key, probe))
            except ValueError:
                signer = None
        if signer is None:
            # nothing of the cause, which might show the key
            raise ConfigurationError(
                "A relayer's key is 32 bytes, not zero and below the order of secp256k1.", code="relayer_key_malformed"
            )
        self._private_key = private_key
        self.address: Address = Address(signer)
        self.policy: RelayPolicy = policy

    def __repr__(self) -> str:
        """Without the key."""
        return f"LocalRelayer(address=0x{self.address.hex()}, policy={self.policy!r})"

    def __reduce__(self) -> tuple[object, ...]:
        """Refuses to be copied or pickled: the key stays where it is."""
        raise TypeError("a relayer holds a private key and is not copied")

    @classmethod
    def of_development(cls, *, policy: RelayPolicy) -> Self:
        """The relayer of a devnet, whose key is public."""
        return cls(DEVELOPMENT_RELAYER.private_key, policy=policy)

    @classmethod
    def from_key_file(cls, path: Path, *, policy: RelayPolicy) -> Self:
        """Reads the key from a file: 64 hexadecimal digits, with or without 0x, and a line end.

        Raises:
            ConfigurationError: `relayer_key_unreadable` when it is no file that can be read, `relayer_key_exposed` when
                another user could read or change it, `relayer_key_malformed`.
        """
        return cls(_read_key(path), policy=policy)

    def sign(
        self,
        rollup_id: RollupId,
        *,
        nonce: int,
        to: Address,
        data: bytes,
        gas_limit: int,
        max_fee_per_gas: int,
        max_priority_fee_per_gas: int,
        access_list: Sequence[tuple[bytes, Sequence[bytes]]],
    ) -> bytes:
        """Raw signed EIP-1559 transaction without value, for the rollup whose chain id is `rollup_id`.

        Args:
            nonce, gas_limit: 0 to 2**64 - 1.
            max_fee_per_gas, max_priority_fee_per_gas: wei.
            access_list: (address, storage keys) in order; EIP-2930.
        """
        fields = [
            encode_uint(rollup_id),
            encode_uint(nonce),
            encode_uint(max_priority_fee_per_gas),
            encode_uint(max_fee_per_gas),
            encode_uint(gas_limit),
            encode_bytes(to),
            encode_uint(0),
            encode_bytes(data),
            encode_list(
                encode_list((encode_bytes(address), encode_list(map(encode_bytes, keys))))
                for address, keys in access_list
            ),
        ]
        signature = sign_digest(self._private_key, keccak256(_DYNAMIC_FEE + encode_list(fields)))
        r, s, parity = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:64], "big"), signature[64]
        return _DYNAMIC_FEE + encode_list([*fields, encode_uint(parity), encode_uint(r), encode_uint(s)])


def relayer_of(config: NodeConfig, network: NetworkConfig) -> LocalRelayer | None:
    """The relayer that a node's configuration asks for: its own key's, or on a network with development accounts the
    public one; none for "off", and none where there is no key.

    Raises:
        ConfigurationError: as `LocalRelayer.from_key_file`.
    """
    if config.relay == "off":
        return None
    if config.relayer_key is not None:
        return LocalRelayer.from_key_file(config.relayer_key, policy=config.relay)
    return LocalRelayer.of_development(policy=config.relay) if network.development_accounts else None


def _read_key(path: Path) -> bytes:
    """The key in a file. What is checked is the opened file, so that no other one takes its place in between."""
    try:
        # without O_NONBLOCK a named pipe would hold the node up
        with open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)) as file:
            state = os.fstat(file.fileno())
            text = file.read(_KEY_TEXT_BYTES_MAX + 1) if stat.S_ISREG(state.st_mode) else None
    except OSError as error:
        raise ConfigurationError(
            f"The relayer's key file {path} cannot be read: {error.strerror}.", code="relayer_key_unreadable"
        ) from error
    if text is None:
        raise ConfigurationError(f"The relayer's key {path} is not a file.", code="relayer_key_unreadable")
    if state.st_mode & 0o077 or state.st_uid != os.geteuid():
        raise ConfigurationError(
            f"The relayer's key file {path} must belong to the user of the node and be closed to all others: "
            f"chmod 600 {path}.",
            code="relayer_key_exposed",
        )
    digits = text.strip().removeprefix(b"0x")
    try:
        whole = len(text) <= _KEY_TEXT_BYTES_MAX and len(digits) == 64
        key = bytes.fromhex(digits.decode("ascii")) if whole else b""
    except ValueError:
        key = b""
    if len(key) != 32:
        # neither the text nor the decoder's complaint, which quotes it
        raise ConfigurationError(
            f"The relayer's key file {path} must hold 64 hexadecimal digits and nothing else.",
            code="relayer_key_malformed",
        )
    return key
