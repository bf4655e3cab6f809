"""A stand-in for AWS on loopback: moto, corrected where deploy.sh would notice a difference from CloudFormation.

It cannot check API Gateway's and CloudFormation's own semantics; `rules.py` does.
Run as a script, this file is the server; `Cloud` starts and stops it.
"""

from __future__ import annotations

import importlib
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Any

START_SECONDS = 60.0
LISTENING = re.compile(r"Running on (http://127\.0\.0\.1:[1-9]\d*)")


class Cloud:
    """A running stand-in, which stops when its `with` block exits."""

    def __init__(self, folder: Path) -> None:
        self._log = (folder / "standin.log").open("w")
        # The system chooses the port: a free port found beforehand could be taken before the server
        # listens.
        command = [sys.executable, __file__, "-H", "127.0.0.1", "-p", "0"]
        self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=self._log, stderr=self._log)
        self.url = self._await_url()

    def environment(self, folder: Path, region: str) -> dict[str, str]:
        """The minimal environment to reach the stand-in; `folder` is the home directory."""
        return {
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "HOME": str(folder),
            "AWS_ACCESS_KEY_ID": "testing",
            "AWS_SECRET_ACCESS_KEY": "testing",
            "AWS_DEFAULT_REGION": region,
            "AWS_ENDPOINT_URL": self.url,
            "AWS_EC2_METADATA_DISABLED": "true",
            "AURORA_POLL_SECONDS": "1",
        }

    def aws(self, folder: Path, region: str, *arguments: str) -> Any:
        """Runs the AWS CLI and returns its parsed output."""
        command = ["aws", *arguments, "--output", "json"]
        run = subprocess.run(command, env=self.environment(folder, region), capture_output=True, text=True, check=False)
        if run.returncode != 0:
            raise RuntimeError(f"{' '.join(command)}: {run.stderr}")
        return json.loads(run.stdout) if run.stdout.strip() else None

    def __enter__(self) -> Cloud:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.wait()
        self._log.close()

    def _await_url(self) -> str:
        """Waits until the log shows the address, and returns it."""
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and self._process.poll() is None:
            if found := LISTENING.search(Path(self._log.name).read_text()):
                return found[1]
            time.sleep(0.1)
        self._process.kill()
        raise RuntimeError(f"the stand-in did not start: see {self._log.name}")


def correct_stacks() -> None:
    """Adds what moto's change sets lack: outputs, empty change sets, rollback, versions, the account's role."""
    # Untyped, because methods are replaced.
    models: Any = importlib.import_module("moto.cloudformation.models")
    responses: Any = importlib.import_module("moto.cloudformation.responses")
    parsing: Any = importlib.import_module("moto.cloudformation.parsing")
    apply = models.ChangeSet.apply

    def has_parameters(stack: Any, others: dict[str, Any]) -> bool:
        return all(str(stack.stack_parameters.get(name)) == str(value) for name, value in others.items())

    def apply_or_roll_back(change_set: Any) -> None:
        stack = change_set.stack
        try:
            reject_as_aws_would(change_set)
            apply(change_set)
        except Rejection as rejection:
            stack._add_stack_event("CREATE_FAILED", resource_status_reason=str(rejection))
            stack.events[-1].logical_resource_id = rejection.resource
            stack._add_stack_event("ROLLBACK_COMPLETE")
            stack.resource_map.resolved_parameters.update(change_set.parameters)
            change_set.change_set_type = "ROLLBACK"  # moto derives the stack's status from this
            return
        stack.template, stack.template_dict = change_set.template, change_set.template_dict
        stack.output_map = stack._create_output_map()
        stack.description = change_set.template_dict.get("Description")
        add_what_moto_omits(stack)

    models.ChangeSet.apply = apply_or_roll_back
    # On AWS an update without changes creates an empty change set; in moto it is an error.
    models.Stack.has_parameters = has_parameters
    responses.CloudFormationResponse._validate_different_update = lambda *_: None
    # A resource that a condition excluded at creation cannot be modified.
    modify = parsing.parse_and_update_resource
    parsing.parse_and_update_resource = lambda name, resource, made, *account, **region: (
        None if made[name] is None else modify(name, resource, made, *account, **region)
    )


class Rejection(Exception):
    """A resource that AWS would reject."""

    def __init__(self, resource: str, reason: str) -> None:
        super().__init__(reason)
        self.resource = resource


def reject_as_aws_would(change_set: Any) -> None:
    """Simulates one error that validation does not find: a function with less memory than Lambda's minimum."""
    memory = change_set.parameters.get("MemorySize")
    if memory is not None and int(memory) < 128:
        raise Rejection("Function", f"{memory} is less than the 128 MB that a function needs")


def add_what_moto_omits(stack: Any) -> None:
    from moto.apigateway.models import apigateway_backends
    from moto.s3.models import s3_backends

    for name, resource in stack.template_dict["Resources"].items():
        kind = resource["Type"]
        if kind == "AWS::S3::Bucket":
            bucket = s3_backends[stack.account_id]["aws"].head_bucket(stack.resource_map[name].physical_resource_id)
            properties = resource["Properties"]
            bucket.versioning_status = properties["VersioningConfiguration"]["Status"]
        if kind == "AWS::ApiGateway::Account" and stack.resource_map.lazy_condition_map[resource["Condition"]]:
            role = stack.resource_map["ApiAccountRole"].physical_resource_id
            apigateway_backends[stack.account_id][stack.region_name].account.cloudwatch_role_arn = role


if __name__ == "__main__":
    from moto.server import main as serve

    correct_stacks()
    serve()
