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


def log_groups_have_the_original_names_and_are_kept_for_7_days(template: Template) -> Finding:
    groups = of_type(template, "AWS::Logs::LogGroup")
    names = {resource["Properties"]["LogGroupName"]["Fn::Sub"] for resource in groups.values()}
    if names != {"/aws/lambda/aurora-discovery-${Environment}", "/aws/apigateway/aurora-p2p-${Environment}"}:
        yield f"the log groups are {names}"
    for name, resource in groups.items():
        if resource["Properties"].get("RetentionInDays") != 7:
            yield f"{name} is not kept for 7 days"


def lambda_neither_adds_nor_drops_log_lines(template: Template) -> Finding:
    logging = template["Resources"]["Function"]["Properties"].get("LoggingConfig", {})
    if logging.get("LogGroup") != {"Ref": "FunctionLogs"}:
        yield "LogGroup must be FunctionLogs: Lambda's own log group never expires"
    level = branches(logging.get("SystemLogLevel"), "Reports")
    if (logging.get("LogFormat"), level) != ("JSON", ("INFO", "WARN")):
        yield "LogFormat must be JSON and SystemLogLevel WARN: otherwise Lambda writes and bills lines for each request"
    if logging.get("ApplicationLogLevel") != "TRACE":
        yield "ApplicationLogLevel must be TRACE: otherwise Lambda drops lines that LogLevel enables"


def the_table_has_the_schema_that_the_store_creates(template: Template) -> Finding:
    _, table = only(template, "AWS::DynamoDB::Table")
    if table["TableName"] != {"Fn::Sub": "aurora-peers-${Environment}"}:
        yield f"the table is named {table['TableName']}"
    attributes = {entry["AttributeName"]: entry["AttributeType"] for entry in table["AttributeDefinitions"]}
    if attributes != {"peer_id": "S", "lane": "S", "h": "B"}:
        yield f"the attributes are {attributes}"
    if key_of(table) != {"HASH": "peer_id"}:
        yield f"the key is {key_of(table)}"
    indexes = {entry["IndexName"]: entry for entry in table["GlobalSecondaryIndexes"]}
    if indexes.keys() != {"LastSeenIndex"} or key_of(indexes["LastSeenIndex"]) != {"HASH": "lane", "RANGE": "h"}:
        yield f"the indexes are {indexes}"
    elif indexes["LastSeenIndex"]["Projection"] != {"ProjectionType": "KEYS_ONLY"}:
        yield "the index must hold keys only: each further attribute makes heartbeats write to it"
    if table["BillingMode"] != "PAY_PER_REQUEST":
        yield "the table is not on demand"
    if table["TimeToLiveSpecification"] != {"AttributeName": "ttl", "Enabled": True}:
        yield "the time to live must be enabled on ttl: otherwise expired items stay in the table"
    if "SSESpecification" in table:
        yield "the table must be encrypted with the key that AWS owns: a KMS key is charged per request"


def key_of(owner: dict[str, Any]) -> dict[str, str]:
    return {entry["KeyType"]: entry["AttributeName"] for entry in owner["KeySchema"]}


def the_role_grants_exactly_what_the_function_needs(template: Template) -> Finding:
    function = template["Resources"]["Function"]["Properties"]
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
            yield f"{action} is granted on {granted.get(action)}, but needed on {wanted.get(action)}"


def actions_of_the_store() -> set[str]:
    """The actions that the DynamoDB store declares. Its tests compare the list with the calls they observe."""
    source = (ROOT / "crates" / "dynamodb" / "src" / "table.rs").read_text()
    declared = re.search(r"pub const ACTIONS: [^=]*= \[(.*?)\];", source, re.DOTALL)
    if declared is None:
        raise LookupError("crates/dynamodb/src/table.rs does not declare ACTIONS")
    return set(re.findall(r'"(dynamodb:\w+)"', declared[1]))


def no_role_has_a_fixed_name(template: Template) -> Finding:
    for name, role in of_type(template, "AWS::IAM::Role").items():
        if "RoleName" in role["Properties"]:
            yield f"{name} must not have a fixed name: role names are global, and an environment may run in two Regions"


def fixed_names_contain_the_environment(template: Template) -> Finding:
    fixed = ("TableName", "FunctionName", "LogGroupName", "AlarmName", "DashboardName", "Name", "StageName")
    for name, resource in template["Resources"].items():
        for key in fixed:
            value = resource.get("Properties", {}).get(key)
            if (
                value is not None
                and resource["Type"] != "AWS::Lambda::Permission"
                and "Environment" not in "".join(strings(value))
            ):
                yield f"{name}: {key} {value} must contain the environment, or two stacks collide"


def the_function_runs_bootstrap_with_settings_that_it_knows(template: Template) -> Finding:
    function = template["Resources"]["Function"]["Properties"]
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
        yield f"the function does not read {sorted(unknown)}"


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
    "AURORA_DEFAULT_ORDER": "DefaultOrder",
    "AURORA_MAX_PEERS": "MaxPeers",
    "AURORA_MAX_PEERS_PER_SOURCE": "MaxPeersPerSource",
    "AURORA_MAX_ARCHETYPES_PER_PEER": "MaxArchetypesPerPeer",
    "AURORA_MAX_PAGE_BYTES": "MaxPageBytes",
    "AURORA_TRUSTED_HOPS": "TrustedHops",
    "AURORA_ADDRESSES": "Addresses",
    "AURORA_SIGNATURES": "Signatures",
    "AURORA_AUDIENCE": "Audience",
    "AURORA_KEYS_TEXT": "ApiKeys",
    "AURORA_REQUIRE_KEY": "RequireKey",
    "AURORA_STUN_URLS": "StunUrls",
    "AURORA_TURN_URLS": "TurnUrls",
    "AURORA_TURN_SECRET_TEXT": "TurnSecret",
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


