"""Runs deploy.sh through the lifecycle of a stack, against a stand-in for AWS and a service of this build."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tempfile
import unittest
import zipfile
from pathlib import Path
from typing import Any, ClassVar

from standin import Cloud, aws_version, minimal_path
from template import MAIN, ROOT, SCRIPTS

sys.path.insert(0, str(ROOT / "scripts"))

from lib.service import Service  # noqa: E402

RUN_SECONDS = 300
DEPLOYMENTS = re.compile(r"ApiDeployment(?:Cors|NoCors)[0-9a-f]{8}")


class Deployment(unittest.TestCase):
    """Each test that deploys uses Regions of its own, in which it does not see the stacks of other tests."""

    folder: ClassVar[Path]
    cloud: ClassVar[Cloud]
    service: ClassVar[Service]

    @classmethod
    def setUpClass(cls) -> None:
        cls.folder = Path(cls.enterClassContext(tempfile.TemporaryDirectory(prefix="aurora-deploy-")))
        cls.cloud = cls.enterClassContext(Cloud(cls.folder))
        cls.service = cls.enterClassContext(Service())
        cls.artifact("1")

    @classmethod
    def artifact(cls, content: str) -> Path:
        path = cls.folder / "bootstrap.zip"
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr(zipfile.ZipInfo("bootstrap"), content)
        return path

    def deploy(self, region: str, *options: str, answer: str = "", **changes: str) -> subprocess.CompletedProcess[str]:
        """Runs the script as a user does, with an empty home directory. stdout includes stderr.

        `SCRIPTS` is the folder of the script. An empty `ARTIFACT` means no --artifact.
        """
        environment = self.cloud.environment(self.folder, region)
        environment["AURORA_SMOKE_ENDPOINT"] = self.service.url
        folder = Path(changes.pop("SCRIPTS", str(SCRIPTS)))
        artifact = changes.pop("ARTIFACT", str(self.folder / "bootstrap.zip"))
        environment |= changes
        common = ["--region", region, *(["--artifact", artifact] if artifact else [])]
        return subprocess.run(
            self.command(folder, *common, *options),
            env={key: value for key, value in environment.items() if value},
            cwd=self.folder,
            input=answer,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=RUN_SECONDS,
            check=False,
        )

    def command(self, folder: Path, *options: str) -> list[str]:
        return [str(folder / "deploy.sh"), *options]

    def deployed(self, region: str, *options: str, **changes: str) -> str:
        run = self.deploy(region, *options, **changes)
        self.assertEqual(run.returncode, 0, run.stdout)
        return run.stdout

    def rejected(self, region: str, *options: str, **changes: str) -> str:
        run = self.deploy(region, *options, **changes)
        self.assertNotEqual(run.returncode, 0, run.stdout)
        return run.stdout

    def aws(self, region: str, *arguments: str) -> Any:
        return self.cloud.aws(self.folder, region, *arguments)

    def parameters(self, region: str, stack: str) -> dict[str, str]:
        found = self.aws(region, "cloudformation", "describe-stacks", "--stack-name", stack)["Stacks"][0]
        return {entry["ParameterKey"]: str(entry["ParameterValue"]) for entry in found["Parameters"]}

    def tags(self, region: str, stack: str) -> dict[str, str]:
        found = self.aws(region, "cloudformation", "describe-stacks", "--stack-name", stack)["Stacks"][0]
        return {tag["Key"]: tag["Value"] for tag in found["Tags"]}

    def template(self, region: str, stack: str) -> str:
        found = self.aws(region, "cloudformation", "get-template", "--stack-name", stack)
        return str(found["TemplateBody"])

    def scripts_with(self, old: str, new: str) -> Path:
        """A copy of the scripts with an edited template."""
        copy = Path(tempfile.mkdtemp(dir=self.folder)) / "P2P"
        shutil.copytree(SCRIPTS, copy)
        template = copy / MAIN.name
        self.assertIn(old, template.read_text())
        template.write_text(template.read_text().replace(old, new))
        return copy

    def stacks(self, region: str) -> set[str]:
        found = self.aws(region, "cloudformation", "describe-stacks")["Stacks"]
        return {stack["StackName"] for stack in found} - {"aurora-p2p-artifacts"}


class StackLifecycle(Deployment):
    def test_a_stack_is_created_left_unchanged_updated_and_removed(self) -> None:
        region, stack = "us-east-1", "aurora-p2p-discovery"

        first = self.deployed(region)
        self.assertIn("creating the private bucket aurora-p2p-artifacts-123456789012-us-east-1", first)
        self.assertIn("CREATE_COMPLETE", first)
        self.assertIn("health, register, discover, heartbeat and deregister work", first)
        outputs = {o["OutputKey"]: o["OutputValue"] for o in json.loads((self.folder / "outputs-dev.json").read_text())}
        self.assertEqual(outputs["TableName"], "aurora-peers-dev")
        self.assertEqual(outputs["FunctionName"], "aurora-discovery-dev")
        self.assertRegex(outputs["ApiEndpoint"], r"^https://\w+\.execute-api\.us-east-1\.amazonaws\.com/dev$")
        self.assertIn(outputs["ApiEndpoint"], first)
        before = self.parameters(region, stack)
        self.assertEqual(before["ApiLogRole"], "create", "the account of the stand-in has no role for API logs")
        self.assertTrue(before["ArtifactVersion"])

        second = self.deployed(region)
        self.assertIn("No changes to deploy", second)
        self.assertNotIn("uploading the function's code", second)
        self.assertEqual(self.parameters(region, stack), before)

        self.deployed(region, "--parameter", "PeerTTLMinutes=7")
        self.assertEqual(self.parameters(region, stack), before | {"PeerTTLMinutes": "7"})

        self.deployed(region, "--tag", "team=network", "--tag", "cost centre=a b", "--parameter", "PeerTTLMinutes=8")
        self.deployed(region, "--tag", "team=edge", "--parameter", "PeerTTLMinutes=7")
        self.assertEqual(self.tags(region, stack), {"team": "edge", "cost centre": "a b"})

        self.artifact("2")
        self.addCleanup(self.artifact, "1")
        third = self.deployed(region)
        self.assertIn("uploading the function's code", third)
        self.assertEqual(self.tags(region, stack), {"team": "edge", "cost centre": "a b"})
        after = self.parameters(region, stack)
        self.assertEqual(after["PeerTTLMinutes"], "7", "parameters that are not passed keep their values")
        self.assertNotEqual(after["ArtifactVersion"], before["ArtifactVersion"])

        self.assertEqual(
            self.template(region, stack), MAIN.read_text(), "the script and stamp.py must compute the same stamp"
        )
        edited = self.scripts_with('"{proxy+}"', '"{rest+}"')
        self.deployed(region, SCRIPTS=str(edited))
        self.assertIn("{rest+}", self.template(region, stack))
        self.assertNotEqual(DEPLOYMENTS.findall(self.template(region, stack)), DEPLOYMENTS.findall(MAIN.read_text()))

        kept = self.deploy(region, "--delete", answer="another-stack\n")
        self.assertNotEqual(kept.returncode, 0)
        self.assertEqual(self.stacks(region), {stack})
        removed = self.deploy(region, "--delete", answer=f"{stack}\n")
        self.assertEqual(removed.returncode, 0, removed.stdout)
        self.assertEqual(self.stacks(region), set())
        self.assertFalse((self.folder / "outputs-dev.json").exists())
        self.assertIn("there is no stack", self.rejected(region, "--delete", "--yes"))

    def test_stacks_of_several_environments_and_regions_coexist(self) -> None:
        here, there = "eu-west-1", "us-west-2"
        self.deployed(here)
        self.deployed(here, "--environment", "prod")
        self.deployed(there, "-e", "prod", "-s", "my-aurora-stack")
        self.assertEqual(self.stacks(here), {"aurora-p2p-discovery", "aurora-p2p-discovery-prod"})
        self.assertEqual(self.stacks(there), {"my-aurora-stack"})
        tables = self.aws(here, "dynamodb", "list-tables")["TableNames"]
        self.assertEqual(set(tables), {"aurora-peers-dev", "aurora-peers-prod"})

        taken = self.rejected(there, "--stack-name", "my-aurora-stack")
        self.assertIn("belongs to environment prod, not dev: choose another --stack-name", taken)
        double = self.rejected(there, "--environment", "prod", "--stack-name", "another")
        self.assertIn("exists in us-west-2, but stack another does not: either another stack owns the table", double)


@unittest.skipUnless(shutil.which("pwsh"), "PowerShell is not installed: deploy.ps1 is only parsed and compared")
class StackLifecycleByPowerShell(StackLifecycle):
    def command(self, folder: Path, *options: str) -> list[str]:
        """The same options in PowerShell's notation."""
        spelled = [re.sub(r"-(\w)", lambda word: word[1].upper(), o[1:]) if o.startswith("--") else o for o in options]
        named = [f"-{new}" if old.startswith("--") else old for old, new in zip(options, spelled, strict=True)]
        return ["pwsh", "-NoProfile", "-File", str(folder / "deploy.ps1"), *named]


