"""Bad input: a one-line cause, a hint, exit 2, and nothing touched on any host."""

from __future__ import annotations

import pytest
import yaml


@pytest.fixture
def case(sshd_fleet, make_project):
    (host,) = fleet = sshd_fleet(1)
    return make_project(fleet), host, fleet


def refuse(project, host, *words, cause, hint):
    """The command refuses with `cause` and `hint` on a line each, and has touched nothing."""
    text = project.text(*words)
    assert text.returncode == 2, text.stdout + text.stderr
    error, told = text.stderr.strip().splitlines()[-2:]
    assert error.startswith("error: ")
    assert cause in error
    assert told.startswith("  hint: ")
    assert hint in told
    assert project.run(*words).error["message"]
    assert not host.root_here.exists()


def test_missing_group(case):
    project, host, _ = case
    refuse(project, host, "deploy", "--yes", "--group", "jetson", cause="jetson", hint="")


def test_misspelt_variable(case):
    project, host, fleet = case
    inventory = fleet.inventory(orchestrate_model="net@v1", orchestrate_pyton="/usr/bin/python3")
    project.write_inventory(inventory)
    refuse(
        project, host, "deploy", "--yes",
        cause="orchestrate_pyton", hint="orchestrate_python",
    )  # fmt: skip


def test_template_error(case):
    project, host, _ = case
    template = project.own_templates() / "cpu.cfg.j2"
    template.write_text("threads = {{ fcats.cpu.cores }}\n")
    refuse(
        project, host, "deploy", "--yes",
        cause="templates/cpu.cfg.j2:1", hint="facts",
    )  # fmt: skip


def test_config_that_the_engine_would_refuse(case):
    project, host, _ = case
    template = project.own_templates() / "cpu.cfg.j2"
    template.write_text("intra_op_threads = 0\nbatch_size = many\nexecution_provider = cpu\n")
    refuse(project, host, "deploy", "--yes", cause="batch_size", hint="")


def test_unknown_profile(case):
    project, host, fleet = case
    project.write_inventory(
        fleet.inventory(orchestrate_model="net@v1", orchestrate_profile="raspberry")
    )
    refuse(project, host, "deploy", "--yes", cause="raspberry", hint="raspberry-pi")


def test_artifact_whose_sha256_differs(case):
    project, host, _ = case
    for path in (project.root / "artifacts/store/sha256").rglob("*"):
        if path.is_file():
            path.chmod(0o644)
            data = bytearray(path.read_bytes())
            data[len(data) // 2] ^= 1
            path.write_bytes(data)
    refuse(project, host, "deploy", "--yes", cause="sha256", hint="orchestrate models")


def test_truncated_artifact(case):
    project, host, _ = case
    for path in (project.root / "artifacts/store/sha256").rglob("*"):
        if path.is_file():
            path.chmod(0o644)
            path.write_bytes(path.read_bytes()[:-1])
    refuse(project, host, "deploy", "--yes", cause="", hint="orchestrate models")


def test_yanked_version(case):
    project, host, _ = case
    assert project.run("models", "yank", "net@v1", "--reason", "plays badly").code == 0
    refuse(project, host, "deploy", "--yes", cause="plays badly", hint="--model")


def test_unknown_version(case):
    project, host, _ = case
    refuse(
        project, host, "deploy", "--yes", "--model", "net@v11", cause="no version v11", hint="v1"
    )


def test_no_model_wanted(case):
    project, host, fleet = case
    project.write_inventory(fleet.inventory())
    refuse(project, host, "deploy", "--yes", cause="no model is wanted", hint="--model")


def test_settings_with_a_typo(case):
    project, host, _ = case
    project.settings["profiles"]["cpu"]["artefacts"] = []
    (project.root / "orchestrate.yml").write_text(yaml.safe_dump(project.settings))
    refuse(project, host, "deploy", "--yes", cause="artefacts", hint="artifacts")


def test_no_project(tmp_path, case):
    project, host, _ = case
    project.root = tmp_path / "elsewhere"
    refuse(project, host, "deploy", "--yes", cause="orchestrate.yml", hint="orchestrate init")


def test_no_question_can_be_answered(case):
    project, host, _ = case
    text = project.text("deploy")
    assert text.returncode == 2
    assert "--yes" in text.stderr
    assert not host.root_here.exists()
