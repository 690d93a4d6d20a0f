"""Images on a real Docker Engine: pulled from a real registry, loaded, built, removed."""

import base64
import gzip
import io
import json
import os
import shutil
import subprocess
import tarfile
import tempfile
import threading
from pathlib import Path

import docker
import pytest
import requests

from orchestrator.errors import InventoryError, PreflightError, TransferError
from orchestrator.fleet.image import image_source
from orchestrator.targets.docker import image_files, images
from tests.dockerd import Dockerd, running_engine
from tests.needs import needs_program
from tests.registry import Registry, layer, serve

HOST = "gpu-1"
pytestmark = pytest.mark.xdist_group("docker")


class Hand:
    """find, bring and remove on one engine, with what the progress was."""

    def __init__(self, api, folder):
        self.api, self.folder, self.progress = api, folder, []

    def find(self, text, *, allow_tag=False):
        source = image_source(HOST, text, self.folder)
        return images.find(self.api, source, host=HOST, allow_tag=allow_tag)

    def bring(self, text, *, allow_tag=False):
        self.progress.clear()
        return images.bring(
            self.api,
            image_source(HOST, text, self.folder),
            host=HOST,
            allow_tag=allow_tag,
            on_progress=lambda done, total: self.progress.append((done, total)),
        )

    def refused(self, text, *, kind=TransferError, allow_tag=False):
        with pytest.raises(kind) as refused:
            self.bring(text, allow_tag=allow_tag)
        assert refused.value.message.startswith(f"{HOST}: ")
        assert "\n" not in refused.value.message
        assert refused.value.hint
        return refused.value

    def ids(self):
        return {each["Id"] for each in self.api.images(all=True)}


@pytest.fixture
def hand(docker_engine, tmp_path):
    hand = Hand(docker_engine.api, tmp_path)
    before = hand.ids()
    yield hand
    for each in hand.api.containers(all=True):
        if each["ImageID"] not in before:
            hand.api.remove_container(each["Id"], force=True)
    while new := hand.ids() - before:
        for each in new:
            try:
                hand.api.remove_image(each, force=True)
            except docker.errors.APIError as exc:
                if exc.status_code not in {404, 409}:  # 409: it has children, which go first
                    raise


@pytest.fixture
def registry():
    with serve(Registry()) as registry:
        yield registry


def busybox():
    return needs_program("busybox", "apt-get install busybox-static").read_bytes()


def monotonic(progress):
    return [done for done, _ in progress] == sorted(done for done, _ in progress)


# -- pulled


def test_an_image_is_pulled_by_its_digest_once(hand, registry):
    digest, image_id = registry.add("net", "1", {"a": os.urandom(3 << 20), "b": os.urandom(99)})
    name = f"{registry.address}/net@{digest}"

    assert hand.find(name) is None
    assert not registry.asked, "to look is not to ask the registry"
    image = hand.bring(name)
    assert image == images.Image(name, image_id, "amd64")
    assert monotonic(hand.progress)
    assert hand.progress[-1][0] == hand.progress[-1][1] > 3 << 20
    assert len(hand.progress) == len(set(hand.progress))

    registry.asked.clear()
    assert hand.find(name) == hand.bring(name) == image
    assert not registry.asked
    assert not hand.progress


def test_a_tag_beside_the_digest_is_for_people(hand, registry):
    digest, image_id = registry.add("net", "1", {"a": b"a"})
    name = f"{registry.address}/net:another@{digest}"

    assert hand.bring(name) == hand.find(name) == images.Image(name, image_id, "amd64")


def test_an_image_of_another_architecture_says_so(hand, registry):
    digest, _ = registry.add("net", "1", {"a": b"a"}, arch="arm64")

    assert hand.bring(f"{registry.address}/net@{digest}").arch == "arm64"


