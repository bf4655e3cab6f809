"""Loads a CloudFormation template as plain data: short forms (`!Ref X`) become long forms (`{"Ref": "X"}`)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = ROOT / "Infrastructure" / "P2P"
# The largest template that CloudFormation accepts as a request body.
MOST_BYTES = 51_200
MAIN = SCRIPTS / "cloudformation.yaml"
ARTIFACTS = SCRIPTS / "artifacts.yaml"

Template = dict[str, Any]
# The findings of a rule: a sentence for each violation.
Finding = Iterator[str]


class _Loader(yaml.SafeLoader):
    pass


def _short_form(loader: _Loader, suffix: str, node: yaml.Node) -> dict[str, Any]:
    if isinstance(node, yaml.ScalarNode):
        value: Any = loader.construct_scalar(node)
    elif isinstance(node, yaml.SequenceNode):
        value = loader.construct_sequence(node, deep=True)
    else:
        assert isinstance(node, yaml.MappingNode)
        value = loader.construct_mapping(node, deep=True)
    if suffix == "GetAtt" and isinstance(value, str):
        value = value.split(".", 1)
    name = suffix if suffix in ("Ref", "Condition") else f"Fn::{suffix}"
    return {name: value}


_Loader.add_multi_constructor("!", _short_form)


def load(path: Path = MAIN) -> Template:
    template: Template = yaml.load(path.read_text(), _Loader)
    return template


def of_type(template: Template, kind: str) -> dict[str, Any]:
    """The resources of a type, such as `AWS::Lambda::Function`, by name."""
    return {name: resource for name, resource in template["Resources"].items() if resource["Type"] == kind}


def only(template: Template, kind: str) -> tuple[str, dict[str, Any]]:
    """The name and properties of the only resource of a type."""
    ((name, resource),) = of_type(template, kind).items()
    return name, resource.get("Properties", {})


def branches(value: Any, condition: str) -> tuple[Any, Any]:
    """The two values of an expression: if a condition holds, and if it does not."""
    if isinstance(value, dict) and value.get("Fn::If", [None])[0] == condition:
        return value["Fn::If"][1], value["Fn::If"][2]
    return value, value


def strings(value: Any) -> Iterator[str]:
    """Every string in a value, except keys."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for inner in value.values():
            yield from strings(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from strings(inner)
