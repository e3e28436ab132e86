"""Between ABCI's messages and Plait's types. Pure.

Times: CometBFT's are nanoseconds, agreed as they are; Plait's time of a height is that time in whole milliseconds,
rounded down. Level 5.
"""

from collections.abc import Iterable, Sequence

from plait.engines.cometbft.abci_pb2 import (
    CommitInfo,
    ExtendedCommitInfo,
    PublicKey,
    Timestamp,
)
from plait.engines.cometbft.abci_pb2 import Misbehavior as AbciMisbehavior
from plait.engines.cometbft.abci_pb2 import ValidatorUpdate as AbciValidatorUpdate
from plait.errors import CodecError
from plait.types import (
    Agreed,
    BlockIdFlag,
    CommitVote,
    ConsensusAddress,
    Height,
    Milliseconds,
    Misbehavior,
    MisbehaviorKind,
    ValidatorUpdate,
)

PROTO_BYTES_PER_TX_MAX = 6
"""What CometBFT counts for one transaction of a block beside its bytes: a tag and a varint of its length."""


def time_ms(time: Timestamp) -> Milliseconds:
    """Unix milliseconds, rounded down."""
    return Milliseconds(time.seconds * 1_000 + time.nanos // 1_000_000)


def timestamp(ms: Milliseconds) -> Timestamp:
    """The same moment on the wire."""
    return Timestamp(seconds=ms // 1_000, nanos=ms % 1_000 * 1_000_000)


def agreed_of(
    proposer_address: bytes, commit: CommitInfo | ExtendedCommitInfo, misbehavior: Iterable[AbciMisbehavior]
) -> Agreed:
    """What CometBFT agreed on about a block beside its content.

    Args:
        proposer_address: of the block's header.
        commit: of the height before; a proposer is told it in the extended form, which says the same.
        misbehavior: the block's evidence.

    Raises:
        CodecError: `agreed_invalid` when a flag or kind is none that ABCI 2.0 has.
    """
    try:
        return Agreed(
            proposer=ConsensusAddress(proposer_address),
            votes=tuple(
                [
                    CommitVote(
                        ConsensusAddress(vote.validator.address),
                        vote.validator.power,
                        BlockIdFlag(vote.block_id_flag),
                    )
                    for vote in commit.votes
                ]
            ),
            misbehavior=tuple([_misbehavior(one) for one in misbehavior]),
        )
    except ValueError as error:
        raise CodecError(f"what was agreed cannot be read: {error}", code="agreed_invalid") from error


def _misbehavior(one: AbciMisbehavior) -> Misbehavior:
    return Misbehavior(
        kind=MisbehaviorKind(one.type),
        address=ConsensusAddress(one.validator.address),
        power=one.validator.power,
        height=Height(one.height),
        time_ms=time_ms(one.time),
        total_power=one.total_voting_power,
    )


def validator_updates(updates: Sequence[ValidatorUpdate]) -> list[AbciValidatorUpdate]:
    """Changes of the validator set on the wire."""
    return [AbciValidatorUpdate(pub_key=PublicKey(ed25519=update.public_key), power=update.power) for update in updates]


def validators_of(updates: Iterable[AbciValidatorUpdate]) -> list[ValidatorUpdate]:
    """A validator set from the wire, ascending by key.

    Raises:
        CodecError: `key_type_unknown` when a key is not ed25519.
    """
    found = []
    for update in updates:
        if update.pub_key.WhichOneof("sum") != "ed25519":
            raise CodecError("a validator's key is not ed25519", code="key_type_unknown")
        found.append(ValidatorUpdate(update.pub_key.ed25519, update.power))
    return sorted(found, key=lambda validator: validator.public_key)


__all__ = ["PROTO_BYTES_PER_TX_MAX", "agreed_of", "time_ms", "timestamp", "validator_updates", "validators_of"]
