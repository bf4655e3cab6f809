"""A stand-in for AWS on loopback: moto, with corrections where its differences from CloudFormation
affect the tests of deploy.sh.

It cannot check API Gateway's and CloudFormation's own semantics; `rules.py` does.
Run as a script, this file is the server; `Cloud` starts and stops it.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import json
import os
import re
import shutil
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
        self._tools = minimal_path(folder / "tools", aws_cli_2())
        self._log = (folder / "standin.log").open("w")
        # The system chooses the port: a free port found beforehand could be taken before the server
        # listens.
        command = [sys.executable, __file__, "-H", "127.0.0.1", "-p", "0"]
        self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=self._log, stderr=self._log)
        self.url = self._await_url()

    def environment(self, folder: Path, region: str) -> dict[str, str]:
        """The minimal environment to reach the stand-in; `folder` is the home directory."""
        return {
            "PATH": str(self._tools),
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


# The programs that deploy.sh may need besides the AWS CLI: bash, curl, and some of the coreutils.
TOOLS = ("bash", "cat", "cut", "dirname", "env", "mktemp", "rm", "sha256sum", "sleep", "curl")


def minimal_path(folder: Path, aws: Path | None) -> Path:
    """Makes a directory for PATH with nothing but `TOOLS` and, if given, an AWS CLI."""
    folder.mkdir()
    for tool in TOOLS:
        (folder / tool).symlink_to(str(shutil.which(tool)))
    if aws is not None:
        wrapper = folder / "aws"
        # Versions before 2.13 do not read AWS_ENDPOINT_URL.
        wrapper.write_text(
            f'#!{shutil.which("bash")}\nexec "{aws}" ${{AWS_ENDPOINT_URL:+--endpoint-url "$AWS_ENDPOINT_URL"}} "$@"\n'
        )
        wrapper.chmod(0o755)
    return folder


def aws_cli_2() -> Path:
    """The first AWS CLI 2 in PATH. Another version may come before it."""
    for folder in os.environ["PATH"].split(":"):
        candidate = Path(folder) / "aws"
        if candidate.exists() and aws_version(candidate).startswith("aws-cli/2."):
            return candidate
    raise RuntimeError("there is no AWS CLI 2 in PATH: run scripts/setup")


def aws_version(aws: Path) -> str:
    return subprocess.run([str(aws), "--version"], capture_output=True, text=True, check=False).stdout


def correct_stacks() -> None:
    """Adds what moto's change sets lack: outputs, empty change sets, rollback, versions, and the
    account's role."""
    # Typed as Any, because methods are replaced.
    models: Any = importlib.import_module("moto.cloudformation.models")
    responses: Any = importlib.import_module("moto.cloudformation.responses")
    parsing: Any = importlib.import_module("moto.cloudformation.parsing")
    apply = models.ChangeSet.apply
    create = models.CloudFormationBackend.create_change_set

    def has_parameters(stack: Any, others: dict[str, Any]) -> bool:
        return all(text(stack.stack_parameters.get(name)) == text(value) for name, value in others.items())

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
        stack.tags = change_set.tags or {}
        add_what_moto_omits(stack)

    def create_and_validate(backend: Any, *args: Any, **named: Any) -> Any:
        found = create(backend, *args, **named)
        change_set = backend.change_sets[found[0]]
        change_set.parameters = {name: text(value) for name, value in change_set.parameters.items()}
        if change_set.change_set_type == "CREATE" and name_conflicts(change_set):
            change_set.status, change_set.status_reason = "FAILED", EARLY_VALIDATION
        return found

    models.CloudFormationBackend.create_change_set = create_and_validate
    models.CloudFormationBackend.describe_stack_resource = describe_stack_resource
    answer_describe_events(responses.CloudFormationResponse)
    models.ChangeSet.apply = apply_or_roll_back
    # On AWS, an update without changes creates an empty change set, while moto reports an error.
    models.Stack.has_parameters = has_parameters
    # Resources need parameters as lists, but descriptions and the next update need them as text.
    models.Stack.stack_parameters = property(text_of_lists)
    models.Stack.parameter_list = property(described_parameters)
    responses.CloudFormationResponse._validate_different_update = lambda *_: None
    # A resource that a condition excluded at creation cannot be modified, and one of a kind that moto
    # cannot modify stays as it is.
    modify = parsing.parse_and_update_resource
    parsing.parse_and_update_resource = lambda name, resource, made, *account, **region: (
        None if made[name] is None else modify(name, resource, made, *account, **region) or made[name]
    )


def text_of_lists(stack: Any) -> dict[str, Any]:
    resolved = stack.resource_map.resolved_parameters
    return {name: text(value) if isinstance(value, list) else value for name, value in resolved.items()}


def described_parameters(stack: Any) -> list[dict[str, Any]]:
    return [{"ParameterKey": name, "ParameterValue": value} for name, value in text_of_lists(stack).items()]


def text(value: Any) -> str:
    """A parameter as CloudFormation keeps it. In moto, some are numbers or lists."""
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)


