"""`plait verify` without a node: what it must be told, and files that hold no trusted block."""

import json
from pathlib import Path

import pytest

from plait.cli.main import main

URL = "http://127.0.0.1:9"
HASH = "ab" * 32
TRUSTED = ("--trusted-height", "1", "--trusted-hash", HASH)


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as end:
        main(["verify", *arguments])
    captured = capsys.readouterr()
    assert isinstance(end.value.code, int)
    return end.value.code, captured.out, captured.err


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ((), "Missing argument 'URL...'"),
        ((URL,), "begins with a block that you trust"),
        ((URL, "--trusted-height", "1"), "begins with a block that you trust"),
        ((URL, "--trusted-hash", HASH), "begins with a block that you trust"),
        ((URL, *TRUSTED[:3], HASH[1:]), "a block's hash has 64 hex digits"),
        ((URL, *TRUSTED[:3], "0x" + "g" * 64), "a block's hash has 64 hex digits"),
        ((URL, "--trusted-height", "0", "--trusted-hash", HASH), "0 is not in the range x>=1"),
        ((URL, *TRUSTED, "--rollup", "901"), "--rollup and --slots go together"),
        ((URL, *TRUSTED, "--slots", "1-2"), "--rollup and --slots go together"),
        ((URL, *TRUSTED, "--rollup", "901", "--slots", "2-1"), "slots are one number, or two like 120-180"),
        ((URL, *TRUSTED, "--rollup", "901", "--slots", "-5"), "slots are one number, or two like 120-180"),
        ((URL, *TRUSTED, "--rollup", "901", "--slots", "1:5"), "slots are one number, or two like 120-180"),
        ((URL, *TRUSTED, "--trusted", "pyproject.toml"), "leave out --trusted-height and --trusted-hash"),
    ],
)
def test_a_command_line_that_says_too_little_or_something_else(
    capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], sentence: str
) -> None:
    code, out, err = run(capsys, *arguments)
    assert code == 2
    assert out == ""
    assert sentence in err


@pytest.mark.parametrize(
    "content",
    ["", "[]", "{}", "null", '{"height": 1}', '{"height": 0, "hash": "%s"}', '{"height": "1", "hash": "%s"}',
     '{"height": 1, "hash": "0x12"}', '{"height": 1, "hash": 7}', "not JSON"],
)  # fmt: skip
def test_a_file_that_holds_no_trusted_block(capsys: pytest.CaptureFixture[str], tmp_path: Path, content: str) -> None:
    file = tmp_path / "trusted.json"
    file.write_text(content.replace("%s", HASH))
    code, out, _ = run(capsys, URL, "--trusted", str(file), "--json")
    assert code == 4
    assert json.loads(out)["error"]["code"] == "trusted_file_invalid"


def test_a_file_that_is_not_there(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    code, out, _ = run(capsys, URL, "--trusted", str(tmp_path / "nothing.json"), "--json")
    assert code == 4
    assert json.loads(out)["error"]["code"] == "file_unusable"


def test_a_node_that_does_not_answer(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in ((URL, *TRUSTED), (URL, "--show-newest")):
        code, out, _ = run(capsys, *arguments, "--json")
        assert code == 3
        assert json.loads(out)["error"]["code"] == "node_unreachable"
