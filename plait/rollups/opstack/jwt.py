"""How a caller of the Engine API proves that it may: a JSON Web Token over a secret that both sides read from a file.

Specification (execution-apis, engine/authentication)
    - The secret is 32 bytes; its file holds them as 64 hexadecimal digits, with or without 0x.
    - A token is base64url(header).base64url(claims).base64url(HMAC-SHA-256), header {"alg":"HS256","typ":"JWT"}, claims
      {"iat": seconds}; engines take tokens issued within 60 s of their own clock.
The secret is never logged, never an argument of a command, and never part of an error. Level 5.
"""

import base64
import hashlib
import hmac
import stat
from pathlib import Path
from typing import Final

from plait.errors import ConfigurationError
from plait.limits import ENGINE_SECRET_FILE_BYTES_MAX

SECRET_BYTES: Final = 32


def read_secret(path: Path) -> bytes:
    """The 32 bytes of a secret file.

    Args:
        path: file that the engine was started with (`--authrpc.jwtsecret`).

    Raises:
        ConfigurationError: `engine_jwt_unusable`: the file is missing, not a file, readable for everybody, too long or
        not 64 hexadecimal digits.
    """
    try:
        state = path.stat()
        if not stat.S_ISREG(state.st_mode):
            raise _unusable(path, "is not a file")
        if state.st_mode & stat.S_IRWXO:
            raise _unusable(path, "may be read by everybody on this machine; run `chmod o-rwx` on it")
        with path.open("rb") as file:
            text = file.read(ENGINE_SECRET_FILE_BYTES_MAX + 1)
    except OSError as error:
        raise _unusable(path, f"cannot be read ({error.strerror})") from None
    digits = text.strip().removeprefix(b"0x")
    try:
        secret = bytes.fromhex(digits.decode("ascii"))
    except ValueError:
        secret = b""
    if len(secret) != SECRET_BYTES or len(digits) != 2 * SECRET_BYTES:
        raise _unusable(path, "does not hold 64 hexadecimal digits")
    return secret


def token(secret: bytes, now_s: int) -> str:
    """A token issued at a Unix time.

    Args:
        secret: 32 bytes.
        now_s: the clock, in seconds.
    """
    text = _HEADER + "." + _encode(b'{"iat":%d}' % now_s)
    return text + "." + _encode(hmac.new(secret, text.encode(), hashlib.sha256).digest())


def _encode(part: bytes) -> str:
    return base64.urlsafe_b64encode(part).rstrip(b"=").decode()


def _unusable(path: Path, problem: str) -> ConfigurationError:
    return ConfigurationError(
        f"The engine's secret file {path} {problem}; name the file that the engine was started with "
        "(--authrpc.jwtsecret).",
        code="engine_jwt_unusable",
        file=str(path),
    )


_HEADER: Final = _encode(b'{"alg":"HS256","typ":"JWT"}')
