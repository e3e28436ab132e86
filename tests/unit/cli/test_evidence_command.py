"""`plait evidence` says when there is nothing to search, and does not call that a good answer."""

from pathlib import Path

import pytest

from plait.cli.main import main


@pytest.mark.parametrize("command", [["find"], ["submit", "--from", "nobody"]])
def test_a_home_without_a_consensus_log_is_refused(
    tmp_path: Path, command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["evidence", *command, "--home", str(tmp_path)])
    assert ended.value.code == 4
    assert "comet_home_missing" in capsys.readouterr().err
