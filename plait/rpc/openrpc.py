"""The OpenRPC document, generated from the one method table, and the reference in the guide, generated from the
document.

Run as a module it prints the Markdown reference: `python -m plait.rpc.openrpc`.

Level 7. Source: OpenRPC specification 1.3.
"""

from typing import Any, Final

from plait.rpc.table import METHODS, Method

OPENRPC_VERSION: Final = "1.3.2"


def document(version: str) -> dict[str, Any]:
    """The OpenRPC document of all methods; `version` is Plait's."""
    import plait.rpc.methods  # noqa: F401 - fills the table

    return {
        "openrpc": OPENRPC_VERSION,
        "info": {
            "title": "Plait JSON-RPC",
            "version": version,
            "description": "Methods of a rollup at /<chain id>; plait_, web3_ and rpc_ methods also at /.",
            "license": {"name": "MIT"},
        },
        "methods": [_entry(METHODS[name]) for name in sorted(METHODS)],
    }


def _entry(method: Method) -> dict[str, Any]:
    params = [{"name": p.name, "required": not p.optional, "schema": p.kind.schema} for p in method.params]
    entry: dict[str, Any] = {
        "name": method.name,
        "summary": method.summary,
        "tags": [{"name": method.name.split("_", 1)[0]}],
        "paramStructure": "either",
        "params": params,
        "result": {"name": "result", "schema": method.result},
        "x-endpoint": "/<chain id>" if method.scope == "rollup" else "/ and /<chain id>",
        "x-transport": "WebSocket" if method.mode == "connection" else "HTTP and WebSocket",
    }
    if method.example is not None:
        values = [{"name": p.name, "value": value} for p, value in zip(method.params, method.example, strict=False)]
        entry["examples"] = [{"name": "example", "params": values}]
    return entry


def reference() -> str:
    """The methods as Markdown, for docs/guides/rpc.md."""
    lines: list[str] = []
    namespace = ""
    for entry in document("")["methods"]:
        if entry["tags"][0]["name"] != namespace:
            namespace = entry["tags"][0]["name"]
            lines += ["", f"### {namespace}_", "", "| method | parameters | what it answers |", "|---|---|---|"]
        params = ", ".join(p["name"] if p["required"] else f"[{p['name']}]" for p in entry["params"])
        lines.append(f"| `{entry['name']}` | {params} | {entry['summary']} |")
    return "\n".join(lines).strip() + "\n"


def example_calls() -> list[dict[str, Any]]:
    """A request per documented example."""
    import plait.rpc.methods  # noqa: F401 - fills the table

    return [
        {"jsonrpc": "2.0", "id": name, "method": name, "params": list(item.example)}
        for name, item in sorted(METHODS.items())
        if item.example is not None
    ]


if __name__ == "__main__":
    print(reference(), end="")
