"""Compares the DynamoDB calls recorded while the store's tests ran with the permissions of the function's role.

The argument is a directory with one file per kind of call, named after the action and its target.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from template import Template, load, of_type


def main() -> int:
    recorded = {entry.name for entry in Path(sys.argv[1]).iterdir()}
    differences = [*compare(recorded, granted(load()))]
    for difference in differences:
        print(difference, file=sys.stderr)
    print(f"{len(recorded)} kinds of calls recorded, {len(differences)} differences from the permissions of the role")
    return 1 if differences else 0


def granted(template: Template) -> set[str]:
    """Each DynamoDB action that a role allows, with its resource."""
    roles = of_type(template, "AWS::IAM::Role").values()
    policies = [policy for role in roles for policy in role["Properties"].get("Policies", [])]
    statements = [statement for policy in policies for statement in policy["PolicyDocument"]["Statement"]]
    return {
        f"{action.removeprefix('dynamodb:')} {resource(statement['Resource'])}"
        for statement in statements
        for action in statement["Action"]
        if action.startswith("dynamodb:")
    }


def resource(value: Any) -> str:
    """`table`, or the name of one of its indexes."""
    if value == {"Fn::GetAtt": ["PeersTable", "Arn"]}:
        return "table"
    return str(value.get("Fn::Sub", value)).removeprefix("${PeersTable.Arn}/index/")


def compare(recorded: set[str], allowed: set[str]) -> list[str]:
    missing = [f"{call}: the store calls it, but the role does not allow it" for call in sorted(recorded - allowed)]
    return missing + [
        f"{call}: the role allows it, but the store never calls it" for call in sorted(allowed - recorded)
    ]


if __name__ == "__main__":
    sys.exit(main())
