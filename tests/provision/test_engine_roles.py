"""What the roles of the engines say of themselves, and how KataGo's program is fetched."""

from __future__ import annotations

import hashlib
import os
import re
import runpy
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import yaml

from orchestrator.errors import ModelError
from orchestrator.models.sources.wheel import download_command
from tests.needs import missing, needs_program

ROLES = Path(__file__).parents[2] / "playbooks" / "roles"
ENGINES = ("onnxruntime", "katago")
PINS = sorted((ROLES / "onnxruntime" / "files" / "pins").glob("*.txt"))
FETCH = ROLES / "katago" / "files" / "fetch.py"
PIN = re.compile(r"[a-z0-9][a-z0-9_-]*==[0-9][0-9a-z.]*")
PROGRAM = b"#!/bin/sh\necho KataGo v1.2.3\n"


def pinned(file: Path) -> dict[str, str]:
    return dict(line.split("==") for line in file.read_text().splitlines())


def test_every_python_of_supported_systems_has_pins():
    assert {file.name for file in PINS} == {f"python3.{minor}.txt" for minor in range(8, 15)}


@pytest.mark.parametrize("file", PINS, ids=lambda file: file.stem)
def test_pins_name_one_version_of_each_package(file):
    lines = file.read_text().splitlines()
    assert all(PIN.fullmatch(line) for line in lines)
    assert lines == sorted(lines)
    assert len(pinned(file)) == len(lines)


@pytest.mark.parametrize("file", PINS, ids=lambda file: file.stem)
def test_pins_hold_all_that_onnxruntime_requires(file):
    required = {"flatbuffers", "numpy", "onnxruntime", "packaging", "protobuf"}
    # Until 1.23 onnxruntime required these too.
    required_once = {"coloredlogs", "humanfriendly", "mpmath", "sympy"}
    release = tuple(int(part) for part in pinned(file)["onnxruntime"].split("."))
    assert set(pinned(file)) == (required if release >= (1, 24) else required | required_once)


@pytest.mark.parametrize("role", ENGINES)
def test_every_default_is_specified_and_explained(role):
    text = (ROLES / role / "defaults" / "main.yml").read_text()
    defaults = yaml.safe_load(text)
    specs = yaml.safe_load((ROLES / role / "meta" / "argument_specs.yml").read_text())
    options = specs["argument_specs"]["main"]["options"]
    assert list(defaults) == list(options)
    assert all(name.startswith(f"{role}_") for name in defaults)
    paragraphs = text.split("\n\n")
    assert all(paragraph.removeprefix("---\n").startswith("#") for paragraph in paragraphs)
    types = {"str": str, "path": str, "list": list}
    for name, value in defaults.items():
        templated = isinstance(value, str) and "{{" in value
        assert templated or isinstance(value, types[options[name]["type"]])


@pytest.mark.parametrize(
    ("linked", "leads_to", "goes"),
    [
        ("/usr/games/katago", "/usr/games/katago", True),
        ("", "/usr/games/katago", False),
        ("/usr/games/katago", "/usr/local/bin/katago", False),
        ("", "{root}/katago/0123/katago", True),
    ],
)
def test_only_the_link_that_was_made_here_is_removed(tmp_path, linked, leads_to, goes):
    for folder in ("bin", "katago"):
        (tmp_path / folder).mkdir()
    (tmp_path / "bin/katago").symlink_to(leads_to.format(root=tmp_path))
    if linked:
        (tmp_path / "katago/linked").write_text(f"{linked}\n")
    script = (ROLES / "katago" / "files" / "remove.sh").read_text()
    script = script.replace("/var/lib/orchestrate.katago", str(tmp_path / "brought"))
    subprocess.run(
        ["sh", "-c", script],
        env={**os.environ, "root": str(tmp_path), "really": "yes"},
        check=True,
        capture_output=True,
    )
    assert (tmp_path / "bin/katago").is_symlink() != goes
    assert not (tmp_path / "katago").exists()


def test_relative_paths_begin_at_the_fleet_project(tmp_path):
    """Wherever the playbooks lie, which may be in the installed package."""
    names = ("katago_path", "onnxruntime_wheelhouse_path", "onnxruntime_requirements_path")
    given = {
        "host_project": str(tmp_path),
        "katago_source": "engines/katago",
        "onnxruntime_wheelhouse": "wheels",
        "onnxruntime_requirements": "/srv/requirements.txt",
    }
    files = [{"include_vars": str(ROLES / role / "vars/main.yml")} for role in ENGINES]
    told = tmp_path / "told"
    content = "\n".join(f"{{{{ {name} }}}}" for name in names)
    tasks = [*files, {"copy": {"dest": str(told), "content": content}}]
    play = {"hosts": "localhost", "gather_facts": False, "vars": given, "tasks": tasks}
    (tmp_path / "play.yml").write_text(yaml.safe_dump([play]))
    program = needs_program("ansible-playbook", "make setup")
    options = ["-c", "local", "-i", "localhost,", "-e"]
    python = f"ansible_python_interpreter={sys.executable}"
    subprocess.run(
        [program, *options, python, tmp_path / "play.yml"], check=True, capture_output=True
    )
    assert told.read_text().split() == [
        f"{tmp_path}/engines/katago",
        f"{tmp_path}/wheels",
        "/srv/requirements.txt",
    ]


