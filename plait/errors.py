"""The tree of errors. Every class has a stable `code`; its message is a sentence that says what to do.

PlaitError
├── InvalidInput            what came from outside is refused; nothing changed
│   ├── CodecError          bytes are not the canonical encoding of anything
│   ├── TransactionRefused  a transaction is not admitted (code from the list in docs/errors.md)
│   ├── BundleRefused       a bundle is not admitted, or a request about one is refused (codes in docs/errors.md)
│   ├── ActionRefused       a ledger action is not admitted or not applicable (codes in docs/errors.md)
│   ├── ProposalRefused     a proposal is not valid (code names the violated rule)
│   ├── MessageRefused      bytes or numbers that no interop message, event or access list has (codes in plait/interop)
│   ├── LightRefused        a light client does not accept what it was shown (codes light_* in docs/errors.md)
│   │   └── LightConflict   two providers show different blocks of one height, both signed: somebody is under attack
│   ├── SnapshotRefused     a snapshot of another node is not what the network agreed on (codes in docs/errors.md)
│   ├── L1Refused           what an L1 node answers cannot be true, or it is another chain's node (codes l1_*)
│   ├── ConfigurationError  a parameter or file is not usable
│   └── RequestRefused      an RPC request is not acceptable
├── Unavailable             right request, not now or not here (state pruned, still starting, limit reached)
└── InvariantBroken         a bug or a damaged disk: the node stops rather than go on

Level 0: imports nothing of Plait. Bad input is refused; a broken invariant stops the node.
"""

from typing import Any, ClassVar


class PlaitError(Exception):
    """Root of all errors of Plait. `fields` are the offending values, for logs and `error.data` of RPC answers."""

    code: str = "plait_error"
    default_code: ClassVar[str] = "plait_error"

    def __init__(self, message: str, *, code: str | None = None, **fields: Any) -> None:
        super().__init__(message)
        self.code = code if code is not None else self.default_code
        self.message = message
        self.fields = fields


class InvalidInput(PlaitError):
    """Input from outside that is refused; nothing of it remains."""

    default_code = "invalid_input"


class CodecError(InvalidInput):
    """Bytes that are not the one canonical encoding of the expected type."""

    default_code = "codec_invalid"


class TransactionRefused(InvalidInput):
    """A transaction that the pool does not admit."""

    default_code = "transaction_refused"


class BundleRefused(InvalidInput):
    """A bundle that the pool does not admit, or a request about a bundle that is refused."""

    default_code = "bundle_refused"


class ActionRefused(InvalidInput):
    """A ledger action that the pool does not admit or that the ledger's state refuses; it leaves no trace."""

    default_code = "action_refused"


class ProposalRefused(InvalidInput):
    """A proposal that breaks a rule of the protocol; `code` names the rule."""

    default_code = "proposal_refused"


class MessageRefused(InvalidInput):
    """Something that no interop message, event or access list can be; `code` names what is wrong with it."""

    default_code = "message_refused"


class LightRefused(InvalidInput):
    """What a provider shows does not follow from what a light client trusts; `code` names the check that failed."""

    default_code = "light_refused"


class LightConflict(LightRefused):
    """Two providers prove different blocks of one height; `fields["evidence"]` holds both."""

    default_code = "light_conflict"


class SnapshotRefused(InvalidInput):
    """A snapshot of another node, or a piece of one, that is not what the network agreed on."""

    default_code = "snapshot_refused"


class L1Refused(InvalidInput):
    """An answer of an L1 node that its own hashes refute, or a refusal that it gave; `code` says which."""

    default_code = "l1_refused"


class ConfigurationError(InvalidInput):
    """A parameter, file or combination of both that cannot be used."""

    default_code = "configuration_invalid"


class RequestRefused(InvalidInput):
    """An RPC request that is not acceptable."""

    default_code = "request_refused"


class Unavailable(PlaitError):
    """A well-formed request for something that is not there, not yet there, or over a limit."""

    default_code = "unavailable"


class InvariantBroken(PlaitError):
    """Something that must never happen did: the node stops so that nothing wrong is signed or stored."""

    default_code = "invariant_broken"
