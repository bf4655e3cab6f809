"""deploy.sh finds the function's code: a file, a URL, the release of this version, or a build."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
import threading
import unittest
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

from standin import minimal_path
from template import MAIN, ROOT, SCRIPTS

VERSION = next(
    line.split('"')[1] for line in (ROOT / "Cargo.toml").read_text().splitlines() if line.startswith("version = ")
)
ZIP = b"the function's code"


class QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


class Artifacts(unittest.TestCase):
    folder: ClassVar[Path]
    web: ClassVar[str]

    @classmethod
    def setUpClass(cls) -> None:
        cls.folder = Path(cls.enterClassContext(tempfile.TemporaryDirectory(prefix="aurora-artifact-")))
        assets = cls.folder / f"web/owner/name/releases/download/v{VERSION}"
        assets.mkdir(parents=True)
        for architecture in ("arm64", "x86_64"):
            (assets / f"aurora-lambda-{architecture}.zip").write_bytes(ZIP + architecture.encode())
        handler = partial(QuietHandler, directory=str(cls.folder / "web"))
        server = cls.enterClassContext(ThreadingHTTPServer(("127.0.0.1", 0), handler))
        cls.web = f"http://127.0.0.1:{server.server_port}"
        threading.Thread(target=server.serve_forever, daemon=True).start()
        cls.addClassCleanup(server.shutdown)

    def setUp(self) -> None:
        """A clone of a released version, and a PATH without tools to build."""
        home = Path(tempfile.mkdtemp(dir=self.folder))
        self.clone, self.path = home / "clone", minimal_path(home / "bin", None)
        scripts = self.clone / "Infrastructure" / "P2P"
        shutil.copytree(SCRIPTS, scripts)
        (self.clone / "Cargo.toml").write_text(f'[workspace.package]\nversion = "{VERSION}"\n')
        self.origin(f"{self.web}/owner/name.git")
        sums = [hashlib.sha256(ZIP + name).hexdigest() for name in (b"arm64", b"x86_64")]
        self.pin(f"https://example.org/owner/name/releases/download/v{VERSION}", *sums)

    def origin(self, url: str) -> None:
        (self.clone / ".git").mkdir(exist_ok=True)
        other = '[remote "fork"]\n\turl = https://example.org/fork.git\n'
        (self.clone / ".git" / "config").write_text(f'[core]\n{other}[remote "origin"]\n\turl = {url}\n{other}')

    def pin(self, url: str, arm64: str, x86: str) -> None:
        template = self.clone / "Infrastructure" / "P2P" / MAIN.name
        line = next(line for line in template.read_text().splitlines() if "Pinned: {" in line)
        pinned = f'    Pinned: {{Url: "{url}", Arm64: "{arm64}", X86: "{x86}"}}'
        template.write_text(template.read_text().replace(line, pinned))

    def tool(self, name: str, script: str) -> None:
        path = self.path / name
        path.write_text(f"#!{shutil.which('bash')}\n{script}\n")
        path.chmod(0o755)

    def run_function(self, commands: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """Runs functions of deploy.sh in the clone."""
        settings = {"architecture": "arm64"} | variables
        assignments = " ".join(f"{name}='{value}'" for name, value in settings.items())
        script = f'. Infrastructure/P2P/deploy.sh; work=$(mktemp -d); {assignments}; {commands}; rm -rf "$work"'
        return subprocess.run(
            [str(shutil.which("bash")), "-c", script],
            cwd=self.clone,
            env={"PATH": str(self.path), "TMPDIR": str(self.folder)},
            capture_output=True,
            text=True,
            check=False,
        )

    def found(self, **variables: str) -> tuple[str, bytes]:
        """The output of the script, and the artifact that it found."""
        run = self.run_function('find_artifact; cat "$artifact" >found', **variables)
        self.assertEqual(run.returncode, 0, run.stdout + run.stderr)
        return run.stdout, (self.clone / "found").read_bytes()

    def failed(self, **variables: str) -> str:
        run = self.run_function("find_artifact", **variables)
        self.assertNotEqual(run.returncode, 0, run.stdout)
        return run.stderr

    def test_the_zip_of_this_versions_release_comes_from_the_repository_of_the_clone(self) -> None:
        for architecture in ("arm64", "x86_64"):
            output, content = self.found(architecture=architecture)
            self.assertEqual(content, ZIP + architecture.encode())
            self.assertIn(f"{self.web}/owner/name/releases/download/v{VERSION}/aurora-lambda-{architecture}", output)

    def test_a_file_that_differs_from_the_released_one_is_refused(self) -> None:
        self.pin(f"https://example.org/v{VERSION}", "0" * 64, "0" * 64)
        self.assertIn("is not the file that was released", self.failed())

    def test_an_artifact_can_be_a_url(self) -> None:
        url = f"{self.web}/owner/name/releases/download/v{VERSION}/aurora-lambda-x86_64.zip"
        output, content = self.found(artifact=url)
        self.assertEqual(content, ZIP + b"x86_64")
        self.assertIn(hashlib.sha256(content).hexdigest(), output)
        self.assertIn("could not be downloaded", self.failed(artifact=url + ".missing"))

    def test_without_any_way_to_the_code_the_message_says_what_each_would_need(self) -> None:
        (self.clone / "Cargo.toml").write_text('version = "99.0.0"\n')
        message = self.failed()
        self.assertIn(f"this checkout is of v99.0.0, and cloudformation.yaml names v{VERSION}", message)
        for need in ("--artifact FILE or URL", "install it from https://rustup.rs", "docs.docker.com/get-docker"):
            self.assertIn(need, message)
        (self.clone / "Cargo.toml").write_text(f'version = "{VERSION}"\n')
        self.origin("/srv/git/name.git")
        self.assertIn("no remote named origin with a web address", self.failed())
        self.origin(f"{self.web}/another/name")
        self.tool("cargo", "exit 1")
        self.tool("docker", "exit 1")
        message = self.failed()
        self.assertRegex(message, "another/name/releases/.* could not be downloaded: curl: .*404")
        self.assertIn("cargo-lambda: it is missing: pip install cargo-lambda ziglang", message)
        self.assertIn("Docker: its engine does not respond", message)

    def test_the_function_is_built_with_cargo_lambda(self) -> None:
        made = 'mkdir -p "${@: -1}/bootstrap"; echo "$*" >"${@: -1}/bootstrap/bootstrap.zip"'
        self.tool("cargo", f'[ "$2" = --version ] && exit; {made}')
        self.tool("rustc", "echo /")
        (self.path / "mkdir").symlink_to(str(shutil.which("mkdir")))
        output, content = self.found(build="yes", architecture="x86_64")
        self.assertNotIn("downloading", output)
        self.assertIn(b"lambda build --release --x86-64 --package aurora-discovery-lambda", content)
        self.tool("rustc", "echo /missing")
        self.assertIn("rustup target add aarch64-unknown-linux-gnu", self.failed(build="yes"))

    def test_the_function_is_built_with_docker_alone(self) -> None:
        self.tool(
            "docker", '[ "$1" = version ] || { all=$*; out=${all##*dest=}; echo "$all" >"${out%% *}/bootstrap.zip"; }'
        )
        _, content = self.found(build="yes")
        self.assertIn(b"build --file ", content)
        self.assertIn(b"--build-arg ARCHITECTURE=arm64 --output type=local,dest=", content)
        self.tool("docker", '[ "$1" = version ]')
        self.assertIn("the build failed", self.failed(build="yes"))

    def test_the_web_address_of_the_repository_is_derived_from_the_remote(self) -> None:
        for remote in (
            "https://github.com/owner/name",
            "https://github.com/owner/name.git",
            "https://token@github.com/owner/name/",
            "git@github.com:owner/name.git",
            "ssh://git@github.com:22/owner/name.git",
        ):
            with self.subTest(remote):
                self.origin(remote)
                self.assertEqual(self.run_function("origin").stdout, "https://github.com/owner/name\n")
        for remote in ("../name", "file:///srv/name.git", "C:\\name"):
            with self.subTest(remote):
                self.origin(remote)
                self.assertEqual(self.run_function("origin || echo none").stdout, "none\n")

    def test_a_worktree_has_the_remote_of_its_repository(self) -> None:
        self.origin("https://github.com/owner/name")
        main = self.clone.parent / "main"
        main.mkdir()
        os.rename(self.clone / ".git", main / ".git")
        (main / ".git" / "worktrees" / "clone").mkdir(parents=True)
        (self.clone / ".git").write_text(f"gitdir: {main}/.git/worktrees/clone\n")
        self.assertEqual(self.run_function("origin").stdout, "https://github.com/owner/name\n")

    def test_the_dockerfile_builds_with_the_pinned_cargo_lambda(self) -> None:
        requirements = (ROOT / "scripts" / "requirements.txt").read_text()
        pinned = next(line for line in requirements.splitlines() if line.startswith("cargo-lambda=="))
        self.assertIn(f" {pinned} ", (SCRIPTS / "Dockerfile").read_text())


if __name__ == "__main__":
    unittest.main()
