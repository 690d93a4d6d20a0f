import json

from click.testing import CliRunner

from orchestrator.cli import root
from orchestrator.errors import UsageError
from orchestrator.fleet.project import find


def run(*words: str):
    return CliRunner().invoke(root, words, standalone_mode=False)


def test_makes_a_project_and_tells_what_next(tmp_path):
    result = run("init", str(tmp_path / "fleet"))
    assert result.exception is None
    assert "inventory/hosts.yml" in result.output
    assert "inventory --check" in result.output
    assert [p.name for p in find(tmp_path / "fleet").settings.profiles][-1] == "cpu"


def test_what_it_makes_passes_the_check_of_the_inventory(tmp_path):
    run("init", str(tmp_path))
    checked = run("--project", str(tmp_path), "inventory", "--check")
    assert checked.exception is None, checked.output
    assert checked.return_value in {0, None}


def test_json_names_the_files(tmp_path):
    document = json.loads(run("--json", "init", str(tmp_path / "fleet")).stdout)
    assert document["project"] == str(tmp_path / "fleet")
    shipped = {"templates/run.sh.j2", "templates/docker-compose.yml.j2"}
    assert {"orchestrate.yml", "inventory/hosts.yml", ".gitignore"} | shipped <= set(
        document["written"]
    )


def test_refuses_a_project(tmp_path):
    run("init", str(tmp_path))
    result = run("init", str(tmp_path))
    assert isinstance(result.exception, UsageError)
    assert result.exception.exit_code == 2
