from pathlib import Path

import pytest

from orchestrator.errors import SettingsError, TemplateError, UsageError
from orchestrator.fleet import skeleton
from orchestrator.fleet.project import find

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture
def made(tmp_path):
    skeleton.create(tmp_path / "fleet")
    return tmp_path / "fleet"


def test_found_from_a_folder_inside(made):
    inside = made / "inventory" / "group_vars"
    assert find(inside).root == made
    assert find(made).root == made


def test_nearest_one_wins(made):
    skeleton.create(made / "inner")
    assert find(made / "inner" / "templates").root == made / "inner"


def test_working_folder_is_the_default(made, monkeypatch):
    monkeypatch.chdir(made / "templates")
    assert find().root == made


def test_none_found(tmp_path):
    with pytest.raises(UsageError, match=r"no fleet project: no orchestrate\.yml in") as caught:
        find(tmp_path)
    assert "orchestrate init DIR" in caught.value.hint


def test_explicit_folder_is_not_searched_upwards(made):
    assert find(explicit=made).root == made
    with pytest.raises(UsageError, match="no fleet project in") as caught:
        find(explicit=made / "templates")
    assert caught.value.hint == f"orchestrate init {made / 'templates'}"


def test_paths(made):
    project = find(made)
    assert project.inventory == made / "inventory"
    assert project.artifacts == made / "artifacts"
    assert project.state == made / ".orchestrate"
    assert project.history_url == f"sqlite:///{made}/.orchestrate/history.db"
    assert project.settings is project.settings


@pytest.mark.parametrize(
    ("url", "resolved"),
    [
        ("sqlite:////var/lib/h.db", "sqlite:////var/lib/h.db"),
        ("sqlite:///:memory:", "sqlite:///:memory:"),
        ("sqlite:///h.db", "sqlite:///{root}/h.db"),
        ("postgresql://db.example.org/fleet", "postgresql://db.example.org/fleet"),
    ],
)
def test_history_url(made, url, resolved):
    settings = made / "orchestrate.yml"
    text = settings.read_text().replace("sqlite:///.orchestrate/history.db", f'"{url}"')
    settings.write_text(text)
    assert find(made).history_url == resolved.format(root=made)


def test_template_texts(made):
    texts = find(made).template_texts()
    assert {"analysis.cfg.j2", "jetson.cfg.j2", "rpi.cfg.j2", "cpu.cfg.j2", "run.sh.j2"} <= set(
        texts
    )
    assert texts["run.sh.j2"] == (REPOSITORY / "templates" / "run.sh.j2").read_text()
    (made / "templates" / "bad.j2").write_bytes(b"ok \xff")
    with pytest.raises(TemplateError, match=r"templates/bad\.j2: not UTF-8 at byte 3"):
        find(made).template_texts()


def test_settings_are_not_read_before_they_are_asked_for(made):
    (made / "orchestrate.yml").write_text("nonsense: true\n")
    project = find(made)
    with pytest.raises(SettingsError):
        _ = project.settings


def test_the_repository_is_a_fleet_project():
    names = [p.name for p in find(REPOSITORY).settings.profiles]
    assert names == ["gpu-server", "jetson", "raspberry-pi", "cpu"]


def test_create_keeps_what_is_there(tmp_path):
    (tmp_path / "inventory").mkdir()
    (tmp_path / "inventory" / "hosts.yml").write_text("all: {}\n")
    written = skeleton.create(tmp_path)
    assert Path("inventory/hosts.yml") not in written
    assert written[-1] == Path("orchestrate.yml")
    assert (tmp_path / "inventory" / "hosts.yml").read_text() == "all: {}\n"


def test_create_refuses_a_project_and_a_file(made):
    before = (made / "orchestrate.yml").read_bytes()
    with pytest.raises(UsageError, match="is a fleet project already"):
        skeleton.create(made)
    assert (made / "orchestrate.yml").read_bytes() == before
    with pytest.raises(UsageError, match="is not a folder"):
        skeleton.create(made / ".gitignore")