def test_a_list_without_this_architecture_is_told(hand, registry):
    digest, _ = registry.add("net", "1", {"a": b"a"}, arch="s390x")
    both = registry.add_list("net", "all", {"s390x": digest})

    refused = hand.refused(f"{registry.address}/net@{both}")
    assert refused.code_given == "image_platform"
    assert "no matching manifest for linux/" in refused.message


def test_a_list_is_pulled_for_this_architecture(hand, registry):
    arch = {"x86_64": "amd64", "aarch64": "arm64"}[os.uname().machine]
    digest, image_id = registry.add("net", "1", {"a": b"a"}, arch=arch)
    both = registry.add_list("net", "all", {arch: digest})

    name = f"{registry.address}/net@{both}"
    assert hand.bring(name) == hand.find(name) == images.Image(name, image_id, arch)


def test_a_digest_that_is_not_there_is_told(hand, registry):
    _, image_id = registry.add("net", "1", {"a": b"a"})
    registry.add("net", "1", {"a": b"b"})

    refused = hand.refused(f"{registry.address}/net@sha256:{'1' * 64}")
    assert refused.code_given == "image_missing"
    assert "manifest unknown" in refused.message
    assert hand.refused(f"{registry.address}/net@{image_id}").code_given == "image_missing"


def test_an_id_is_no_digest(hand, registry):
    digest, image_id = registry.add("net", "1", {"a": b"a"})
    hand.bring(f"{registry.address}/net@{digest}")

    assert hand.find(f"{registry.address}/net@{image_id}") is None
    refused = hand.refused(f"{registry.address}/net@{image_id}")
    assert "is written sha256:ID" in refused.hint


@pytest.mark.parametrize("status", [401, 403])
@pytest.mark.parametrize("by", ["tag", "digest"])
def test_a_registry_that_refuses_is_told(hand, registry, status, by):
    digest, _ = registry.add("net", "1", {"a": b"a"})
    registry.status = status

    name = f"{registry.address}/net:1" if by == "tag" else f"{registry.address}/net@{digest}"
    refused = hand.refused(name, allow_tag=True)
    assert refused.code_given == "image_denied"
    assert f"docker login {registry.address}" in refused.hint


@pytest.mark.parametrize("by", ["tag", "digest"])
def test_the_engine_gets_the_credentials_of_this_machine(
    hand, registry, docker_engine, tmp_path, monkeypatch, by
):
    digest, _ = registry.add("net", "1", {"a": b"a"})
    registry.login = base64.b64encode(b"ann:of-the-tests").decode()
    name = f"{registry.address}/net@{digest}"
    assert hand.refused(name).code_given == "image_denied"

    config = tmp_path / "docker"
    config.mkdir()
    auths = {"auths": {registry.address: {"auth": registry.login}}}
    (config / "config.json").write_text(json.dumps(auths))
    monkeypatch.setenv("DOCKER_CONFIG", str(config))
    hand.api = docker.APIClient(base_url=docker_engine.url, version="auto")
    try:
        asked = name if by == "digest" else f"{registry.address}/net:1"
        assert hand.bring(asked, allow_tag=True).reference == name
    finally:
        hand.api.close()


def test_a_blob_that_breaks_off_is_told(hand, registry):
    digest, _ = registry.add("net", "1", {"a": os.urandom(1 << 18)})
    registry.cut = set(registry.blobs)
    before = hand.ids()

    refused = hand.refused(f"{registry.address}/net@{digest}")
    assert "unexpected EOF" in refused.message
    assert hand.ids() == before


@pytest.mark.parametrize("by", ["tag", "digest"])
def test_a_registry_that_is_away_is_told(hand, by):
    with serve(Registry()) as registry:
        address = registry.address
    name = f"{address}/net:1" if by == "tag" else f"{address}/net@sha256:{'1' * 64}"

    refused = hand.refused(name, allow_tag=True)
    assert refused.code_given == "registry"
    assert "connection refused" in refused.message
    assert address in refused.hint
    assert "archive:FILE.tar" in refused.hint


