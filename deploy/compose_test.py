"""Runs compose.yaml on a real Docker Engine: store, kill a node, read, start it again.

Needs a Docker Engine that answers and either `docker compose` or `docker-compose`.  Where nothing
can be pulled, the base image is made with debootstrap (as root) once and kept under the name
`holdfast-test-base`.  What cannot run here says so in words and ends with status 0; everything this
test made, but for that base image, is gone at the end.

    python deploy/compose_test.py            BASE_IMAGE=... names a base image that is there already
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from http import HTTPStatus
from pathlib import Path

DEPLOY = Path(__file__).resolve().parent
TREE = DEPLOY.parent
BASE = "holdfast-test-base"
MIRROR = "http://deb.debian.org/debian"
CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
READY_S = 90.0
NODES = 3


class Skip(Exception):
    """This machine cannot run the test; the reason is for a person."""


def say(words: str) -> None:
    """One line of progress."""
    print(f"== {words}", flush=True)


def run(*command: str, env: Mapping[str, str] | None = None, quiet: bool = True) -> str:
    """Run a program; its output is shown when it fails."""
    done = subprocess.run(
        command, env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False
    )
    if done.returncode or not quiet:
        print(done.stdout[-8000:])
    if done.returncode:
        raise SystemExit(f"failed: {' '.join(command)}")
    return done.stdout


def compose_command() -> list[str]:
    """How compose is called here; raises Skip when there is no engine or no compose."""
    if shutil.which("docker") is None:
        raise Skip("there is no docker command")
    if subprocess.run(["docker", "info"], capture_output=True, check=False).returncode:
        raise Skip("no Docker Engine answers (is dockerd running? is DOCKER_HOST right?)")
    plugin = subprocess.run(["docker", "compose", "version"], capture_output=True, check=False)
    if not plugin.returncode:
        return ["docker", "compose"]
    if shutil.which("docker-compose"):
        return ["docker-compose"]
    raise Skip("there is neither `docker compose` nor docker-compose")


def base_image() -> str:
    """A base image with Python; raises Skip when none can be had."""
    named = os.environ.get("BASE_IMAGE", "")
    for image in (named, BASE):
        if image and not subprocess.run(
            ["docker", "image", "inspect", image], capture_output=True, check=False
        ).returncode:
            return image
    if named:
        raise Skip(f"there is no image {named}")
    if shutil.which("debootstrap") is None or os.geteuid() != 0:
        raise Skip("a base image needs debootstrap (apt-get install debootstrap) and root")
    say("making a base image with debootstrap")
    with tempfile.TemporaryDirectory(prefix="holdfast-base-") as root:
        packages = "--include=python3,python3-venv,ca-certificates"
        run("debootstrap", "--variant=minbase", packages, "bookworm", root, MIRROR)
        if CERTIFICATES.exists():  # what this machine trusts, its package mirrors included
            shutil.copy(CERTIFICATES, Path(root) / "etc/ssl/certs/ca-certificates.crt")
        archive = f"{root}.tar"
        try:
            run("tar", "-C", root, "-cf", archive, ".")
            run("docker", "import", archive, BASE)
        finally:
            Path(archive).unlink(missing_ok=True)
    return BASE


def free_port() -> int:
    """A port that nobody listens on at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def project(compose: list[str], image: str, port: int) -> Iterator[list[str]]:
    """The compose project, down and without volumes at the end; yields its command."""
    with tempfile.TemporaryDirectory(prefix="holdfast-compose-") as scratch:
        secret = Path(scratch) / "secret"
        secret.write_text(secrets.token_urlsafe(32))
        secret.chmod(0o444)
        os.environ |= {
            "HOLDFAST_IMAGE": image,
            "HOLDFAST_PORT": str(port),
            "HOLDFAST_SECRET_FILE": str(secret),
        }
        name = f"holdfast-test-{os.getpid()}"
        command = [*compose, "-p", name, "-f", str(DEPLOY / "compose.yaml")]
        try:
            run(*command, "up", "-d", "--no-build")
            yield command
        except BaseException:
            print(subprocess.run([*command, "logs", "--tail", "40"], text=True,
                                 capture_output=True, check=False).stdout[-8000:])
            raise
        finally:
            run(*command, "down", "--volumes", "--timeout", "20")


