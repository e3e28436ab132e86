"""Whether a block follows from a trusted one: adjacent, skipping over heights, or backwards. CometBFT's rules.

1. The trusted block is not older than the trusting period: its validators can still be punished for what they sign.
2. The new block's parts belong together, it is of the same chain, higher and later, and not from the future.
3. Adjacent: its validators are those that the trusted header names as the next ones.
   Skipping: more than the trust level (1/3) of the trusted validators' power signed it, so that one who is honest did.
4. More than two thirds of its own validators' power signed it.
5. Backwards: the older header's hash is what the trusted header names as its last block.

Source: CometBFT v0.38 spec/light-client/verification, light/verifier.go. Pure: the time comes as an argument.
"""

from fractions import Fraction
from typing import Final

import msgspec

from plait.errors import LightRefused
from plait.light.blocks import LightBlock, format_time
from plait.light.commits import Verify, check_light, check_trusting
from plait.light.headers import Header
from plait.light.protobuf import NANOSECONDS
from plait.limits import LIGHT_CLOCK_DRIFT_S, LIGHT_TRUSTING_PERIOD_S
from plait.native import ed25519_verify_many

TRUST_LEVEL_MIN: Final = Fraction(1, 3)


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """What a light client is ready to believe."""

    trusting_period_ns: int = LIGHT_TRUSTING_PERIOD_S * NANOSECONDS
    """Shorter than the network's unbonding period, or validators that have left can show a false chain for free."""
    clock_drift_ns: int = LIGHT_CLOCK_DRIFT_S * NANOSECONDS
    trust_level: Fraction = TRUST_LEVEL_MIN
    """Share of a trusted set's power that must sign a block some heights later; 1/3 to 1."""

    def check(self) -> None:
        """Raises LightRefused `light_policy_invalid`."""
        if not TRUST_LEVEL_MIN <= self.trust_level <= 1 or self.trusting_period_ns <= 0 or self.clock_drift_ns < 0:
            raise LightRefused(
                "The trust level lies in 1/3 to 1, the trusting period above 0, and the clock drift is not negative.",
                code="light_policy_invalid",
            )


def verify(
    trusted: LightBlock,
    new: LightBlock,
    *,
    now_ns: int,
    policy: Policy,
    signatures: Verify = ed25519_verify_many,
) -> int:
    """Checks that `new`, above `trusted`, was decided.

    Args:
        trusted: verified before.
        new: as a provider shows it.
        now_ns: this computer's time, nanoseconds since the Unix epoch.
        policy: what to believe.
        signatures: who checks signatures.

    Returns:
        The power of the new block's validators whose signatures were checked.

    Raises:
        LightRefused: `light_trust_insufficient` when a block in between may help; any other code means that the block
            is not to be believed (docs/errors.md).
    """
    check_not_expired(trusted.header, now_ns=now_ns, policy=policy)
    new.check(trusted.header.chain_id)
    _check_times(trusted.header, new.header, now_ns=now_ns, policy=policy)
    chain_id = trusted.header.chain_id
    if new.height == trusted.height + 1:
        if new.header.validators_hash != trusted.header.next_validators_hash:
            raise LightRefused(
                f"The validators of height {new.height} are not those that height {trusted.height} names as the next.",
                code="light_next_validators_mismatch", height=new.height,
            )  # fmt: skip
    else:
        check_trusting(chain_id, trusted.validators, new.commit, policy.trust_level, signatures)
    # Last: the new set's size is the provider's to choose, and each of its signatures costs time.
    return check_light(chain_id, new.validators, new.commit, signatures)


def verify_backwards(older: Header, trusted: Header) -> None:
    """Checks that `older` is the block right below `trusted`.

    Raises:
        LightRefused: `light_block_malformed`, `light_chain_wrong`, `light_time_wrong`, `light_last_block_mismatch`.
    """
    older.check()
    if older.chain_id != trusted.chain_id:
        raise LightRefused(
            f"The block is of chain {older.chain_id!r}, not of {trusted.chain_id!r}.",
            code="light_chain_wrong", height=older.height, chain_id=older.chain_id,
        )  # fmt: skip
    if older.time_ns >= trusted.time_ns:
        raise _time_wrong(older, f"not before height {trusted.height} at {format_time(trusted.time_ns)}")
    if older.hash != trusted.last_block_id.hash:
        raise LightRefused(
            f"Height {trusted.height} follows block {trusted.last_block_id.hash.hex()}; shown is {older.hash.hex()}.",
            code="light_last_block_mismatch", height=older.height,
        )  # fmt: skip


def check_not_expired(trusted: Header, *, now_ns: int, policy: Policy) -> None:
    """Raises LightRefused `light_trust_expired` when `trusted` is older than the trusting period."""
    if trusted.time_ns + policy.trusting_period_ns <= now_ns:
        raise LightRefused(
            f"The trusted block of height {trusted.height} is from {format_time(trusted.time_ns)}, longer ago than the "
            f"trusting period of {policy.trusting_period_ns // NANOSECONDS} s. Take a newer height and hash from a "
            "source you trust.",
            code="light_trust_expired", height=trusted.height, time_ns=trusted.time_ns,
        )  # fmt: skip


def _check_times(trusted: Header, new: Header, *, now_ns: int, policy: Policy) -> None:
    if new.height <= trusted.height:
        raise LightRefused(
            f"Height {new.height} is not above the trusted height {trusted.height}.",
            code="light_height_wrong", height=new.height, expected=trusted.height + 1,
        )  # fmt: skip
    if new.time_ns <= trusted.time_ns:
        raise _time_wrong(new, f"not after height {trusted.height} at {format_time(trusted.time_ns)}")
    if new.time_ns >= now_ns + policy.clock_drift_ns:
        raise _time_wrong(new, "ahead of this computer's clock; check that the clock is right")


def _time_wrong(header: Header, reason: str) -> LightRefused:
    return LightRefused(
        f"Height {header.height} is from {format_time(header.time_ns)}, {reason}.",
        code="light_time_wrong", height=header.height, time_ns=header.time_ns,
    )  # fmt: skip