def test_an_engine_that_dies_meanwhile_is_no_fault_of_the_image(registry, tmp_path):
    digest, _ = registry.add("net", "1", {"a": os.urandom(3 << 20)})
    registry.half = threading.Event()
    source = image_source(HOST, f"{registry.address}/net@{digest}", tmp_path)
    with running_engine() as engine:

        def die(done, total):
            if engine.process:
                engine.kill()

        with pytest.raises(requests.ConnectionError):
            images.bring(engine.api, source, host=HOST, allow_tag=False, on_progress=die)
        registry.half.set()


@pytest.fixture
def small_engine(docker_engine):
    """A Docker Engine whose disk has room for little."""
    folder = Path(tempfile.mkdtemp(prefix="dockerd-"))
    data = folder / "data"
    data.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(data)]
    subprocess.run(mount, check=True)
    try:
        with Dockerd(folder) as engine:
            yield engine
    finally:
        subprocess.run(["umount", "--lazy", str(data)], check=False, capture_output=True)
        shutil.rmtree(folder, ignore_errors=True)


def test_a_full_disk_is_told(small_engine, hand, registry, tmp_path):
    tree = {"a": os.urandom(30 << 20)}
    digest, _ = registry.add("net", "1", tree)
    name = f"{registry.address}/net@{digest}"
    hand.bring(name)
    save(hand.api, name, tmp_path / "net.tar")
    write_tree(tmp_path / "net", {"Dockerfile": b"FROM scratch\nCOPY a /a\n", **tree})

    small = Hand(small_engine.api, tmp_path)
    for wanted in (name, "archive:net.tar", "build:net"):
        refused = small.refused(wanted)
        assert refused.code_given == "space"
        assert "docker system df" in refused.hint
        assert small.find(wanted) is None


# -- by tag, by id


def test_a_tag_is_refused_with_what_to_write_instead(hand, registry):
    digest, _ = registry.add("net", "1", {"a": b"a"})
    tag = f"{registry.address}/net:1"
    write = f"Write {registry.address}/net@{digest}, what it is now, or give --allow-tag."

    refused = hand.refused(tag, kind=InventoryError)
    assert refused.code_given == "image_by_tag"
    assert tag in refused.message
    assert refused.hint == write
    hand.api.pull(tag)
    registry.status = 500
    assert hand.refused(tag, kind=InventoryError).hint == write
    with pytest.raises(InventoryError, match="is the tag"):
        hand.find(tag)


def test_a_tag_is_refused_where_no_registry_answers(hand):
    with serve(Registry()) as registry:
        tag = f"{registry.address}/net:1"
    refused = hand.refused(tag, kind=InventoryError)
    assert refused.hint == f"Write {tag[:-2]}@sha256:DIGEST, or give --allow-tag."


def test_an_allowed_tag_is_what_it_is_now(hand, registry):
    first, _ = registry.add("net", "1", {"a": b"a"})
    tag = f"{registry.address}/net:1"
    assert hand.find(tag, allow_tag=True) is None

    image = hand.bring(tag, allow_tag=True)
    assert image.reference == f"{registry.address}/net@{first}"
    assert hand.find(tag, allow_tag=True) == image

    second, _ = registry.add("net", "1", {"a": b"b"})
    assert hand.find(tag, allow_tag=True) is None
    later = hand.bring(tag, allow_tag=True)
    assert later.reference == f"{registry.address}/net@{second}"


def test_a_tag_that_the_engine_has_needs_no_registry(hand, registry):
    digest, _ = registry.add("net", "1", {"a": b"a"})
    hand.api.pull(f"{registry.address}/net:1")
    registry.status = 500

    image = hand.find(f"{registry.address}/net:1", allow_tag=True)
    assert image.reference == f"{registry.address}/net@{digest}"