class ManualCommands(Deployment):
    def test_the_commands_in_the_documentation_create_and_remove_a_stack(self) -> None:
        document = (ROOT / "docs" / "operations.md").read_text()
        blocks = re.findall(r"```sh by-hand\n(.*?)```", document, re.DOTALL)
        for block in blocks:
            self.assertLess(len(re.findall(r"^(?:cd|\w+=|aws) ?", block, re.MULTILINE)), 6, "under five, and cd")
        commands = "\n".join(["set -ex", *blocks]).replace("bootstrap.zip", str(self.folder / "bootstrap.zip"))
        run = subprocess.run(
            ["bash", "-c", commands],
            env=self.cloud.environment(self.folder, "us-east-2") | {"AWS_PAGER": ""},
            cwd=ROOT,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=RUN_SECONDS,
            check=False,
        )
        self.assertEqual(run.returncode, 0, run.stdout)
        self.assertEqual(len(blocks), 3)
        self.assertRegex(run.stdout, r"https://\w+\.execute-api\.us-east-1\.amazonaws\.com/dev\b")
        self.assertEqual(self.stacks("us-east-1"), set())


class Failures(Deployment):
    def test_a_failed_resource_is_printed_with_its_reason_and_the_next_deployment_succeeds(self) -> None:
        region = "eu-central-1"
        output = self.rejected(region, "--parameter", "MemorySize=64")
        failed = output[output.index("failed resources:") :]
        self.assertRegex(failed, r"CREATE_FAILED\s+Function\s+64 is less than the 128 MB")
        self.assertNotIn("smoke test", output)
        self.assertIn("removing the remains of a failed stack creation", self.deployed(region, "-p", "MemorySize=128"))

    def test_an_invalid_template_is_rejected_before_anything_is_created(self) -> None:
        region = "eu-north-1"
        broken = self.scripts_with("Type: AWS::DynamoDB::Table", "Type: AWS::DynamoDB::Tabel")
        output = self.rejected(region, SCRIPTS=str(broken))
        self.assertRegex(output, "(?i)valid|error")
        self.assertEqual(self.stacks(region), set())

    def test_missing_credentials_are_reported_with_how_to_set_them(self) -> None:
        output = self.rejected("us-east-1", AWS_ACCESS_KEY_ID="", AWS_SECRET_ACCESS_KEY="")
        self.assertIn("aws configure", output)

    def test_a_missing_tool_is_reported_with_how_to_install_it(self) -> None:
        minimal = minimal_path(self.folder / "without-aws", None)
        self.assertIn("the AWS CLI is missing: install version 2", self.rejected("us-east-1", PATH=str(minimal)))

    def test_version_1_of_the_aws_cli_is_refused_with_the_reason(self) -> None:
        old = Path(sys.executable).parent / "aws"
        self.assertRegex(aws_version(old), r"^aws-cli/1\.")
        minimal = minimal_path(self.folder / "aws-1", old)
        self.assertRegex(self.rejected("us-east-1", PATH=str(minimal)), "is version 1, .*: install version 2")

    def test_invalid_options_are_rejected(self) -> None:
        for options in (["--environment", "test"], ["--architecture", "mips"], ["--regoin", "x"], ["--parameter"]):
            run = self.deploy("us-east-1", *options)
            self.assertEqual(run.returncode, 2, run.stdout)
        for artifact in ("missing.zip", "http://example.org/bootstrap.zip"):
            run = self.deploy("us-east-1", ARTIFACT=artifact)
            self.assertEqual(run.returncode, 2, run.stdout)

    def test_a_table_of_an_older_design_is_recognised(self) -> None:
        region = "ap-south-1"
        self.deployed(region)
        self.aws(region, "dynamodb", "delete-table", "--table-name", "aurora-peers-dev")
        names = ["AttributeName=peer_id,AttributeType=S", "AttributeName=last_seen,AttributeType=S"]
        index = (
            "IndexName=LastSeenIndex,KeySchema=[{AttributeName=last_seen,KeyType=HASH}],Projection={ProjectionType=ALL}"
        )
        key = "AttributeName=peer_id,KeyType=HASH"
        create = ["dynamodb", "create-table", "--table-name", "aurora-peers-dev", "--key-schema", key]
        billing = ["--billing-mode", "PAY_PER_REQUEST"]
        self.aws(region, *create, *billing, "--attribute-definitions", *names, "--global-secondary-indexes", index)
        output = self.rejected(region)
        self.assertIn("has an older design: its index has another key (last_seen)", output)
        self.assertIn("--delete", output)

    def test_an_existing_role_for_api_logs_is_kept(self) -> None:
        region, role = "ca-central-1", "arn:aws:iam::123456789012:role/of-another-team"
        self.aws(region, "iam", "create-role", "--role-name", "of-another-team", "--assume-role-policy-document", "{}")
        patch = f"op=replace,path=/cloudwatchRoleArn,value={role}"
        self.aws(region, "apigateway", "update-account", "--patch-operations", patch)
        self.deployed(region)
        self.assertEqual(self.parameters(region, "aurora-p2p-discovery")["ApiLogRole"], "existing")
        self.assertEqual(self.aws(region, "apigateway", "get-account")["cloudwatchRoleArn"], role)

    def test_a_service_that_does_not_respond_fails_the_deployment(self) -> None:
        output = self.rejected("sa-east-1", AURORA_SMOKE_ENDPOINT="http://127.0.0.1:9")
        self.assertRegex(output, re.compile(r"smoke test: unexpected response from http://127\.0\.0\.1:9/health"))


