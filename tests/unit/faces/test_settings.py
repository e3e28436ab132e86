"""faces.toml: what it says is what the node shows, and what cannot be meant is refused by name."""

from pathlib import Path

import pytest

from plait.errors import ConfigurationError
from plait.rollups.opstack.faces.settings import FacesSettings, read_faces

GOOD = """
[flashblocks]
port = 1111

[conductor]
port = 8547
mode = "follow"

[[boost]]
chain_id = 901
port = 8551
engine_url = "http://127.0.0.1:8561"
jwt_file = "op-node.hex"
engine_jwt_file = "engine/jwt.hex"
"""


def test_every_face_is_read_with_paths_beside_the_file(tmp_path: Path) -> None:
    path = tmp_path / "faces.toml"
    path.write_text(GOOD)
    faces = read_faces(path)
    assert faces.flashblocks is not None
    assert (faces.flashblocks.port, faces.flashblocks.host) == (1111, "127.0.0.1")
    assert faces.conductor is not None
    assert faces.conductor.mode == "follow"
    (boost,) = faces.boost
    assert (boost.jwt_file, boost.engine_jwt_file) == (tmp_path / "op-node.hex", tmp_path / "engine/jwt.hex")
    assert (boost.mode, boost.debug_port) == ("enabled", None)


def test_an_empty_file_shows_nothing(tmp_path: Path) -> None:
    path = tmp_path / "faces.toml"
    path.write_text("")
    assert read_faces(path) == FacesSettings()


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        (GOOD.replace("port = 1111", "prot = 1111"), "prot"),
        (GOOD.replace('"follow"', '"raft"'), "raft"),
        (GOOD.replace("port = 8547", "port = 1111"), "one port"),
        (GOOD.replace("port = 8547", "port = 99999"), "65535"),
        (GOOD.replace('"http://127.0.0.1:8561"', '"127.0.0.1:8561"'), "http://host:port"),
        (GOOD + GOOD[GOOD.index("[[boost]]") :].replace("8551", "8552"), "two boost faces"),
        (GOOD + "timeout_ms = 0", "timeout_ms"),
        ("[flashblocks", "faces.toml"),
    ],
)
def test_what_cannot_be_used_is_refused_by_name(tmp_path: Path, wrong: str, named: str) -> None:
    path = tmp_path / "faces.toml"
    path.write_text(wrong)
    with pytest.raises(ConfigurationError, match=named) as refused:
        read_faces(path)
    assert refused.value.code == "faces_invalid"


def test_a_file_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"faces\.toml"):
        read_faces(tmp_path / "faces.toml")