class Gateway:
    """HTTP to the published port."""

    def __init__(self, port: int) -> None:
        self._url = f"http://127.0.0.1:{port}"

    def ask(self, method: str, path: str, body: bytes | None = None) -> tuple[int, bytes]:
        """Status and body; 0 when nobody answers."""
        url = self._url + path
        request = urllib.request.Request(url, data=body, method=method)  # noqa: S310  # our own http://
        try:
            with urllib.request.urlopen(request, timeout=30) as response:  # noqa: S310  # likewise
                return response.status, response.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()
        except OSError:
            return 0, b""

    def wait_for(self, words: str, voters: int) -> None:
        """Until that many nodes vote; raises after READY_S."""
        end = time.monotonic() + READY_S
        while time.monotonic() < end:
            status, body = self.ask("GET", "/v1/status")
            if status == HTTPStatus.OK:
                states = [node["state"] for node in json.loads(body)["nodes"]]
                if states.count("voter") == voters:
                    say(f"{words}: {states}")
                    return
            time.sleep(0.3)
        raise SystemExit(f"{words}: not within {READY_S:.0f} s; last answer {status} {body!r}")


def expect(words: str, wanted: object, got: object) -> None:
    """A check that fails loudly."""
    if wanted != got:
        raise SystemExit(f"{words}: wanted {wanted!r}, got {got!r}")
    say(words)


def scenario(command: list[str], gateway: Gateway) -> None:
    """What the issue asks for."""
    gateway.wait_for("all nodes vote", NODES)
    blobs = [os.urandom(size) for size in (0, 1024, 9 * 1024 * 1024)]
    paths = [f"/v1/blobs/sha256:{hashlib.sha256(blob).hexdigest()}" for blob in blobs]
    for path, blob in zip(paths, blobs, strict=True):
        expect(f"stored {len(blob)} bytes", 201, gateway.ask("PUT", path, blob)[0])
    run(*command, "kill", "node-2")
    gateway.wait_for("node-2 was killed", NODES - 1)
    for path, blob in zip(paths, blobs, strict=True):
        expect(f"read {len(blob)} bytes without node-2", (200, blob), gateway.ask("GET", path))
    late = b"written while node-2 is away"
    late_path = f"/v1/blobs/sha256:{hashlib.sha256(late).hexdigest()}"
    expect("a miss without node-2 is 404", 404, gateway.ask("GET", late_path)[0])
    expect("a put without node-2", 201, gateway.ask("PUT", late_path, late)[0])
    run(*command, "start", "node-2")
    gateway.wait_for("node-2 is back and votes", NODES)
    expect("everything reads again", (200, late), gateway.ask("GET", late_path))
    identity = run(*command, "ps", "-q", "gateway").strip()
    (container,) = json.loads(run("docker", "inspect", identity))
    user, read_only = container["Config"]["User"], container["HostConfig"]["ReadonlyRootfs"]
    expect("not root, read-only root", ("10001:10001", True), (user, read_only))
    bindings = container["NetworkSettings"]["Ports"]
    addresses = {entry["HostIp"] for entry in bindings["7070/tcp"]}
    expect("published on loopback only", {"127.0.0.1"}, addresses)


def main() -> int:
    """Exit status."""
    try:
        compose = compose_command()
        base = base_image()
    except Skip as reason:
        print(f"compose test skipped: {reason}")
        return 0
    image, port = f"holdfast-test:{os.getpid()}", free_port()
    say(f"building the image on {base}")
    build = ["docker", "build", "--network=host", "-f", str(DEPLOY / "Dockerfile")]
    run(*build, "-t", image, "--build-arg", f"BASE_IMAGE={base}", str(TREE))
    try:
        with project(compose, image, port) as command:
            scenario(command, Gateway(port))
    finally:
        subprocess.run(["docker", "image", "rm", image], capture_output=True, check=False)
    print("compose test passed")
    return 0


if __name__ == "__main__":
    sys.exit(main())
