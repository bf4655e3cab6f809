"""The packages of the clients, installed into empty environments, and the files of a release."""

from __future__ import annotations

import functools
import hashlib
import http.server
import platform
import subprocess
import sys
import tarfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lib.service import ROOT, binary

CLIENTS = ROOT / "clients"
TOOLS = ROOT / ".tools/venv/bin/python"


def build_wheel(directory: Path) -> Path:
    """Builds the wheel of the Python client."""
    run([TOOLS, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", directory, CLIENTS / "python"])
    [wheel] = directory.glob("*.whl")
    return wheel


def pack_javascript(directory: Path) -> Path:
    """Makes the npm tarball of the JavaScript client."""
    run(["npm", "pack", "--silent", "--pack-destination", directory], cwd=CLIENTS / "javascript")
    [tarball] = directory.glob("*.tgz")
    return tarball


def install_python(directory: Path) -> Path:
    """Builds the wheel and installs it, with what signing needs, into an empty environment. Returns its
    interpreter."""
    wheel = build_wheel(directory)
    # The environment gets no pip, because that would take longer to install than the client.
    run([sys.executable, "-m", "venv", "--without-pip", directory / "environment"])
    interpreter = directory / "environment/bin/python"
    install: list[str | Path] = ["--python", interpreter, "install", "--quiet", "--disable-pip-version-check"]
    run([TOOLS, "-m", "pip", *install, f"{wheel}[signed]"])
    return interpreter


def install_javascript(directory: Path) -> Path:
    """Builds the npm tarball and installs it into an empty project. Returns its directory."""
    directory.mkdir()
    tarball = pack_javascript(directory)
    (directory / "package.json").write_text('{"private": true, "type": "module"}\n')
    run(["npm", "install", "--silent", "--no-audit", "--no-fund", tarball], cwd=directory)
    return directory


def write_archive(directory: Path) -> Path:
    """Writes an archive of the command under test, with the name that packaging/install.sh requests on this machine,
    and its checksum."""
    system = {"Linux": "unknown-linux-musl", "Darwin": "apple-darwin"}[platform.system()]
    machine = {"arm64": "aarch64"}.get(platform.machine(), platform.machine())
    archive = directory / f"aurora-discovery-{machine}-{system}.tar.gz"
    with tarfile.open(archive, "w:gz", compresslevel=1) as packed:
        packed.add(binary(), "aurora-discovery")
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    (directory / "SHA256SUMS").write_text(f"{'0' * 64}  other-{archive.name}\n{digest}  {archive.name}\n")
    return archive


@contextmanager
def served(directory: Path) -> Iterator[str]:
    """A web server with the files of a directory. Yields its URL."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Files, directory=directory))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()


class Files(http.server.SimpleHTTPRequestHandler):
    """Serves files, and logs nothing."""

    def log_message(self, format: str, *args: object) -> None:
        """Logs nothing: only failures matter."""


def run(command: list[str | Path], cwd: Path = ROOT) -> None:
    """Runs a command, and shows its output if it fails."""
    result = subprocess.run(command, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if result.returncode != 0:
        raise SystemExit(f"{' '.join(map(str, command))} failed:\n{result.stdout}")