EARLY_VALIDATION = (
    "The following hook(s)/validation failed: [AWS::EarlyValidation::ResourceExistenceCheck]. "
    "To troubleshoot Early Validation errors, use the DescribeEvents API for detailed failure information."
)


def name_conflicts(change_set: Any) -> list[str]:
    """Existing alarms whose name the stack would give to one of its own alarms."""
    from moto.cloudwatch.models import cloudwatch_backends

    stack, prefix = change_set.stack, f"aurora-p2p-{change_set.parameters.get('Environment')}-"
    alarms = cloudwatch_backends[stack.account_id][stack.region_name].alarms
    return [name for name in alarms if name.startswith(prefix)]


def describe_events(response: Any) -> tuple[int, dict[str, str], str]:
    """CloudFormation's DescribeEvents, which moto lacks, for a change set that was rejected."""
    change_set = response.cloudformation_backend.change_sets[response.querystring["ChangeSetName"][0]]
    events = "".join(
        "<member><EventType>VALIDATION_ERROR</EventType><LogicalResourceId>ErrorsAlarm</LogicalResourceId>"
        "<ValidationName>NAME_CONFLICT_VALIDATION</ValidationName><ValidationStatusReason>Resource of type "
        f"'AWS::CloudWatch::Alarm' with identifier '{name}' already exists.</ValidationStatusReason></member>"
        for name in name_conflicts(change_set)
    )
    body = f"<DescribeEventsResult><OperationEvents>{events}</OperationEvents></DescribeEventsResult>"
    return 200, {}, f'<DescribeEventsResponse xmlns="{NAMESPACE}">{body}</DescribeEventsResponse>'


def describe_stack_resource(backend: Any, stack_name: str, name: str) -> tuple[Any, Any]:
    """Replaces moto's function, which fails if a condition excluded any resource of the stack."""
    stack = backend.get_stack(stack_name)
    resource = stack.resource_map[name] if name in stack.template_dict["Resources"] else None
    if resource is None:
        errors: Any = importlib.import_module("moto.cloudformation.exceptions")
        raise errors.ValidationError(stack_name, f"Resource {name} does not exist for stack {stack_name}")
    return stack, resource


def answer_describe_events(response: Any) -> None:
    """Adds the action DescribeEvents to a class of moto, whose model of CloudFormation is older than the
    action."""
    parse = response.parse_parameters

    def parse_parameters(self: Any, request: Any) -> None:
        if self._get_action() == "DescribeEvents":
            self.params = {}
        else:
            parse(self, request)

    response.parse_parameters, response.describe_events = parse_parameters, describe_events


NAMESPACE = "http://cloudformation.amazonaws.com/doc/2010-05-15/"


class Rejection(Exception):
    """A resource that AWS would reject."""

    def __init__(self, resource: str, reason: str) -> None:
        super().__init__(reason)
        self.resource = resource


def read_references_to_conditions() -> None:
    """Reads `!Condition X` as CloudFormation does. For moto, every condition with such a reference is false."""
    models: Any = importlib.import_module("moto.cloudformation.models")
    construct = models.yaml_tag_constructor

    def constructor(loader: Any, tag: Any, node: Any) -> Any:
        return {"Condition": node.value} if tag == "!Condition" else construct(loader, tag, node)

    models.yaml_tag_constructor = constructor


def tolerate_missing_buckets() -> None:
    """Lets a stack be deleted whose bucket is already gone. CloudFormation would retain the bucket, but moto
    deletes it, and fails if it is missing."""
    models: Any = importlib.import_module("moto.s3.models")
    delete = models.FakeBucket.delete_from_cloudformation_json

    def delete_if_present(name: str, *arguments: Any) -> None:
        with contextlib.suppress(models.MissingBucket):
            delete(name, *arguments)

    models.FakeBucket.delete_from_cloudformation_json = delete_if_present


def remember_validations() -> None:
    """Caches the validation of templates, which takes seconds, because the tests deploy only a few
    different ones."""
    models: Any = importlib.import_module("moto.cloudformation.models")
    validate = models.validate_template_cfn_lint

    @functools.cache
    def errors(template: str) -> list[Any]:
        """The errors of a template. Leaves out the warnings, which moto treats as errors."""
        return [match for match in validate(template) if match.rule.id.startswith("E")]

    models.validate_template_cfn_lint = errors


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
        if kind == "AWS::S3::Bucket" and (made := stack.resource_map[name]) is not None:
            bucket = s3_backends[stack.account_id]["aws"].head_bucket(made.physical_resource_id)
            bucket.versioning_status = resource["Properties"]["VersioningConfiguration"]["Status"]
        if kind == "AWS::ApiGateway::Account" and stack.resource_map.lazy_condition_map[resource["Condition"]]:
            role = stack.resource_map["ApiAccountRole"].physical_resource_id
            apigateway_backends[stack.account_id][stack.region_name].account.cloudwatch_role_arn = role


if __name__ == "__main__":
    from moto.server import main as serve

    correct_stacks()
    read_references_to_conditions()
    tolerate_missing_buckets()
    remember_validations()
    serve()
