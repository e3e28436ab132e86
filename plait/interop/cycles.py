"""Messages of one timestamp must not depend on each other in a circle.

Equal timestamps are valid, so messages could justify each other: A acts because of B, B because of A, and neither for a
reason of its own. The rule is on logs, not on transactions or blocks.

Graph: one node per executing message of the timestamp whose initiating message has the same timestamp. It depends on
    - the executing message before it on its own chain, and
    - the last executing message on the initiating chain at or before the log that it refers to (there the initiating
      log may itself be a consequence of that message; on its own chain it may be the node itself).
The messages are valid if the graph has no cycle (Kahn, "Topological sorting of large networks", 1962). Two legs that
refer to each other are fine when at least one emits before it validates. When there is a cycle, the chains with a node
on one are at fault; chains that such a node only depends on, or that depend on it, are not.

Result and work do not depend on the order of the input: O(n log n) for n messages.

Source: ethereum-optimism/optimism op-supernode/supernode/activity/interop/cycle.go; OP Stack specs,
interop/derivation.md.
"""

from bisect import bisect_right
from collections.abc import Iterable

import msgspec

from plait.errors import InvariantBroken
from plait.interop.identifiers import LogIndex, MessageChainId


class SameTimeExecution(msgspec.Struct, frozen=True, order=True):
    """An executing message whose initiating message has the timestamp of the executing block."""

    chain_id: MessageChainId
    log_index: LogIndex
    """Of the ExecutingMessage log."""
    source_chain_id: MessageChainId
    source_log_index: LogIndex
    """Of the initiating log."""


def chains_in_cycles(executions: Iterable[SameTimeExecution]) -> tuple[MessageChainId, ...]:
    """Chains at fault, ascending; empty when the messages are valid.

    Args:
        executions: all of one timestamp over all chains, in any order; one per executing log.

    Raises:
        InvariantBroken: two of them are at the same log.
    """
    nodes = sorted(executions)
    dependencies = _dependencies(nodes)
    rest = _without_order(dependencies)
    if not rest:
        return ()
    at_fault = {nodes[index].chain_id for index in _on_cycles(dependencies, rest)}
    return tuple(sorted(at_fault))


def _dependencies(nodes: list[SameTimeExecution]) -> list[tuple[int, ...]]:
    """For each node, by position, the positions of the nodes that it depends on."""
    starts: dict[MessageChainId, int] = {}
    positions: dict[MessageChainId, list[int]] = {}
    for index, node in enumerate(nodes):
        starts.setdefault(node.chain_id, index)
        logs = positions.setdefault(node.chain_id, [])
        if logs and logs[-1] == node.log_index:
            raise InvariantBroken(f"chain {node.chain_id} has two executing messages at log {node.log_index}")
        logs.append(node.log_index)
    found: list[tuple[int, ...]] = []
    for index, node in enumerate(nodes):
        previous = (index - 1,) if index > starts[node.chain_id] else ()
        at_or_before = bisect_right(positions.get(node.source_chain_id, []), node.source_log_index)
        source = (starts[node.source_chain_id] + at_or_before - 1,) if at_or_before else ()
        found.append(previous + source)
    return found


def _without_order(dependencies: list[tuple[int, ...]]) -> set[int]:
    """Kahn: takes nodes whose dependencies have been taken, until none is left; returns those that never can be."""
    dependants: list[list[int]] = [[] for _ in dependencies]
    waiting = [len(needed) for needed in dependencies]
    for index, needed in enumerate(dependencies):
        for dependency in needed:
            dependants[dependency].append(index)
    ready = [index for index, count in enumerate(waiting) if count == 0]
    taken = 0
    while taken < len(ready):
        for dependant in dependants[ready[taken]]:
            waiting[dependant] -= 1
            if waiting[dependant] == 0:
                ready.append(dependant)
        taken += 1
    return set(range(len(dependencies))) - set(ready)


def _on_cycles(dependencies: list[tuple[int, ...]], among: set[int]) -> set[int]:
    """Nodes on a cycle: in a strongly connected component (Tarjan 1972) of several nodes, or with an edge to itself."""
    order: dict[int, int] = {}
    low: dict[int, int] = {}
    stack: list[int] = []
    on_stack: set[int] = set()
    found: set[int] = set()
    for root in sorted(among):
        if root in order:
            continue
        work = [(root, 0)]
        while work:
            node, edge = work.pop()
            if edge == 0:
                order[node] = low[node] = len(order)
                stack.append(node)
                on_stack.add(node)
            targets = [target for target in dependencies[node] if target in among]
            if edge > 0:
                low[node] = min(low[node], low[targets[edge - 1]])
            while edge < len(targets):
                target = targets[edge]
                edge += 1
                if target not in order:
                    work += [(node, edge), (target, 0)]
                    break
                if target in on_stack:
                    low[node] = min(low[node], order[target])
            else:
                if low[node] == order[node]:
                    component = [stack.pop()]
                    while component[-1] != node:
                        component.append(stack.pop())
                    on_stack.difference_update(component)
                    if len(component) > 1 or node in dependencies[node]:
                        found.update(component)
    return found
