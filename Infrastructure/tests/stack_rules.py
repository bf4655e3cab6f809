"""Rules for the table, the function and its permissions, logs, alarms, parameters and outputs."""

from __future__ import annotations

import re
from typing import Any

from template import ROOT, Finding, Template, branches, of_type, only, strings

ALARMS = {
    "aurora-p2p-${Environment}-errors",
    "aurora-p2p-${Environment}-throttles",
    "aurora-p2p-${Environment}-table-throttles",
    "aurora-p2p-${Environment}-latency",
    "aurora-p2p-${Environment}-server-errors",
    "aurora-p2p-${Environment}-silence",
}


def log_groups_are_those_of_the_seed_and_kept_for_7_days(template: Template) -> Finding:
    groups = of_type(template, "AWS::Logs::LogGroup")
    names = {resource["Properties"]["LogGroupName"]["Fn::Sub"] for resource in groups.values()}
    if names != {"/aws/lambda/aurora-discovery-${Environment}", "/aws/apigateway/aurora-p2p-${Environment}"}:
        yield f"log groups are {names}"
    for name, resource in groups.items():
        if resource["Properties"].get("RetentionInDays") != 7:
            yield f"{name} is not kept for 7 days"


def the_function_logs_what_it_means_to_and_no_more(template: Template) -> Finding:
    logging = only(template, "AWS::Lambda::Function")[1].get("LoggingConfig", {})
    if logging.get("LogGroup") != {"Ref": "FunctionLogs"}:
        yield "the function would log into a group that is kept for ever"
    if (logging.get("LogFormat"), logging.get("SystemLogLevel")) != ("JSON", "WARN"):
        yield "Lambda would bill lines of its own for each request"
    if logging.get("ApplicationLogLevel") != "TRACE":
        yield "Lambda would drop lines that LogLevel asks for"


def the_table_is_the_one_that_the_store_makes_for_itself(template: Template) -> Finding:
    _, table = only(template, "AWS::DynamoDB::Table")
    if table["TableName"] != {"Fn::Sub": "aurora-peers-${Environment}"}:
        yield f"the table is named {table['TableName']}"
    attributes = {entry["AttributeName"]: entry["AttributeType"] for entry in table["AttributeDefinitions"]}
    if attributes != {"peer_id": "S", "lane": "S", "h": "B"}:
        yield f"attributes are {attributes}"
    if key_of(table) != {"HASH": "peer_id"}:
        yield f"the key is {key_of(table)}"
    indexes = {entry["IndexName"]: entry for entry in table["GlobalSecondaryIndexes"]}
    if indexes.keys() != {"LastSeenIndex"} or key_of(indexes["LastSeenIndex"]) != {"HASH": "lane", "RANGE": "h"}:
        yield f"indexes are {indexes}"
    elif indexes["LastSeenIndex"]["Projection"] != {"ProjectionType": "KEYS_ONLY"}:
        yield "the index must hold keys only: each further attribute makes heartbeats write to it"
    if table["BillingMode"] != "PAY_PER_REQUEST":
        yield "the table is not on demand"
    if table["TimeToLiveSpecification"] != {"AttributeName": "ttl", "Enabled": True}:
        yield "peers that are forgotten would stay in the table"
    if table.get("SSESpecification") != {"SSEEnabled": True}:
        yield "the table is not encrypted at rest"


def key_of(owner: dict[str, Any]) -> dict[str, str]:
    return {entry["KeyType"]: entry["AttributeName"] for entry in owner["KeySchema"]}


