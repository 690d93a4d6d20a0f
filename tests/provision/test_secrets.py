"""Secrets stand in nothing that is shown or stored."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from orchestrator.fleet.host import Host
from orchestrator.provision import secrets


def test_the_passwords_of_hosts_and_what_was_typed():
    host = Host(
        "pi-1",
        vars={
            "ansible_become_password": "hunter2",
            "ansible_ssh_pass": 123456,
            "ansible_become": True,
            "passive": True,
            "ansible_user": "pi",
        },
    )
    assert secrets.of_hosts([host], "typed", "") == {"hunter2", "123456", "typed"}


def test_what_is_secret_in_urls():
    host = Host(
        "pi-1",
        vars={
            "onnxruntime_index_url": "https://me:hunter2@example.com/simple",
            "katago_source": "https://t0ken@example.com/katago.zip",
            "orchestrate_docker_host": "ssh://pi@example.com",
            "onnxruntime_extra_index_url": "https://example.com/a@b",
            "mirrors": ["https://example.com/a.zip?se=2026&sig=a%2Fb#part"],
            "gpu_server_toolkit_key": "https://example.com/key?armored",
        },
    )
    assert secrets.of_hosts([host]) == {"hunter2", "t0ken", "se=2026", "sig=a%2Fb"}


def test_secrets_are_masked_in_texts_keys_lists_and_numbers():
    document = {
        "stdout": "sudo: hunter2 is wrong",
        "res": {"list": ["a hunter2", 123456], "hunter2": True, "rc": 1},
    }
    secrets.mask(document, {"hunter2", "123456"})
    assert document == {
        "stdout": f"sudo: {secrets.MASK} is wrong",
        "res": {"list": [f"a {secrets.MASK}", secrets.MASK], secrets.MASK: True, "rc": 1},
    }


def test_a_secret_that_holds_another_is_masked_whole():
    document = {"a": "hunter22"}
    secrets.mask(document, {"hunter2", "hunter22"})
    assert document == {"a": secrets.MASK}


LEAVES = st.text() | st.integers() | st.booleans() | st.none()
DOCUMENTS = st.dictionaries(
    st.text(),
    st.recursive(LEAVES, lambda s: st.lists(s) | st.dictionaries(st.text(), s), max_leaves=10),
)


@given(DOCUMENTS, st.text(alphabet="abcxyz", min_size=3, max_size=6))
def test_no_document_holds_a_secret_after_masking(document, secret):
    document["there"] = f"before {secret} after"
    secrets.mask(document, {secret})
    assert secret not in json.dumps(document, ensure_ascii=False)
