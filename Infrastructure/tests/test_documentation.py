"""docs/operations.md mentions only settings, parameters, alarms and metrics that exist."""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import unittest
import urllib.request
from pathlib import Path

from template import ROOT, SCRIPTS, load, of_type

sys.path.insert(0, str(ROOT / "scripts"))

from lib.service import START_SECONDS, Service, binary, wait_until  # noqa: E402

DOCUMENT = (ROOT / "docs" / "operations.md").read_text()


def help_of(subcommand: str) -> str:
    return subprocess.run([binary(), subcommand, "--help"], capture_output=True, text=True, check=True).stdout


class OperationsDocument(unittest.TestCase):
    def test_documented_options_exist(self) -> None:
        helps = "".join(help_of(subcommand) for subcommand in ("serve", "cost", "doctor"))
        known = set(re.findall(r"--[a-z-]+", helps + (SCRIPTS / "deploy.sh").read_text()))
        named = set(re.findall(r"`(--[a-z-]+)", DOCUMENT))
        self.assertGreater(len(named), 8)
        self.assertEqual(named - known, set())

    def test_documented_cost_commands_run(self) -> None:
        folder = self.enterContext(tempfile.TemporaryDirectory(prefix="aurora-operations-"))
        commands = re.findall(r"^aurora-discovery (cost .*)$", DOCUMENT, re.MULTILINE)
        self.assertGreater(len(commands), 3)
        for command in commands:
            with self.subTest(command):
                subprocess.run(f"{binary()} {command}", shell=True, cwd=folder, stdout=subprocess.DEVNULL, check=True)

    def test_documented_parameters_exist(self) -> None:
        parameters = load()["Parameters"].keys()
        assigned = set(re.findall(r"(?:`|--parameter |--parameter-overrides )([A-Z][a-z]+[A-Za-z]*)=", DOCUMENT))
        assigned -= {
            "ParameterKey",
            "LimitNOFILE",
            "StateDirectory",
            "ExecReload",
            "Type",
        }  # keywords of the AWS CLI and of systemd
        self.assertGreater(len(assigned), 6)
        self.assertEqual(assigned - parameters, set())

    def test_every_alarm_is_documented(self) -> None:
        for alarm in of_type(load(), "AWS::CloudWatch::Alarm").values():
            name = alarm["Properties"]["AlarmName"]["Fn::Sub"].removeprefix("aurora-p2p-${Environment}-")
            self.assertIn(f"\n| `{name}` |", DOCUMENT)

    def test_documented_metrics_exist(self) -> None:
        folder = self.enterContext(tempfile.TemporaryDirectory(prefix="aurora-operations-"))
        # With a certificate, because one metric is the time at which it expires.
        with Service("--metrics-listen", "127.0.0.1:0", "--tls-self-signed", data=Path(folder)) as service:
            found: list[str] = []

            def is_announced() -> bool:
                found[:] = re.findall(r"http://[\d.:]+/metrics", "\n".join(service.output))
                return bool(found)

            wait_until("the service prints the address of its metrics", is_announced, START_SECONDS)
            with urllib.request.urlopen(found[0], timeout=10) as response:
                metrics = response.read().decode()
        named = set(re.findall(r"`(aurora_\w+)", DOCUMENT))
        self.assertGreater(len(named), 4)
        for name in named:
            self.assertIn(name, metrics)


if __name__ == "__main__":
    unittest.main()