def fetch(source: str, sha256: str, cache: Path, *pip: str, **env: str) -> tuple[int, str]:
    """The exit status and what was said: the path of the program, or why there is none."""
    options = ["--sha256", sha256, "--member", "katago", "--cache", str(cache)]
    done = subprocess.run(
        [sys.executable, FETCH, *options, "--", *pip],
        input=source,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **env},
    )
    said = done.stdout.splitlines()[0] if done.returncode == 0 else done.stderr.strip()
    return done.returncode, said


def sha256_of(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


@pytest.fixture
def program(tmp_path: Path) -> Path:
    file = tmp_path / "katago"
    file.write_bytes(PROGRAM)
    return file


def test_a_program_is_taken_where_it_lies(program, tmp_path):
    assert fetch(str(program), sha256_of(program), tmp_path / "cache") == (0, str(program))


def test_a_wrong_digest_is_told_with_both(program, tmp_path):
    status, said = fetch(str(program), "a" * 64, tmp_path / "cache")
    assert status == 1
    assert sha256_of(program) in said
    assert "a" * 64 in said
    assert "\n" not in said


def test_a_zip_gives_its_program_at_any_depth(program, tmp_path):
    archive = tmp_path / "katago.zip"
    with zipfile.ZipFile(archive, "w") as zipped:
        zipped.write(program, "katago-v1.2.3-linux/katago")
        zipped.writestr("katago-v1.2.3-linux/default_gtp.cfg", "")
    status, said = fetch(str(archive), sha256_of(archive), tmp_path / "cache")
    assert status == 0
    assert Path(said).read_bytes() == PROGRAM


def test_a_zip_without_the_program_names_what_it_has(tmp_path):
    archive = tmp_path / "katago.zip"
    with zipfile.ZipFile(archive, "w") as zipped:
        zipped.writestr("linux/engine", "x")
    status, said = fetch(str(archive), sha256_of(archive), tmp_path / "cache")
    assert (status, said) == (
        1,
        "the zip katago.zip has no file katago; its largest are linux/engine (katago_member)",
    )


@pytest.fixture
def pip(tmp_path: Path) -> tuple[str, ...]:
    try:
        command = download_command("katago-bin==1.0", tmp_path)
    except ModelError as exc:
        missing(str(exc))
    return tuple(command[: command.index("download")])


@pytest.fixture
def wheelhouse(tmp_path: Path) -> Path:
    """A folder with a wheel whose member bin/katago is the program."""
    folder = tmp_path / "wheelhouse"
    folder.mkdir()
    info = "katago_bin-1.0.dist-info"
    with zipfile.ZipFile(folder / "katago_bin-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr("bin/katago", PROGRAM)
        wheel.writestr(
            f"{info}/METADATA", "Metadata-Version: 2.1\nName: katago-bin\nVersion: 1.0\n"
        )
        wheel.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        wheel.writestr(f"{info}/RECORD", "")
    return folder


def test_a_member_of_a_wheel_is_fetched_once(pip, program, wheelhouse, tmp_path):
    source, cache = "wheel:katago-bin==1.0!bin/katago", tmp_path / "cache"
    env = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(wheelhouse)}
    status, said = fetch(source, sha256_of(program), cache, *pip, **env)
    assert (status, said) == (0, str(cache / sha256_of(program)))
    assert Path(said).read_bytes() == PROGRAM
    # No pip is needed any more, as long as what is kept is whole.
    assert fetch(source, sha256_of(program), cache, "false") == (0, said)
    Path(said).write_bytes(b"damaged")
    assert fetch(source, sha256_of(program), cache, "false")[0] == 1


def test_a_member_that_is_not_there_is_told(pip, wheelhouse, tmp_path):
    env = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(wheelhouse)}
    status, said = fetch("wheel:katago-bin==1.0!katago", "a" * 64, tmp_path / "cache", *pip, **env)
    assert status == 1
    assert said.startswith("katago_bin-1.0-py3-none-any.whl has no member katago; its largest are ")
    assert "bin/katago" in said


def test_a_wheel_that_is_not_there_is_told(pip, tmp_path):
    status, said = fetch(
        "wheel:katago-bin==1.0!katago", "a" * 64, tmp_path / "cache", *pip, PIP_NO_INDEX="1"
    )
    assert status == 1
    assert said.startswith("pip could not get katago-bin==1.0 on this machine: ")


def test_what_may_be_secret_in_a_url_is_not_told():
    public = runpy.run_path(str(FETCH))["_public"]
    url = "https://user:secret@example.org/katago.zip?token=secret"
    assert public(url) == "https://example.org/katago.zip"
