"""The table of docs/performance.md, from the JSON of the last run: `python -m bench.table` prints it."""

import json

from bench.__main__ import QUESTIONS
from bench.report import OUT


def main() -> None:
    """Prints ratios with their targets, then figures, as Markdown."""
    results = [json.loads(path.read_text()) for name in QUESTIONS if (path := OUT / f"{name}.json").exists()]
    print("| question | ratio | measured | target | reached |\n|---|---|---|---|---|")
    for result in results:
        for name, ratio in result["ratios"].items():
            reached = "yes" if ratio["met"] else "no"
            print(f"| {result['question']} | {name} | {ratio['value']} | {ratio['target']} | {reached} |")
    print("\n| question | figure | measured |\n|---|---|---|")
    for result in results:
        for name, figure in result["figures"].items():
            print(f"| {result['question']} | {name} | {figure['value']:,} {figure['unit']} |")
    machine = results[0]["machine"]
    print(f"\n{machine['cpu']}, {machine['cores']} cores, Python {machine['python']}.")


if __name__ == "__main__":
    main()
