"""The packages of the Python and JavaScript clients, installed into empty environments."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from lib.service import ROOT

CLIENTS = ROOT / "clients"


def install_python(directory: Path) -> Path:
    """Builds the wheel and installs it, with the dependencies for signing, into an empty environment.
    Returns the interpreter of the environment."""
    tools = ROOT / ".tools/venv/bin/python"
    run([tools, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", directory, CLIENTS / "python"])
    [wheel] = directory.glob("*.whl")
    # The environment gets no pip, because installing that would take longer than installing the client.
    run([sys.executable, "-m", "venv", "--without-pip", directory / "environment"])
    interpreter = directory / "environment/bin/python"
    install: list[str | Path] = ["--python", interpreter, "install", "--quiet", "--disable-pip-version-check"]
    run([tools, "-m", "pip", *install, f"{wheel}[signed]"])
    return interpreter


def install_javascript(directory: Path) -> Path:
    """Builds the npm tarball and installs it into an empty project. Returns its directory."""
    directory.mkdir()
    run(["npm", "pack", "--silent", "--pack-destination", directory], cwd=CLIENTS / "javascript")
    [tarball] = directory.glob("*.tgz")
    (directory / "package.json").write_text('{"private": true, "type": "module"}\n')
    run(["npm", "install", "--silent", "--no-audit", "--no-fund", tarball], cwd=directory)
    return directory


def run(command: list[str | Path], cwd: Path = ROOT) -> None:
    """Runs a command, and shows its output if it fails."""
    result = subprocess.run(command, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if result.returncode != 0:
        raise SystemExit(f"{' '.join(map(str, command))} failed:\n{result.stdout}")