def test_an_image_that_was_only_made_there_goes_by_its_id(hand, docker_names):
    image_id = imported(hand.api, f"{docker_names}/made:1", {"a": b"a"})

    refused = hand.refused(f"{docker_names}/made:1", kind=InventoryError)
    assert refused.hint.startswith(f"Write {image_id}, what it is now")
    by_tag = hand.find(f"{docker_names}/made:1", allow_tag=True)
    assert by_tag == hand.find(image_id) == hand.bring(image_id)
    assert (by_tag.reference, by_tag.id) == (image_id, image_id)


def test_a_tag_of_ones_own_is_not_in_the_registry_that_the_image_came_from(
    hand, registry, docker_names
):
    digest, image_id = registry.add("net", "1", {"a": b"a"})
    hand.bring(f"{registry.address}/net@{digest}")
    hand.api.tag(image_id, f"{docker_names}/mine", "1")

    assert hand.find(f"{docker_names}/mine:1", allow_tag=True).reference == image_id


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("busybox:1", "docker.io/library/busybox@sha256:1", True),
        ("library/busybox", "index.docker.io/busybox:1", True),
        ("lab/net", "docker.io/lab/net", True),
        ("localhost:5000/net", "localhost:5000/net:1", True),
        ("localhost:5000/net", "localhost:5001/net", False),
        ("lab/net", "ghcr.io/lab/net", False),
    ],
)
def test_a_repository_has_several_spellings(one, other, same):
    assert images._same_repository(one, other) is same


def test_an_id_that_is_not_there_is_told(hand):
    missing = f"sha256:{'1' * 64}"
    assert hand.find(missing) is None
    refused = hand.refused(missing, kind=PreflightError)
    assert refused.code_given == "image_missing"


# -- archives


def imported(api, tag, tree):
    name, _, version = tag.rpartition(":")
    api.import_image_from_data(layer(tree), repository=name, tag=version)
    return api.inspect_image(tag)["Id"]


def save(api, name, path):
    with path.open("wb") as file:
        for piece in api.get_image(name):
            file.write(piece)
    return path


@pytest.fixture
def saved(hand, docker_names):
    """A file of `docker save` and the image's id; the image is gone from the engine."""
    tag = f"{docker_names}/katago:1"
    image_id = imported(hand.api, tag, {"a": os.urandom(3 << 20)})
    path = save(hand.api, tag, hand.folder / "KataGo v1.16.tar")
    hand.api.remove_image(tag)
    return path, image_id, tag


@pytest.mark.parametrize("compressed", [False, True])
def test_an_archive_is_loaded_once_and_tagged_by_what_is_in_it(hand, saved, compressed):
    path, image_id, _ = saved
    if compressed:
        packed = path.with_name(f"{path.name}.gz")
        packed.write_bytes(gzip.compress(path.read_bytes(), 1))
        path = packed
    name = f"archive:{path.name}"

    assert hand.find(name) is None
    image = hand.bring(name)
    tag = f"orchestrate.local/katago-v1.16:{image_id.removeprefix('sha256:')[:12]}"
    assert (image.reference, image.id) == (tag, image_id)
    size = path.stat().st_size
    assert hand.progress[-1] == (size, size)
    assert monotonic(hand.progress)
    assert len(hand.progress) == size // (1 << 20) + 2
    assert hand.find(name) == hand.bring(name) == image
    assert not hand.progress
    assert hand.api.timeout == 60


def test_the_tags_of_an_archive_stay_what_they_were_on_the_engine(hand, saved):
    path, image_id, tag = saved
    hand.bring(f"archive:{path.name}")
    with pytest.raises(docker.errors.ImageNotFound):
        hand.api.inspect_image(tag)
    assert images.remove_unused(hand.api, image_id)

    other = imported(hand.api, tag, {"a": b"of somebody else"})
    hand.bring(f"archive:{path.name}")
    assert hand.api.inspect_image(tag)["Id"] == other

    hand.api.tag(image_id, *tag.split(":"))
    hand.api.remove_image(hand.find(f"archive:{path.name}").reference)
    hand.bring(f"archive:{path.name}")
    assert hand.api.inspect_image(tag)["Id"] == image_id


