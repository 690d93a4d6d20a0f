"""Who looks at a host before Ansible works on it, and where."""

from __future__ import annotations

import pytest

from orchestrator.fleet.host import Host
from orchestrator.provision.request import Request
from orchestrator.targets.connection import connection_spec

OWNED = {"ansible_user": "go", "ansible_become": True, "ansible_become_user": "nets"}


@pytest.mark.parametrize(
    ("host_vars", "user", "root"),
    [
        ({"ansible_user": "go"}, None, ""),
        ({}, None, ""),
        ({"ansible_user": "go"}, "go", ""),
        ({"ansible_user": "go"}, "pi", "/home/go/.local/share/orchestrate"),
        ({"ansible_user": "go", "orchestrate_root": "~/nets"}, "pi", "/home/go/nets"),
        ({"ansible_user": "go", "orchestrate_root": "/srv/nets"}, "pi", "/srv/nets"),
        ({"ansible_user": "root"}, "pi", "/opt/orchestrate"),
        ({"ansible_user": "go", "ansible_become": True}, None, "/opt/orchestrate"),
        (OWNED, None, "/home/nets/.local/share/orchestrate"),
        (
            OWNED | {"ansible_become_password": "secret"},
            "pi",
            "/home/nets/.local/share/orchestrate",
        ),
    ],
)
def test_a_host_is_looked_at_without_sudo_where_deploys_go(host_vars, user, root):
    """Whom deploys become is not there yet on a bare machine."""
    spec = connection_spec(Request(user=user).login(Host("pi-1", vars=host_vars)))
    assert not spec.become
    assert (spec.user, spec.root) == (user or host_vars.get("ansible_user"), root)