def the_function_may_do_what_its_code_does_and_no_more(template: Template) -> Finding:
    _, function = only(template, "AWS::Lambda::Function")
    role = template["Resources"][function["Role"]["Fn::GetAtt"][0]]["Properties"]
    if role.get("ManagedPolicyArns"):
        yield "a managed policy allows more than is needed"
    statements = [s for policy in role["Policies"] for s in policy["PolicyDocument"]["Statement"]]
    granted = {action: statement["Resource"] for statement in statements for action in statement["Action"]}
    table, index = {"Fn::GetAtt": ["PeersTable", "Arn"]}, {"Fn::Sub": "${PeersTable.Arn}/index/LastSeenIndex"}
    wanted = {action: index if action == "dynamodb:Query" else table for action in actions_of_the_store()}
    logs = {"Fn::GetAtt": ["FunctionLogs", "Arn"]}
    wanted |= {"logs:CreateLogStream": logs, "logs:PutLogEvents": logs}
    for action in sorted(granted.keys() | wanted.keys()):
        if granted.get(action) != wanted.get(action):
            yield f"{action} is granted on {granted.get(action)}, and needed on {wanted.get(action)}"


def actions_of_the_store() -> set[str]:
    """The actions that the DynamoDB store declares. Its tests compare the list with the calls they observe."""
    source = (ROOT / "crates" / "dynamodb" / "src" / "table.rs").read_text()
    declared = re.search(r"pub const ACTIONS: [^=]*= \[(.*?)\];", source, re.DOTALL)
    if declared is None:
        raise LookupError("crates/dynamodb/src/table.rs declares no ACTIONS any more")
    return set(re.findall(r'"(dynamodb:\w+)"', declared[1]))


def no_role_has_a_fixed_name(template: Template) -> Finding:
    for name, role in of_type(template, "AWS::IAM::Role").items():
        if "RoleName" in role["Properties"]:
            yield f"{name}: roles are global, so one environment could not run in two Regions"


def names_that_are_fixed_carry_the_environment(template: Template) -> Finding:
    fixed = ("TableName", "FunctionName", "LogGroupName", "AlarmName", "DashboardName", "Name", "StageName")
    for name, resource in template["Resources"].items():
        for key in fixed:
            value = resource.get("Properties", {}).get(key)
            if (
                value is not None
                and resource["Type"] != "AWS::Lambda::Permission"
                and "Environment" not in "".join(strings(value))
            ):
                yield f"{name}: {key} {value} would collide with another environment's"


def the_function_is_the_rust_binary_with_settings_that_it_knows(template: Template) -> Finding:
    _, function = only(template, "AWS::Lambda::Function")
    if (function["Runtime"], function["Handler"]) != ("provided.al2023", "bootstrap"):
        yield f"the function runs {function['Handler']} on {function['Runtime']}"
    if function["FunctionName"] != {"Fn::Sub": "aurora-discovery-${Environment}"}:
        yield f"the function is named {function['FunctionName']}"
    variables = function["Environment"]["Variables"]
    for name, parameter in SETTINGS.items():
        if parameter not in list(strings(variables.get(name))) and parameter not in condition_parameters(
            template, variables.get(name)
        ):
            yield f"{parameter} does not reach the function as {name}"
    if unknown := variables.keys() - SETTINGS.keys() - {"AURORA_TABLE"}:
        yield f"the function knows no {sorted(unknown)}"


# The template parameter that sets each of the function's settings. A test beside their declaration,
# in crates/lambda/src/settings.rs, checks that these are the settings that the function reads.
SETTINGS = {
    "AURORA_PEER_TTL_MINUTES": "PeerTTLMinutes",
    "AURORA_TTL_MIN": "MinLeaseSeconds",
    "AURORA_TTL_MAX": "MaxLeaseSeconds",
    "AURORA_REVIVAL_HOURS": "RevivalHours",
    "AURORA_HEARTBEAT_INTERVAL_MAX": "HeartbeatIntervalMaxSeconds",
    "AURORA_HEARTBEAT_INTERVAL_MIN": "HeartbeatIntervalMinSeconds",
    "AURORA_DEFAULT_LIMIT": "DefaultLimit",
    "AURORA_MAX_PEERS": "MaxPeers",
    "AURORA_OPEN_REGISTRATIONS": "HolderRule",
    "AURORA_NO_CORS": "EnableCORS",
    "AURORA_LOG": "LogLevel",
    "AURORA_LOG_REQUESTS": "LogRequests",
    "AURORA_CUSTOM_METRICS": "CustomMetrics",
}