def test_an_archive_without_tags_is_loaded_too(hand, saved):
    path, image_id, _ = saved
    hand.bring(f"archive:{path.name}")
    save(hand.api, image_id, hand.folder / "without.tar.gz")
    assert images.remove_unused(hand.api, image_id)

    assert hand.bring("archive:without.tar.gz").id == image_id


def test_several_images_in_one_archive_are_named(hand, docker_names):
    tags = [f"{docker_names}/one:1", f"{docker_names}/two:1"]
    for tag in tags:
        imported(hand.api, tag, {"a": tag.encode()})
    both = hand.api._get(hand.api._url("/images/get"), params={"names": tags})
    (hand.folder / "both.tar").write_bytes(both.content)

    refused = hand.refused("archive:both.tar", kind=InventoryError)
    assert "2 images" in refused.message
    assert all(tag in refused.message for tag in tags)


@pytest.mark.parametrize(
    ("content", "cause"),
    [
        (None, "No such file"),
        (b"", "cannot be read"),
        (b"no tar file at all" * 99, "cannot be read"),
        (layer({"bin/sh": b"a file system, as `docker export` writes it"}), "no image in its"),
        (layer({"manifest.json": b"[]"}), "no image in its"),
        (layer({"manifest.json": b"{"}), "cannot be read"),
        (layer({"manifest.json": b'["x"]'}), "cannot be read"),
        (layer({"manifest.json": b'[{"Config": "config.json"}]'}), "cannot be read"),
        (layer({"manifest.json": b'{"a": 1}'}), "cannot be read"),
        pytest.param(
            gzip.compress(layer({"a": os.urandom(9999)}))[:5000], "cannot be read", id="cut off"
        ),
    ],
)
def test_what_is_no_archive_is_refused_before_the_engine_sees_it(tmp_path, content, cause):
    if content is not None:
        (tmp_path / "x.tar").write_bytes(content)
    with pytest.raises(InventoryError, match=cause) as refused:
        image_files.archive(HOST, tmp_path / "x.tar")
    assert "docker save" in refused.value.hint


