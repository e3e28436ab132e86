"""Fields of JSON-RPC objects, read strictly: what is missing or of another shape is a malformed answer.

Raises L1Refused `l1_block_malformed` with the name of the field, never a KeyError or ValueError of some library.
"""

from collections.abc import Mapping
from typing import Any

from plait.errors import L1Refused
from plait.types import Address, Hash32

Json = Mapping[str, Any]


def malformed(problem: str, **fields: Any) -> L1Refused:
    """The refusal of what an L1 node answered; `problem` continues the sentence."""
    return L1Refused(
        f"The L1 node answers something that cannot be true: {problem}. Use another L1 node.",
        code="l1_block_malformed",
        **fields,
    )


def as_object(value: Any, what: str) -> Json:
    """A JSON object. Raises L1Refused."""
    if not isinstance(value, dict):
        raise malformed(f"{what} is no object")
    return value


def as_list(value: Any, what: str) -> list[Any]:
    """A JSON array. Raises L1Refused."""
    if not isinstance(value, list):
        raise malformed(f"{what} is no array")
    return value


def as_bytes(value: Any, what: str, size: int | None = None) -> bytes:
    """Bytes written as 0x and digits, exactly `size` of them when it is given. Raises L1Refused."""
    if isinstance(value, str) and value[:2] == "0x":
        try:
            data = bytes.fromhex(value[2:])
        except ValueError:
            raise malformed(f"{what} is not hexadecimal") from None
        # fromhex passes over spaces
        if 2 * len(data) == len(value) - 2 and (size is None or len(data) == size):
            return data
    raise malformed(f"{what} is not 0x and {'an even number of' if size is None else 2 * size} digits")


def as_quantity(value: Any, what: str, maximum: int = 2**64 - 1) -> int:
    """An integer of 0 to `maximum` written as 0x and digits. Raises L1Refused."""
    if isinstance(value, str) and value[:2] == "0x" and 2 < len(value) <= 66 and value.isalnum():
        try:
            number = int(value[2:], 16)
        except ValueError:
            number = -1
        if 0 <= number <= maximum:
            return number
    raise malformed(f"{what} is no quantity of 0 to {maximum}")


def bytes_of(found: Json, name: str, size: int | None = None) -> bytes:
    """Field `name` as bytes. Raises L1Refused."""
    return as_bytes(found.get(name), name, size)


def hash_of(found: Json, name: str) -> Hash32:
    """Field `name` as 32 bytes. Raises L1Refused."""
    return Hash32(as_bytes(found.get(name), name, 32))


def address_of(found: Json, name: str) -> Address:
    """Field `name` as 20 bytes. Raises L1Refused."""
    return Address(as_bytes(found.get(name), name, 20))


def optional_address_of(found: Json, name: str) -> Address | None:
    """The same, None for null or a missing field. Raises L1Refused."""
    return None if found.get(name) is None else address_of(found, name)


def quantity_of(found: Json, name: str, maximum: int = 2**64 - 1) -> int:
    """Field `name` as a quantity. Raises L1Refused."""
    return as_quantity(found.get(name), name, maximum)
