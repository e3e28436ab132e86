"""With any origin allowed, a page may read the answer to its call, not only that to its preflight."""

from collections.abc import Iterator
from urllib.request import Request, urlopen

import pytest

from plait.rpc import RpcConfig
from sim.listening import Running, running

BODY = b'{"jsonrpc":"2.0","id":1,"method":"eth_chainId"}'
ORIGIN = "https://any.example"


@pytest.fixture(scope="module")
def node() -> Iterator[Running]:
    yield from running(RpcConfig(port=0, rollup_port_base=None, origins=("*",)))


@pytest.mark.parametrize("method", ["OPTIONS", "POST"])
def test_every_answer_allows_the_page_to_read_it(node: Running, method: str) -> None:
    headers = {"Origin": ORIGIN, "Content-Type": "application/json"}
    request = Request(node.server.url + "/901", BODY if method == "POST" else None, headers, method=method)
    with urlopen(request, timeout=10) as answer:
        assert answer.headers["Access-Control-Allow-Origin"] == ORIGIN
        assert answer.headers["Vary"] == "Origin"