def test_a_damaged_archive_is_told(hand, saved):
    path, _, _ = saved
    packed = bytearray(path.read_bytes())
    packed[len(packed) // 2] ^= 1
    path.write_bytes(packed)
    before = hand.ids()

    refused = hand.refused(f"archive:{path.name}")
    assert str(path) in refused.message
    assert "docker save" in refused.hint
    assert hand.ids() == before


def test_an_archive_that_changed_is_read_anew(hand, saved, docker_names):
    path, image_id, _ = saved
    assert image_files.archive(HOST, path).digest == image_id.removeprefix("sha256:")
    other = imported(hand.api, f"{docker_names}/other:1", {"a": b"other"})
    save(hand.api, f"{docker_names}/other:1", path)
    assert image_files.archive(HOST, path).digest == other.removeprefix("sha256:")


# -- built


def write_tree(folder, tree):
    for name, content in tree.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder


def test_a_folder_is_built_once(hand):
    folder = write_tree(
        hand.folder / "My_Net!",
        {
            "Dockerfile": b"FROM scratch\nCOPY . /net\n",
            ".dockerignore": b"# not needed\nnotes\n*.log\n!kept.log\n",
            "net": os.urandom(2 << 20),
            "notes/a": b"secret",
            "x.log": b"x",
            "kept.log": b"k",
        },
    )
    (folder / "link").symlink_to("net")
    (folder / "empty").mkdir()
    os.mkfifo(folder / "pipe")

    assert hand.find(f"build:{folder.name}") is None
    image = hand.bring("build:My_Net!")
    assert image.reference.startswith("orchestrate.local/my_net:")
    assert len(image.reference.rpartition(":")[2]) == 12
    assert monotonic(hand.progress)
    assert hand.progress[-1][0] == hand.progress[-1][1] > 2 << 20
    assert files_of(hand.api, image.reference) >= {"net/net", "net/link", "net/empty"}
    assert "net/kept.log" in files_of(hand.api, image.reference)
    assert not files_of(hand.api, image.reference) & {"net/notes/a", "net/notes", "net/x.log"}
    assert hand.find("build:My_Net!") == hand.bring("build:My_Net!") == image
    assert not hand.progress
    assert images.remove_unused(hand.api, image.id)
    assert hand.find("build:My_Net!") is None


def files_of(api, image):
    container = api.create_container(image, command="none")
    try:
        content = b"".join(api.export(container))
    finally:
        api.remove_container(container)
    with tarfile.open(fileobj=io.BytesIO(content)) as tar:
        return set(tar.getnames())


def change(folder, what):
    match what:
        case "content":
            (folder / "a").write_bytes(b"other")
        case "name":
            (folder / "a").rename(folder / "z")
        case "executable":
            (folder / "a").chmod(0o755)
        case "link":
            (folder / "link").unlink()
            (folder / "link").symlink_to("b")
        case "kind":
            (folder / "link").unlink()
            (folder / "link").write_bytes(b"a")
        case "folder":
            (folder / "new").mkdir()
        case "dockerfile":
            (folder / "Dockerfile").write_bytes(b"FROM scratch\nCOPY a /b\n")
        case "ignored":
            (folder / ".dockerignore").write_bytes(b"a\nignored\n")


@pytest.mark.parametrize(
    "what",
    ["content", "name", "executable", "link", "kind", "folder", "dockerfile", "ignored"],
)
def test_what_a_build_is_given_makes_its_identity(tmp_path, what):
    folder = contexts(tmp_path)
    before = image_files.context_digest(HOST, folder)
    change(folder, what)
    assert image_files.context_digest(HOST, folder) != before


def contexts(folder):
    write_tree(
        folder,
        {
            "Dockerfile": b"FROM scratch\nCOPY a /a\n",
            ".dockerignore": b"ignored\n",
            "ignored": b"i",
            "a": b"a",
            "b": b"b",
        },
    )
    (folder / "link").symlink_to("a")
    (folder / "a").chmod(0o600)
    return folder


def test_owners_times_and_what_is_ignored_make_no_identity(tmp_path):
    folder = contexts(tmp_path / "context")
    before = image_files.context_digest(HOST, folder)
    image_files.write_context(HOST, folder, tmp_path / "before.tar")

    os.utime(folder / "a", (1, 1))
    (folder / "a").chmod(0o640)
    (folder / "ignored").write_bytes(b"other")
    image_files.write_context(HOST, folder, tmp_path / "after.tar")
    assert image_files.context_digest(HOST, folder) == before
    assert (tmp_path / "before.tar").read_bytes() == (tmp_path / "after.tar").read_bytes()


def test_a_step_that_fails_is_named_with_its_last_words(hand, registry):
    digest, _ = registry.add("sh", "1", {"bin/sh": busybox()})
    write_tree(
        hand.folder / "net",
        {
            "Dockerfile": f"FROM {registry.address}/sh@{digest}\nENV A=1\n"
            "RUN echo compiling; echo first; echo no such header; exit 3\n".encode()
        },
    )

    refused = hand.refused("build:net")
    assert refused.code_given == "image_build"
    assert "Step 3/3 : RUN echo compiling" in refused.message
    assert "code: 3" in refused.message
    assert "no such header" in refused.hint
    assert not [c for c in hand.api.containers(all=True) if "compiling" in c["Command"]]


@pytest.mark.parametrize(
    ("dockerfile", "cause"),
    [
        (b"", "empty"),
        (b"FROM scratch\nCOPY nothing /\n", "nothing"),
        (b"FROM scratch\nBAKE it\n", "BAKE"),
        (b"FROM 127.0.0.1:1/none:1\n", "connection refused"),
    ],
)
def test_a_dockerfile_that_cannot_be_built_is_told(hand, dockerfile, cause):
    write_tree(hand.folder / "net", {"Dockerfile": dockerfile})
    refused = hand.refused("build:net")
    assert refused.code_given == "image_build"
    assert cause in refused.message


def test_what_needs_buildkit_is_told(hand, registry):
    digest, _ = registry.add("sh", "1", {"bin/sh": busybox()})
    text = f"FROM {registry.address}/sh@{digest}\nRUN --mount=type=cache,target=/c true\n"
    write_tree(hand.folder / "net", {"Dockerfile": text.encode()})
    assert "write archive:FILE.tar" in hand.refused("build:net").hint


def test_a_folder_without_a_dockerfile_is_refused(hand):
    write_tree(hand.folder / "net", {"a": b"a"})
    for name in ("net", "none"):
        refused = hand.refused(f"build:{name}", kind=InventoryError)
        assert "no Dockerfile" in refused.message


@pytest.mark.parametrize(
    ("name", "repository"),
    [
        ("katago.tar", "katago"),
        ("KataGo 1.16 (CUDA).tar.gz", "katago-1.16-cuda"),
        ("a__b..c-.tgz", "a-b-c"),
        ("日本.tar", "image"),
        ("x" * 240, "x" * 100),
        (".tar", "image"),
    ],
)
def test_every_file_name_gives_a_name_that_docker_takes(tmp_path, name, repository):
    tag = image_files.local_tag(tmp_path / name, "0f" * 32)
    assert tag == f"orchestrate.local/{repository}:0f0f0f0f0f0f"
    assert docker.utils.match_tag(tag)


# -- removed


def test_what_a_container_uses_stays(hand, registry):
    digest, _ = registry.add("net", "1", {"a": b"a"})
    image = hand.bring(f"{registry.address}/net@{digest}")
    container = hand.api.create_container(image.id, command="none")

    assert not images.remove_unused(hand.api, image.id)
    assert hand.find(image.reference) == image
    hand.api.remove_container(container)
    assert images.remove_unused(hand.api, image.id)
    assert hand.find(image.reference) is None
    assert not images.remove_unused(hand.api, image.id)


def test_what_somebody_tagged_stays(hand, registry, docker_names):
    digest, _ = registry.add("net", "1", {"a": b"a"})
    image = hand.bring(f"{registry.address}/net@{digest}")
    hand.api.tag(image.id, f"{docker_names}/mine", "1")

    assert not images.remove_unused(hand.api, image.id)
    assert hand.find(image.reference) == image


def test_what_has_no_name_stays_for_nobody_could_bring_it_again(hand):
    said = hand.api.import_image_from_data(layer({"a": os.urandom(9)}))
    image_id = json.loads(said.splitlines()[-1])["status"]

    assert not images.remove_unused(hand.api, image_id)
    assert hand.find(image_id).id == image_id


def test_all_local_tags_of_an_image_go(hand, saved):
    path, image_id, _ = saved
    hand.bring(f"archive:{path.name}")
    again = path.with_name("again.tar")
    path.rename(again)
    hand.bring("archive:again.tar")
    assert len(hand.api.inspect_image(image_id)["RepoTags"]) == 2

    assert images.remove_unused(hand.api, image_id)
    assert image_id not in hand.ids()


def test_what_another_image_is_built_on_stays(hand, registry):
    digest, image_id = registry.add("net", "1", {"a": b"a"})
    hand.bring(f"{registry.address}/net@{digest}")
    text = f"FROM {registry.address}/net@{digest}\nCOPY b /b\n"
    write_tree(hand.folder / "net", {"Dockerfile": text.encode(), "b": b"b"})
    built = hand.bring("build:net")

    assert not images.remove_unused(hand.api, image_id)
    assert images.remove_unused(hand.api, built.id)