class Leftovers(Deployment):
    """Resources that an earlier stack, or a person, left in the account."""

    def test_remains_of_deleted_stacks_are_removed_or_replaced(self) -> None:
        region, groups = "us-west-2", ["/aws/lambda/aurora-discovery-dev", "/aws/apigateway/aurora-p2p-dev"]
        for group in [*groups, "/aws/apigateway/aurora-p2p-dev2"]:
            self.aws(region, "logs", "create-log-group", "--log-group-name", group)
        role = "arn:aws:iam::123456789012:role/deleted"
        patch = f"op=replace,path=/cloudwatchRoleArn,value={role}"
        self.aws(region, "apigateway", "update-account", "--patch-operations", patch)
        self.leave_failed_artifacts_stack(region)

        kept = self.deploy(region, answer="no\n")
        self.assertIn(f"log group {groups[0]} is in the way: delete it, or pass --yes", kept.stdout)

        output = self.deploy(region, answer="yes\nyes\n").stdout
        for group in groups:
            self.assertIn(f"deleted log group {group}", output)
        found = self.aws(region, "logs", "describe-log-groups")["logGroups"]
        self.assertIn("/aws/apigateway/aurora-p2p-dev2", [group["logGroupName"] for group in found])
        self.assertIn("removing stack aurora-p2p-artifacts, which is ROLLBACK_COMPLETE and has no bucket", output)
        self.assertIn(f"the account's role for API logs, {role}, no longer exists", output)
        self.assertNotEqual(self.aws(region, "apigateway", "get-account")["cloudwatchRoleArn"], role)
        self.assertIn("deployed: health", output)

    def leave_failed_artifacts_stack(self, region: str) -> None:
        body = self.folder / "failing.yaml"
        topic, size = {"Type": "AWS::SNS::Topic"}, {"Type": "Number", "Default": 64}
        body.write_text(json.dumps({"Parameters": {"MemorySize": size}, "Resources": {"Topic": topic}}))
        arguments = ["--stack-name", "aurora-p2p-artifacts", "--template-file", str(body)]
        with self.assertRaises(RuntimeError):
            self.aws(region, "cloudformation", "deploy", *arguments, "--parameter-overrides", "MemorySize=64")

    def test_a_missing_bucket_is_created_and_a_rejected_change_set_is_explained(self) -> None:
        region, bucket = "us-west-1", "aurora-p2p-artifacts-123456789012-us-west-1"
        template = str(SCRIPTS / "artifacts.yaml")
        artifacts = ["--stack-name", "aurora-p2p-artifacts", "--template-body", f"file://{template}"]
        self.aws(region, "cloudformation", "create-stack", *artifacts)
        self.aws(region, "s3api", "delete-bucket", "--bucket", bucket)
        alarm = ["--alarm-name", "aurora-p2p-dev-errors", "--namespace", "x", "--metric-name", "x", "--period", "60"]
        limits = ["--statistic", "Sum", "--evaluation-periods", "1", "--threshold", "1"]
        comparison = ["--comparison-operator", "GreaterThanThreshold"]
        self.aws(region, "cloudwatch", "put-metric-alarm", *alarm, *limits, *comparison)

        # The AWS CLI of Debian 12 does not have the command describe-events.
        old = self.rejected(region)
        self.assertIn("removing stack aurora-p2p-artifacts, which is CREATE_COMPLETE and has no bucket", old)
        self.assertIn(f"creating the private bucket {bucket}", old)
        self.assertIn("EarlyValidation::ResourceExistenceCheck", old)
        if "describe-events" not in self.help_of_cloudformation():
            self.assertIn("update the AWS CLI (describe-events is from November 2025)", old)

        explained = self.rejected(region, PATH=str(minimal_path(self.folder / "aws-new", self.newer_cli())))
        self.assertIn("with identifier 'aurora-p2p-dev-errors' already exists", explained)

    def help_of_cloudformation(self) -> str:
        """The commands of CloudFormation that the CLI has. It lists them in the error for an unknown
        one."""
        environment = self.cloud.environment(self.folder, "us-east-1")
        command = ["aws", "cloudformation", "unknown"]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False).stderr

    def newer_cli(self) -> Path:
        """A CLI that reports version 2 and has describe-events: version 1 from PyPI, with another
        version number."""
        script = self.folder / "newer-aws"
        version = '[ "${*: -1}" != --version ] || { echo aws-cli/2.35.0; exit; }'
        script.write_text(f'#!{shutil.which("bash")}\n{version}\nexec "{Path(sys.executable).parent}/aws" "$@"\n')
        script.chmod(0o755)
        return script


if __name__ == "__main__":
    unittest.main()
