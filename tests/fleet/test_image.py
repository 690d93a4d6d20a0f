"""What `orchestrate_image` may say."""

import pytest

from orchestrator.errors import InventoryError
from orchestrator.fleet.image import ImageSource, image_source

DIGEST = "sha256:" + "5f" * 32


@pytest.mark.parametrize(
    ("written", "kind", "reference"),
    [
        (DIGEST, "id", DIGEST),
        (f"katago@{DIGEST}", "digest", f"katago@{DIGEST}"),
        (f"ghcr.io/lab/katago@{DIGEST}", "digest", f"ghcr.io/lab/katago@{DIGEST}"),
        (f"localhost:5000/katago:1@{DIGEST}", "digest", f"localhost:5000/katago:1@{DIGEST}"),
        ("katago", "tag", "katago:latest"),
        ("katago:1.16", "tag", "katago:1.16"),
        ("localhost:5000/katago", "tag", "localhost:5000/katago:latest"),
        ("localhost:5000/katago:1", "tag", "localhost:5000/katago:1"),
        ("archive", "tag", "archive:latest"),
    ],
)
def test_an_image_is_named_as_docker_does(tmp_path, written, kind, reference):
    source = image_source("gpu-1", written, tmp_path)

    assert source == ImageSource(kind, reference)
    assert str(source) == reference


@pytest.mark.parametrize("kind", ["archive", "build"])
def test_paths_are_relative_to_the_fleet_project(tmp_path, kind, monkeypatch):
    monkeypatch.setenv("HOME", "/home/ann")

    source = image_source("gpu-1", f"{kind}:images/katago", tmp_path)
    assert source == ImageSource(kind, path=tmp_path / "images" / "katago")
    assert str(source) == f"{kind}:{tmp_path}/images/katago"
    assert str(image_source("gpu-1", f"{kind}:/srv/katago", tmp_path).path) == "/srv/katago"
    assert str(image_source("gpu-1", f"{kind}:~/katago", tmp_path).path) == "/home/ann/katago"


@pytest.mark.parametrize(
    "written",
    [
        "",
        "archive:",
        "build:",
        "kata go",
        "-katago",
        "katago@sha256:5f5f",
        f"katago@{DIGEST}0",
        f"@{DIGEST}",
        DIGEST[:-1] + "@",
        "katago:",
        "katago:1:2",
        "KataGo:1.16",
        "katago/",
        "sha256:5f5f",
        "ghcr.io//katago",
        f"Kata@{DIGEST}",
        DIGEST.upper(),
        DIGEST[:-1],
        "https://ghcr.io/katago:1",
    ],
)
def test_what_names_no_image_is_refused(tmp_path, written):
    with pytest.raises(InventoryError, match="gpu-1: orchestrate_image is ") as refused:
        image_source("gpu-1", written, tmp_path)
    assert "NAME@sha256:DIGEST" in refused.value.hint
