"""What decoding a file of our own raises when something else is in it than we wrote: half of it, other bytes, text that
is not UTF-8, other types, or JSON nested deeper than the stack. Level 0.

    try:
        found = msgspec.json.decode(path.read_bytes(), type=Kept)
    except DAMAGED as error:
        raise ConfigurationError(f"{path} cannot be read: {said(error)}.") from error
"""

from typing import Final

import msgspec

DAMAGED: Final = (msgspec.MsgspecError, ValueError, RecursionError)
"""`json`, `tomllib`, UTF-8 and base64 raise ValueErrors."""


def said(error: BaseException) -> str:
    """The reason in few words: what a decoder says of text that is not UTF-8 would quote it."""
    if isinstance(error, UnicodeDecodeError):
        return f"it is not UTF-8 at byte {error.start}"
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    return str(error)


__all__ = ["DAMAGED", "said"]
