"""What the template must hold, one rule each; a rule yields a sentence for whatever breaks it.

They stand for what no stand-in judges: API Gateway's semantics and least privilege. `test_template.py` also breaks
copies of the template on purpose and sees the rules fail.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from typing import Any

from template import ROOT, Template, branches, of_type, only, strings

Finding = Iterator[str]
Rule = Callable[[Template], Finding]

PATHS = {"/", "/register", "/discover", "/heartbeat", "/health", "/deregister", "/{proxy+}"}
# The contract's headers, as API Gateway writes constants.
CORS = {
    "Access-Control-Allow-Origin": "'*'",
    "Access-Control-Allow-Methods": "'GET,POST,OPTIONS'",
    "Access-Control-Allow-Headers": "'Content-Type,X-Amz-Date,Authorization,X-Api-Key'",
    "Access-Control-Expose-Headers": "'Retry-After,x-request-id'",
    "Access-Control-Max-Age": "'86400'",
}
# What the gateway answers by itself: its type, the status (None: as it is), the contract's code, whether to come back.
ANSWERS = {
    "THROTTLED": ("429", "rate_limited", True),
    "REQUEST_TOO_LARGE": ("413", "body_too_large", False),
    "DEFAULT_4XX": (None, "invalid_body", False),
    "DEFAULT_5XX": ("503", "unavailable", True),
}
LOGGED = {"requestId", "time", "ip", "method", "route", "status", "bytes", "latencyMs", "functionMs", "error"}
ALARMS = {
    "aurora-p2p-${Environment}-errors",
    "aurora-p2p-${Environment}-throttles",
    "aurora-p2p-${Environment}-table-throttles",
    "aurora-p2p-${Environment}-latency",
    "aurora-p2p-${Environment}-server-errors",
    "aurora-p2p-${Environment}-silence",
}
# CloudFormation takes no larger one as a body.
MOST_BYTES = 51_200


def every_route_of_the_rest_api_reaches_the_function(template: Template) -> Finding:
    paths = {
        name: "/" + resource["Properties"]["PathPart"]
        for name, resource in of_type(template, "AWS::ApiGateway::Resource").items()
    }
    reached = set()
    for name, method in of_type(template, "AWS::ApiGateway::Method").items():
        properties = method["Properties"]
        reached.add(paths.get(properties["ResourceId"].get("Ref"), "/"))
        if properties["HttpMethod"] != "ANY" or properties["AuthorizationType"] != "NONE":
            yield f"{name} must take ANY method of anybody"
        integration = properties["Integration"]
        if (integration["Type"], integration["IntegrationHttpMethod"]) != ("AWS_PROXY", "POST"):
            yield f"{name} must hand the request over as it is (AWS_PROXY, POST)"
        if "functions/${Function.Arn}/invocations" not in integration["Uri"]["Fn::Sub"]:
            yield f"{name} does not reach the function"
    if reached != PATHS:
        yield f"routes: missing {PATHS - reached}, unknown {reached - PATHS}"


def every_route_of_the_http_api_reaches_the_function(template: Template) -> Finding:
    routes = of_type(template, "AWS::ApiGatewayV2::Route")
    keys = {route["Properties"]["RouteKey"] for route in routes.values()}
    if keys != {f"ANY {path}" for path in PATHS}:
        yield f"routes are {sorted(keys)}"
    name, integration = only(template, "AWS::ApiGatewayV2::Integration")
    if (integration["IntegrationType"], integration["PayloadFormatVersion"]) != ("AWS_PROXY", "2.0"):
        yield f"{name} must hand the request over as it is (AWS_PROXY, 2.0)"
    if integration["IntegrationUri"] != {"Fn::GetAtt": ["Function", "Arn"]}:
        yield f"{name} does not reach the function"
    for route, resource in routes.items():
        if resource["Properties"]["Target"] != {"Fn::Sub": f"integrations/${{{name}}}"}:
            yield f"{route} does not reach the integration"
    if "CorsConfiguration" in only(template, "AWS::ApiGatewayV2::Api")[1]:
        yield "the gateway would answer preflights by itself, and not as the Router does"


def each_api_and_nothing_else_may_invoke_the_function(template: Template) -> Finding:
    allowed = set()
    for name, permission in of_type(template, "AWS::Lambda::Permission").items():
        properties = permission["Properties"]
        if (properties["Principal"], properties["FunctionName"]) != ("apigateway.amazonaws.com", {"Ref": "Function"}):
            yield f"{name} lets {properties['Principal']} invoke {properties['FunctionName']}"
        allowed.add((permission.get("Condition"), properties["SourceArn"]["Fn::Sub"].rpartition(":")[2]))
    wanted = {("Rest", "${RestApi}/${Environment}/*"), ("Http", "${HttpApi}/${Environment}/*")}
    if allowed != wanted:
        yield f"the function may be invoked from {allowed}"


def the_gateway_answers_in_the_shape_of_the_contract(template: Template) -> Finding:
    responses = {
        r["Properties"]["ResponseType"]: r for r in of_type(template, "AWS::ApiGateway::GatewayResponse").values()
    }
    if responses.keys() != ANSWERS.keys():
        yield f"gateway responses: {sorted(responses)}"
    for kind, (status, code, comes_back) in ANSWERS.items():
        properties = responses.get(kind, {}).get("Properties", {})
        if properties.get("StatusCode") != status:
            yield f"{kind} is answered with {properties.get('StatusCode')}"
        written = properties.get("ResponseTemplates", {}).get("application/json", "")
        try:
            body = json.loads(re.sub(r"\$context\.error\.messageString", '"said by the gateway"', written))
        except ValueError:
            body = {}
        if body.keys() != {"error", "code"} or body["code"] != code:
            yield f"{kind} has the body {written}"
        yield from headers_of(kind, properties.get("ResponseParameters", {}), comes_back)


def headers_of(kind: str, parameters: Any, comes_back: bool) -> Finding:
    always = {"Cache-Control", "x-request-id"} | ({"Retry-After"} if comes_back else set())
    for cors, value in zip((True, False), branches(parameters, "Cors"), strict=True):
        headers = {name.removeprefix("gatewayresponse.header."): text for name, text in value.items()}
        if headers.keys() != always | (CORS.keys() if cors else set()):
            yield f"{kind} with CORS {'on' if cors else 'off'} has the headers {sorted(headers)}"
        for name, text in CORS.items():
            if headers.get(name, text) != text:
                yield f"{kind} has {name}: {headers[name]}"
        if headers.get("x-request-id") != "context.requestId":
            yield f"{kind} does not carry the gateway's request id"
        if headers.get("Cache-Control") != "'no-store'":
            yield f"{kind} may be cached"


def each_change_of_routes_or_cors_makes_a_new_deployment(template: Template) -> Finding:
    deployments = of_type(template, "AWS::ApiGateway::Deployment")
    by_condition = {resource["Condition"]: name for name, resource in deployments.items()}
    if by_condition.keys() != {"RestCors", "RestBare"}:
        yield f"there must be one deployment with CORS and one without: {by_condition}"
    snapshot = [*of_type(template, "AWS::ApiGateway::Method"), *of_type(template, "AWS::ApiGateway::GatewayResponse")]
    for name, resource in deployments.items():
        if missing := set(snapshot) - set(resource.get("DependsOn", [])):
            yield f"{name} may be taken before {sorted(missing)}"
        if not re.fullmatch(r"ApiDeployment(Cors|Bare)[0-9a-f]{8}", name):
            yield f"{name} has no stamp"
    _, stage = only(template, "AWS::ApiGateway::Stage")
    chosen = [branch.get("Ref") for branch in branches(stage["DeploymentId"], "Cors")]
    if chosen != [by_condition.get("RestCors"), by_condition.get("RestBare")]:
        yield f"the stage shows {chosen}"
    if only(template, "AWS::ApiGatewayV2::Stage")[1].get("AutoDeploy") is not True:
        yield "the HTTP API's stage does not deploy by itself"


def access_logs_are_json_in_the_group_of_the_seed(template: Template) -> Finding:
    stages = {
        "REST": only(template, "AWS::ApiGateway::Stage")[1]["AccessLogSetting"],
        "HTTP": only(template, "AWS::ApiGatewayV2::Stage")[1]["AccessLogSettings"],
    }
    for api, setting in stages.items():
        if not setting["DestinationArn"]["Fn::Sub"].endswith(":log-group:${ApiLogs}"):
            yield f"the {api} API logs to {setting['DestinationArn']}"
        try:
            line = json.loads(setting["Format"])
        except ValueError:
            line = {}
        if line.keys() != LOGGED or "\n" in setting["Format"]:
            yield f"the {api} API's line is {setting['Format']}"
        if not all(re.fullmatch(r"\$context(\.\w+)+", value) for value in line.values()):
            yield f"the {api} API's line has constants"


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


def the_stage_is_throttled(template: Template) -> Finding:
    _, stage = only(template, "AWS::ApiGateway::Stage")
    settings = stage.get("MethodSettings", [{}])[0]
    routes = only(template, "AWS::ApiGatewayV2::Stage")[1].get("DefaultRouteSettings", {})
    if (settings.get("ResourcePath"), settings.get("HttpMethod")) != ("/*", "*"):
        yield "the throttle must hold for every method of every route"
    for api, throttle in (("REST", settings), ("HTTP", routes)):
        limits = [throttle.get("ThrottlingRateLimit"), throttle.get("ThrottlingBurstLimit")]
        if limits != [{"Ref": "ThrottleRate"}, {"Ref": "ThrottleBurst"}]:
            yield f"the {api} API is throttled by {limits}"


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
    """What the DynamoDB store calls, by its own list, which its tests compare with the calls they see."""
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
    for name in variables:
        if not any(f'"{name}"' in source.read_text() for source in sorted((ROOT / "crates").rglob("src/**/*.rs"))):
            yield f"no code reads {name}"


# The function's settings, which are `serve`'s, and the parameter that each comes from.
SETTINGS = {
    "AURORA_PEER_TTL_MINUTES": "PeerTTLMinutes",
    "AURORA_TTL_MIN": "MinLeaseSeconds",
    "AURORA_TTL_MAX": "MaxLeaseSeconds",
    "AURORA_REVIVAL_HOURS": "RevivalHours",
    "AURORA_HEARTBEAT_INTERVAL_MAX": "HeartbeatIntervalMaxSeconds",
    "AURORA_DEFAULT_LIMIT": "DefaultLimit",
    "AURORA_OPEN_REGISTRATIONS": "HolderRule",
    "AURORA_NO_CORS": "EnableCORS",
    "AURORA_LOG": "LogLevel",
}


def condition_parameters(template: Template, value: Any) -> list[str]:
    """The parameters that decide a conditional value, where it is off when its parameter is on."""
    on, off = branches(value, condition := (value or {}).get("Fn::If", [""])[0])
    return list(strings(template["Conditions"].get(condition, []))) if (on, off) == ("false", "true") else []


def every_alarm_tells_who_asked_to_be_told(template: Template) -> Finding:
    alarms = {
        a["Properties"]["AlarmName"]["Fn::Sub"]: a["Properties"]
        for a in of_type(template, "AWS::CloudWatch::Alarm").values()
    }
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
    for name in ("Dashboard", "ContributorInsights", "DetailedMetrics"):
        parameter = template["Parameters"][name]
        if parameter["Default"] != "false" or "USD" not in parameter["Description"]:
            yield f"{name} must be off, and say what it costs"


def outputs_name_what_operators_need(template: Template) -> Finding:
    wanted = {"ApiEndpoint", "TableName", "FunctionName", "DashboardUrl"}
    wanted |= {f"{call}Endpoint" for call in ("Register", "Discover", "Heartbeat", "Deregister", "Health")}
    if missing := wanted - template["Outputs"].keys():
        yield f"outputs lack {sorted(missing)}"


RULES: list[Rule] = [
    every_route_of_the_rest_api_reaches_the_function,
    every_route_of_the_http_api_reaches_the_function,
    each_api_and_nothing_else_may_invoke_the_function,
    the_gateway_answers_in_the_shape_of_the_contract,
    each_change_of_routes_or_cors_makes_a_new_deployment,
    access_logs_are_json_in_the_group_of_the_seed,
    log_groups_are_those_of_the_seed_and_kept_for_7_days,
    the_function_logs_what_it_means_to_and_no_more,
    the_stage_is_throttled,
    the_table_is_the_one_that_the_store_makes_for_itself,
    the_function_may_do_what_its_code_does_and_no_more,
    no_role_has_a_fixed_name,
    names_that_are_fixed_carry_the_environment,
    the_function_is_the_rust_binary_with_settings_that_it_knows,
    every_alarm_tells_who_asked_to_be_told,
    what_the_account_shares_stays_when_the_stack_goes,
    parameters_are_described_bounded_and_grouped,
    what_costs_extra_is_off_by_default_and_says_how_much,
    outputs_name_what_operators_need,
]
