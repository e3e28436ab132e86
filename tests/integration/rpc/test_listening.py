"""A server that cannot listen says what is wrong with the address."""

import asyncio
import socket
from typing import Any

import pytest

from plait.errors import ConfigurationError
from plait.rpc import RpcConfig, serve


def refused(node: Any, config: RpcConfig) -> ConfigurationError:
    async def attempt() -> None:
        async with serve(node.node, config):
            pass

    with pytest.raises((ConfigurationError, ExceptionGroup)) as caught:
        asyncio.run_coroutine_threadsafe(attempt(), node.loop).result(30)
    error: Any = caught.value
    while isinstance(error, ExceptionGroup):
        (error,) = error.exceptions
    assert isinstance(error, ConfigurationError)
    return error


def test_a_taken_port_an_unknown_name_and_a_foreign_address_have_their_own_sentences(node: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        error = refused(node, RpcConfig(port=port, rollup_port_base=None))
    assert error.code == "port_in_use"
    assert error.message.startswith(f"cannot listen on 127.0.0.1:{port} (Address already in use); choose another port")
    error = refused(node, RpcConfig(host="name.invalid", port=0, rollup_port_base=None))
    assert (error.code, error.message[:29]) == ("address_unusable", "cannot resolve 'name.invalid'")
    error = refused(node, RpcConfig(host="192.0.2.1", port=0, rollup_port_base=None))
    assert (error.code, error.message[:32]) == ("address_unusable", "cannot listen on 192.0.2.1:0 (Ca")
    node.alive()