def every_alarm_notifies_the_address_of_the_operator(template: Template) -> Finding:
    resources = of_type(template, "AWS::CloudWatch::Alarm")
    alarms = {a["Properties"]["AlarmName"]["Fn::Sub"]: a["Properties"] for a in resources.values()}
    if {a.get("Condition") for a in resources.values()} != {"WithAlarms"}:
        yield "every alarm must have the condition WithAlarms"
    if template["Parameters"]["Alarms"]["Default"] != "true":
        yield "Alarms must be true by default"
    if alarms.keys() != ALARMS:
        yield f"the alarms are {sorted(alarms)}"
    for name, alarm in alarms.items():
        if branches(alarm.get("AlarmActions"), "Notify") != ([{"Ref": "AlarmTopic"}], {"Ref": "AWS::NoValue"}):
            yield f"{name} must notify AlarmTopic if Notify holds"
        if not alarm.get("AlarmDescription"):
            yield f"{name} must have a description"
    silent = {name for name, alarm in alarms.items() if alarm["TreatMissingData"] == "breaching"}
    if silent != {"aurora-p2p-${Environment}-silence"}:
        yield f"only the silence alarm may treat missing data as breaching: {silent}"


def account_wide_resources_remain_when_the_stack_is_deleted(template: Template) -> Finding:
    for name in ("ApiAccount", "ApiAccountRole"):
        resource = template["Resources"][name]
        if resource.get("DeletionPolicy") != "Retain" or resource.get("Condition") != "CreateApiLogRole":
            yield f"{name} must be created only under CreateApiLogRole, and retained"
    if template["Parameters"]["ApiLogRole"]["Default"] != "create":
        yield "ApiLogRole must be create by default: a fresh account has no role, and the stage could not be created"
    _, stage = only(template, "AWS::ApiGateway::Stage")
    if not any("${ApiAccount}" in text for text in strings(stage)):
        yield "the stage must refer to ApiAccount, so that it is created after it"


def parameters_are_described_bounded_and_grouped(template: Template) -> Finding:
    parameters = template["Parameters"]
    for name, default in (("Environment", "dev"), ("PeerTTLMinutes", 5), ("EnableCORS", "true")):
        if parameters.get(name, {}).get("Default") != default:
            yield f"{name} must be {default} by default, as in the original stack"
    if parameters["Environment"]["AllowedValues"] != ["dev", "staging", "prod"]:
        yield "Environment must be dev, staging or prod"
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
        yield f"parameters that are not in exactly one group: {sorted(set(grouped) ^ set(parameters))}"


def options_that_cost_extra_are_off_by_default_and_state_their_price(template: Template) -> Finding:
    for name in ("CustomMetrics", "Dashboard", "ContributorInsights", "DetailedMetrics", "LambdaReports"):
        parameter = template["Parameters"][name]
        if parameter["Default"] != "false" or "USD" not in parameter["Description"]:
            yield f"{name} must be off by default, and state its price"
    if "USD" not in template["Parameters"]["AddressRateLimit"]["Description"]:
        yield "AddressRateLimit must state its price"


def forwarded_addresses_are_trusted_only_without_the_default_endpoint(template: Template) -> Finding:
    rule = template.get("Rules", {}).get("ForwardedAddresses", {})
    if rule.get("RuleCondition") != {"Fn::Not": [{"Fn::Equals": [{"Ref": "TrustedHops"}, 0]}]}:
        yield "the rule must apply whenever TrustedHops is not 0"
    (assertion,) = rule.get("Assertions") or [{}]
    if assertion.get("Assert") != {"Fn::Equals": [{"Ref": "DefaultEndpoint"}, "disabled"]}:
        yield "the rule must require that the default endpoint is disabled: clients could claim any address there"
    if "DefaultEndpoint=disabled" not in assertion.get("AssertDescription", ""):
        yield "the refusal must say what to set"
    for name, value in (("TrustedHops", 0), ("DefaultEndpoint", "enabled")):
        if template["Parameters"][name]["Default"] != value:
            yield f"{name} must be {value} by default"
    for kind in ("AWS::ApiGateway::RestApi", "AWS::ApiGatewayV2::Api"):
        _, api = only(template, kind)
        if branches(api.get("DisableExecuteApiEndpoint"), "OnlyCustomDomains") != (True, False):
            yield f"the default endpoint of {kind} must be disabled if OnlyCustomDomains holds"


def outputs_include_what_operators_need(template: Template) -> Finding:
    wanted = {"ApiEndpoint", "TableName", "FunctionName", "DashboardUrl"}
    wanted |= {f"{call}Endpoint" for call in ("Register", "Discover", "Heartbeat", "Deregister", "Health")}
    if missing := wanted - template["Outputs"].keys():
        yield f"outputs lack {sorted(missing)}"