def condition_parameters(template: Template, value: Any) -> list[str]:
    """The parameters behind a conditional value that is "false" if its condition holds."""
    on, off = branches(value, condition := (value or {}).get("Fn::If", [""])[0])
    return list(strings(template["Conditions"].get(condition, []))) if (on, off) == ("false", "true") else []


def every_alarm_tells_who_asked_to_be_told(template: Template) -> Finding:
    resources = of_type(template, "AWS::CloudWatch::Alarm")
    alarms = {a["Properties"]["AlarmName"]["Fn::Sub"]: a["Properties"] for a in resources.values()}
    if {a.get("Condition") for a in resources.values()} != {"WithAlarms"}:
        yield "Alarms must decide over all of them"
    if template["Parameters"]["Alarms"]["Default"] != "true":
        yield "a network that is left alone must be watched"
    if alarms.keys() != ALARMS:
        yield f"alarms are {sorted(alarms)}"
    for name, alarm in alarms.items():
        if branches(alarm.get("AlarmActions"), "Notify") != ([{"Ref": "AlarmTopic"}], {"Ref": "AWS::NoValue"}):
            yield f"{name} tells nobody"
        if not alarm.get("AlarmDescription"):
            yield f"{name} does not say what it means"
    silent = {name for name, alarm in alarms.items() if alarm["TreatMissingData"] == "breaching"}
    if silent != {"aurora-p2p-${Environment}-silence"}:
        yield f"missing data must mean silence, and nothing else: {silent}"


def what_the_account_shares_stays_when_the_stack_goes(template: Template) -> Finding:
    for name in ("ApiAccount", "ApiAccountRole"):
        resource = template["Resources"][name]
        if resource.get("DeletionPolicy") != "Retain" or resource.get("Condition") != "CreateApiLogRole":
            yield f"{name} must be made only when asked for, and stay"
    if template["Parameters"]["ApiLogRole"]["Default"] != "existing":
        yield "by default an account's role would be replaced"
    _, stage = only(template, "AWS::ApiGateway::Stage")
    if not any("${ApiAccount}" in text for text in strings(stage)):
        yield "the stage does not wait for the account's role"


def parameters_are_described_bounded_and_grouped(template: Template) -> Finding:
    parameters = template["Parameters"]
    for name, default in (("Environment", "dev"), ("PeerTTLMinutes", 5), ("EnableCORS", "true")):
        if parameters.get(name, {}).get("Default") != default:
            yield f"{name} is the seed's, and {default} by default"
    if parameters["Environment"]["AllowedValues"] != ["dev", "staging", "prod"]:
        yield "Environment is dev, staging or prod"
    for name, parameter in parameters.items():
        numeric = parameter["Type"] == "Number"
        bounded = (
            {"MinValue", "MaxValue"} <= parameter.keys()
            if numeric
            else {"AllowedValues", "AllowedPattern"} & parameter.keys()
        )
        if "Default" not in parameter or not parameter.get("Description") or not bounded:
            yield f"{name} needs a default, a description and bounds"
    groups = template["Metadata"]["AWS::CloudFormation::Interface"]["ParameterGroups"]
    grouped = [name for group in groups for name in group["Parameters"]]
    if sorted(grouped) != sorted(parameters):
        yield f"grouped for the console: {sorted(set(grouped) ^ set(parameters))}"


def what_costs_extra_is_off_by_default_and_says_how_much(template: Template) -> Finding:
    for name in ("CustomMetrics", "Dashboard", "ContributorInsights", "DetailedMetrics"):
        parameter = template["Parameters"][name]
        if parameter["Default"] != "false" or "USD" not in parameter["Description"]:
            yield f"{name} must be off, and say what it costs"


def outputs_name_what_operators_need(template: Template) -> Finding:
    wanted = {"ApiEndpoint", "TableName", "FunctionName", "DashboardUrl"}
    wanted |= {f"{call}Endpoint" for call in ("Register", "Discover", "Heartbeat", "Deregister", "Health")}
    if missing := wanted - template["Outputs"].keys():
        yield f"outputs lack {sorted(missing)}"
