"""scripts/release: what it builds, the checksums, and the line of the template that names a release."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

import yaml
from template import MAIN, MOST_BYTES, ROOT, load

URL = "https://github.com/owner/name/releases/download/v9.9.9"


class Release(unittest.TestCase):
    def setUp(self) -> None:
        """A copy of what the script reads, with stand-ins for the tools that build."""
        self.clone = Path(self.enterContext(tempfile.TemporaryDirectory(prefix="aurora-release-")))
        for folder in ("Infrastructure", "scripts"):
            shutil.copytree(ROOT / folder, self.clone / folder, ignore=shutil.ignore_patterns("__pycache__"))
        (self.clone / "bin").mkdir()
        self.dist = self.clone / "dist"

    def tool(self, name: str, script: str) -> None:
        path = self.clone / "bin" / name
        path.write_text(f'#!/usr/bin/env bash\necho "{name} $*" >>calls\n{script}\n')
        path.chmod(0o755)

    def release(self, *arguments: str, **variables: str) -> None:
        path = f"{self.clone}/bin:{Path(sys.executable).parent}:{os.environ['PATH']}"
        environment = {"PATH": path, "HOME": str(self.clone)} | variables
        run = subprocess.run(
            [str(self.clone / "scripts" / "release"), *arguments],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        self.assertEqual(run.returncode, 0, run.stderr)

    def calls(self) -> str:
        return (self.clone / "calls").read_text()

    def test_the_function_is_built_for_its_architecture(self) -> None:
        self.tool("cargo", "mkdir -p dist/lambda/bootstrap && echo zip >dist/lambda/bootstrap/bootstrap.zip")
        for architecture, flag in (("arm64", "--arm64"), ("x86_64", "--x86-64")):
            self.release("function", architecture)
            self.assertEqual((self.dist / f"aurora-lambda-{architecture}.zip").read_text(), "zip\n")
            self.assertIn(f"lambda build --release --locked {flag} --package aurora-discovery-lambda", self.calls())

    def test_the_command_is_built_for_each_target_of_the_workflow(self) -> None:
        self.tool("cargo", 'out=target/${TARGET}/release; mkdir -p "$out"; touch "$out/aurora-discovery"')
        workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "release.yml").read_text())
        targets = [entry["target"] for entry in workflow["jobs"]["command"]["strategy"]["matrix"]["include"]]
        self.assertEqual(len(targets), 6)
        for target in targets:
            self.release("command", target, TARGET=target)
            self.assertTrue((self.dist / f"aurora-discovery-{target}.tar.gz").exists())
        self.assertRegex(self.calls(), "cargo zigbuild .* --target x86_64-unknown-linux-musl\n")
        self.assertRegex(self.calls(), r"cargo zigbuild .* --target aarch64-unknown-linux-gnu\.2\.17\n")
        self.assertRegex(self.calls(), "cargo build .* --target aarch64-apple-darwin\n")

    def test_the_image_of_each_architecture_becomes_one(self) -> None:
        self.tool("docker", "true")
        self.tool("git", "echo 0a1b2c3")
        self.release("image", "registry/name:1-arm64", PUSH="1")
        self.release("image", "registry/name:1")
        self.release("manifest", "registry/name:1")
        options = "--file packaging/container/Dockerfile --build-arg BUILD_COMMIT=0a1b2c3"
        self.assertTrue((ROOT / "packaging" / "container" / "Dockerfile").exists())
        expected = [
            f"docker buildx build {options} --tag registry/name:1-arm64 --push .",
            f"docker buildx build {options} --tag registry/name:1 .",
            "docker buildx imagetools create --tag registry/name:1 registry/name:1-amd64 registry/name:1-arm64",
        ]
        calls = [call for call in self.calls().splitlines() if call.startswith("docker")]
        self.assertEqual(calls, expected)

    def test_the_archive_of_a_target_becomes_a_debian_package(self) -> None:
        self.tool("cargo", "true")
        self.dist.mkdir()
        command = self.clone / "aurora-discovery"
        command.write_text("the command")
        archive = self.dist / "aurora-discovery-aarch64-unknown-linux-musl.tar.gz"
        subprocess.run(["tar", "-czf", archive, "-C", self.clone, command.name], check=True)
        self.release("deb", "aarch64-unknown-linux-musl")
        unpacked = self.clone / "target/aarch64-unknown-linux-musl/release" / command.name
        self.assertEqual(unpacked.read_text(), "the command")
        self.assertRegex(self.calls(), "cargo deb --no-build .* --target aarch64-unknown-linux-musl ")

    def test_the_clients_and_the_installer_are_files_of_the_release(self) -> None:
        self.tool("pip", "touch dist/aurora_discovery-1.0.0-py3-none-any.whl")
        self.tool("npm", "touch ../../dist/aurora-alliance-discovery-1.0.0.tgz")
        (self.clone / "clients/javascript").mkdir(parents=True)
        (self.clone / "packaging").mkdir()
        shutil.copy(ROOT / "packaging/install.sh", self.clone / "packaging")
        self.release("clients")
        self.release("checksums")
        subprocess.run(["sha256sum", "--check", "--quiet", "SHA256SUMS"], cwd=self.dist, check=True)
        summed = {line.split()[1] for line in (self.dist / "SHA256SUMS").read_text().splitlines()}
        names = {"aurora_discovery-1.0.0-py3-none-any.whl", "aurora-alliance-discovery-1.0.0.tgz", "install.sh"}
        self.assertEqual(summed, names)

    def test_the_template_names_the_release_and_its_checksums(self) -> None:
        self.dist.mkdir()
        for name in ("aurora-lambda-arm64.zip", "aurora-lambda-x86_64.zip", "x.tar.gz", "x.cdx.json"):
            (self.dist / name).write_text(name)
        self.release("checksums")
        subprocess.run(["sha256sum", "--check", "--quiet", "SHA256SUMS"], cwd=self.dist, check=True)
        self.release("pin", URL)
        template = self.clone / "Infrastructure" / "P2P" / MAIN.name
        sums = {
            key: hashlib.sha256(name.encode()).hexdigest()
            for key, name in (("Arm64", "aurora-lambda-arm64.zip"), ("X86", "aurora-lambda-x86_64.zip"))
        }
        self.assertEqual(load(template)["Mappings"]["Release"]["Pinned"], {"Url": URL} | sums)
        self.assertLess(len(template.read_bytes()), MOST_BYTES)
        stamps = [re.findall(r"ApiDeploymentCors([0-9a-f]{8})", path.read_text()) for path in (MAIN, template)]
        self.assertNotEqual(stamps[0], stamps[1])
        self.assertEqual(sorted(path.name for path in template.parent.glob("*.bak")), [])

    def test_the_tools_of_the_workflow_are_those_of_the_tests(self) -> None:
        tested = (ROOT / "scripts" / "requirements.txt").read_text().splitlines()
        used = (ROOT / "scripts" / "release-requirements.txt").read_text().splitlines()
        self.assertIn(next(line for line in used if line.startswith("cargo-lambda==")), tested)
        zig = next(line for line in used if line.startswith("ziglang=="))
        self.assertIn(f" {zig}\n", (ROOT / "Infrastructure" / "P2P" / "Dockerfile").read_text())


if __name__ == "__main__":
    unittest.main()
