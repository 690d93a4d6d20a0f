"""Downloads from a real server that cuts connections, lies and changes its mind."""

from __future__ import annotations

import fcntl
import hashlib
import random

import httpx
import pytest

from orchestrator.errors import ModelError
from orchestrator.models.sources import http
from tests.web import Site, serve

CONTENT = random.Random(7).randbytes(1_000_000)
DIGEST = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def site():
    with serve(Site(CONTENT)) as running:
        yield running


@pytest.fixture
def pauses():
    return []


@pytest.fixture
def get(tmp_path, site, pauses):
    def call(path="/nets/net.bin.gz", sha256=DIGEST, progress=lambda _done, _total: None):
        return http.fetch(site.url(path), tmp_path, sha256, progress, pause=pauses.append)

    return call


def part(tmp_path):
    return tmp_path / f"{DIGEST}.part"


def nothing_is_left(tmp_path):
    return list(tmp_path.iterdir()) == []


def test_gets_the_file_and_tells_how_far_it_is(get, site):
    told = []
    fetched = get(progress=lambda done, total: told.append((done, total)))
    assert fetched.path.read_bytes() == CONTENT
    assert (fetched.sha256, fetched.size) == (DIGEST, len(CONTENT))
    assert fetched.filename == "net.bin.gz"
    assert fetched.source == site.url("/nets/net.bin.gz")
    assert told[0] == (0, len(CONTENT))
    assert told[-1] == (len(CONTENT), len(CONTENT))
    assert told == sorted(told)


def test_goes_on_where_the_connection_broke(get, site, pauses):
    site.cuts = [300_000, 200_000]
    assert get().path.read_bytes() == CONTENT
    assert site.ranges_asked == ["", "bytes=300000-", "bytes=500000-"]
    assert site.sent == len(CONTENT)
    assert pauses == [0.5, 0.5]


def test_a_later_call_goes_on_too(get, site, tmp_path):
    site.cuts = [300_000, 0, 0, 0, 0, 0]
    with pytest.raises(ModelError, match="cannot be fetched") as caught:
        get()
    assert "resumes" in caught.value.hint
    assert part(tmp_path).stat().st_size == 300_000
    assert get().path.read_bytes() == CONTENT
    assert site.sent == len(CONTENT)


def test_gives_up_after_some_tries_without_progress(get, site, pauses):
    site.statuses = [503] * 20
    with pytest.raises(ModelError, match="503"):
        get()
    assert pauses == [0.5, 1.0, 2.0, 4.0]
    assert len(site.ranges_asked) == http.ATTEMPTS


def test_a_server_without_ranges_begins_again(get, site):
    site.ranges = False
    site.cuts = [300_000]
    assert get().path.read_bytes() == CONTENT
    assert site.sent == 300_000 + len(CONTENT)


def test_a_file_that_changed_meanwhile_begins_again(get, site, tmp_path):
    part(tmp_path).write_bytes(b"of an older file")
    (tmp_path / f"{DIGEST}.validator").write_text('"zero"')
    assert get().path.read_bytes() == CONTENT
    assert site.sent == len(CONTENT)


@pytest.mark.parametrize("etag", ["", 'W/"weak"'])
def test_what_was_resumed_without_proof_and_is_wrong_is_got_again(get, site, tmp_path, etag):
    site.etag = etag
    part(tmp_path).write_bytes(b"of an older file")
    assert get().path.read_bytes() == CONTENT
    assert site.ranges_asked == ["bytes=16-", ""]


def test_a_part_longer_than_the_file_begins_again(get, site, tmp_path):
    part(tmp_path).write_bytes(bytes(len(CONTENT) + 5))
    assert get().path.read_bytes() == CONTENT


def test_a_part_that_was_whole_is_not_got_again(get, site, tmp_path):
    part(tmp_path).write_bytes(CONTENT)
    assert get().path.read_bytes() == CONTENT
    assert site.sent == 0


def test_a_server_that_sends_another_part_than_asked_begins_again(get, site, tmp_path):
    site.other_start = True
    part(tmp_path).write_bytes(CONTENT[:1000])
    assert get().path.read_bytes() == CONTENT


def test_a_content_length_that_is_too_large_does_no_harm(get, site):
    site.claimed = len(CONTENT) + 10
    assert get().path.read_bytes() == CONTENT


def test_a_content_length_that_is_too_small_is_a_wrong_file(get, site, tmp_path):
    site.claimed = len(CONTENT) - 10
    with pytest.raises(ModelError, match="another sha256"):
        get()
    assert nothing_is_left(tmp_path)


def test_a_length_that_nobody_tells(get, site):
    site.chunked = True
    totals = []
    assert get(progress=lambda _done, total: totals.append(total)).path.read_bytes() == CONTENT
    assert set(totals) == {None}


def test_another_file_than_meant_is_not_kept(get, site, tmp_path):
    site.content = CONTENT[:-1] + b"?"
    wrong = hashlib.sha256(site.content).hexdigest()
    with pytest.raises(ModelError, match=f"expected {DIGEST}, found {wrong}"):
        get()
    assert nothing_is_left(tmp_path)


def test_follows_redirects(get, site):
    site.moved = {"/latest": "/nets/net.bin.gz"}
    fetched = get("/latest")
    assert fetched.path.read_bytes() == CONTENT
    assert fetched.source == site.url("/latest")


def test_redirects_in_a_circle_are_an_error(get, site):
    site.moved = {"/a": "/a"}
    with pytest.raises(ModelError, match="redirects"):
        get("/a")


@pytest.mark.parametrize(
    ("status", "hint"), [(404, "Look at the URL"), (401, "netrc"), (403, "netrc")]
)
def test_a_refusal_is_not_tried_again(get, site, status, hint):
    site.statuses = [status]
    with pytest.raises(ModelError, match=str(status)) as caught:
        get()
    assert hint in caught.value.hint
    assert len(site.ranges_asked) == 1


def test_a_url_needs_a_sha256(get, site):
    with pytest.raises(ModelError, match="sha256"):
        get(sha256=None)
    assert site.ranges_asked == []


def test_a_password_in_the_url_is_refused_and_not_repeated(tmp_path):
    with pytest.raises(ModelError) as caught:
        http.fetch("https://me:hush@example.org/x", tmp_path, DIGEST, lambda *_: None)
    assert "hush" not in str(caught.value.as_dict())
    assert "netrc" in caught.value.hint


def test_a_password_comes_from_netrc(get, site, tmp_path, monkeypatch):
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    (home / ".netrc").write_text("machine 127.0.0.1 login me password hush\n")
    (home / ".netrc").chmod(0o600)
    get()
    assert site.authorization == ["Basic bWU6aHVzaA=="]


def test_a_broken_netrc_is_named(get, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".netrc").write_text("machine\n")
    with pytest.raises(ModelError, match="netrc"):
        get()


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://h/x?v=2&design=b", "https://h/x?v=2&design=b"),
        ("https://h/x?X-Amz-Signature=abc&v=2", "https://h/x"),
        ("https://h/x?token=abc", "https://h/x"),
    ],
)
def test_credentials_in_parameters_are_neither_shown_nor_recorded(url, shown):
    assert http.public(httpx.URL(url)) == shown


def test_two_downloads_of_the_same_file_do_not_meet(get, tmp_path):
    with part(tmp_path).open("ab") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(ModelError, match="another orchestrate"):
            get()
