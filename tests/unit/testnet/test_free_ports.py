"""Ports for the processes of a local network: two starters at the same time get different ones."""

import subprocess
import sys

import pytest

from plait.testnet import layout

HOLDER = """
import sys
from plait.testnet import layout
layout._FREE_PORTS = range({first}, {last})
print(*layout.free_ports(5), flush=True)
sys.stdin.read()
"""


def test_a_port_that_another_process_was_given_is_not_given_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also while nobody listens on it yet; and it is free again when that process has ended."""
    first = layout.free_ports(1)[0] // 20 * 20
    monkeypatch.setattr(layout, "_FREE_PORTS", range(first, first + 20))
    command = [sys.executable, "-c", HOLDER.format(first=first, last=first + 20)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        held = set(map(int, holder.stdout.readline().split()))
        assert len(held) == 5
        assert not held & set(layout.free_ports(20))
        holder.communicate()
    assert held <= {port for port in held if layout._reserve(port)}
