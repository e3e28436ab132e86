"""Whether a step of the native core failed for want of state that another node holds (docs/opstack/remote-state.md).

Such a step left its session as it was, and may be tried again: its outcome does not depend on when the state comes.
"""

from typing import Final

from plait.native._core import NativeError

UNREAD_CODES: Final = frozenset({"remote_unavailable", "remote_proof_wrong", "remote_sibling_unknown"})
"""State that could not be read, was not what it must be, or cannot be found."""


def is_unread(error: BaseException) -> bool:
    """Whether this is such a failure, and no other."""
    return isinstance(error, NativeError) and error.code in UNREAD_CODES
