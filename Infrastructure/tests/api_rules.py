"""Rules for the API Gateway resources between clients and the function."""

from __future__ import annotations

import json
import re
from typing import Any

from template import Finding, Template, branches, of_type, only

PATHS = {"/", "/register", "/discover", "/heartbeat", "/health", "/deregister", "/{proxy+}"}
# The CORS headers that the API specifies for a refusal, in API Gateway's notation for constants.
# Preflight requests reach the function, which sends the other CORS headers.
CORS = {
    "Access-Control-Allow-Origin": "'*'",
    "Access-Control-Expose-Headers": "'Retry-After,x-request-id'",
}
# Responses that the gateway generates itself, by type: the status (None: unchanged), the error code of
# the API, and whether Retry-After is sent.
GATEWAY_RESPONSES = {
    "THROTTLED": ("429", "rate_limited", True),
    "REQUEST_TOO_LARGE": ("413", "body_too_large", False),
    "DEFAULT_4XX": (None, "forbidden", False),
    "DEFAULT_5XX": ("503", "unavailable", True),
}
LOGGED = {"requestId", "ip", "call", "status", "ms", "functionMs", "error"}


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
            yield f"{name} must accept ANY method without authorization"
        integration = properties["Integration"]
        if (integration["Type"], integration["IntegrationHttpMethod"]) != ("AWS_PROXY", "POST"):
            yield f"{name} must pass the request on unchanged (AWS_PROXY, POST)"
        if "functions/${Function.Arn}/invocations" not in integration["Uri"]["Fn::Sub"]:
            yield f"{name} does not reach the function"
    if reached != PATHS:
        yield f"routes: missing {PATHS - reached}, unknown {reached - PATHS}"


def every_route_of_the_http_api_reaches_the_function(template: Template) -> Finding:
    routes = of_type(template, "AWS::ApiGatewayV2::Route")
    keys = {route["Properties"]["RouteKey"] for route in routes.values()}
    if keys != {f"ANY {path}" for path in PATHS}:
        yield f"the routes of the HTTP API are {sorted(keys)}"
    name, integration = only(template, "AWS::ApiGatewayV2::Integration")
    if (integration["IntegrationType"], integration["PayloadFormatVersion"]) != ("AWS_PROXY", "2.0"):
        yield f"{name} must pass the request on unchanged (AWS_PROXY, 2.0)"
    if integration["IntegrationUri"] != {"Fn::GetAtt": ["Function", "Arn"]}:
        yield f"{name} does not reach the function"
    for route, resource in routes.items():
        if resource["Properties"]["Target"] != {"Fn::Sub": f"integrations/${{{name}}}"}:
            yield f"{route} does not reach the integration"
    if "CorsConfiguration" in only(template, "AWS::ApiGatewayV2::Api")[1]:
        yield "CorsConfiguration makes the gateway handle preflight requests, which the router must do"


def only_the_apis_and_the_schedule_may_invoke_the_function(template: Template) -> Finding:
    allowed = set()
    for name, permission in of_type(template, "AWS::Lambda::Permission").items():
        properties = permission["Properties"]
        if properties["FunctionName"] != {"Ref": "Function"}:
            yield f"{name} lets {properties['Principal']} invoke {properties['FunctionName']}"
        source = properties["SourceArn"]
        source = source["Fn::Sub"].rpartition(":")[2] if "Fn::Sub" in source else ".".join(source["Fn::GetAtt"])
        allowed.add((properties["Principal"], permission.get("Condition"), source))
    wanted = {
        ("apigateway.amazonaws.com", "Rest", "${RestApi}/${Environment}/*"),
        ("apigateway.amazonaws.com", "Http", "${HttpApi}/${Environment}/*"),
        ("events.amazonaws.com", None, "SweepSchedule.Arn"),
    }
    if allowed != wanted:
        yield f"the function may be invoked by {allowed}, not by {wanted}"


def the_schedule_invokes_the_function_to_sweep(template: Template) -> Finding:
    _, rule = only(template, "AWS::Events::Rule")
    if [target["Arn"] for target in rule["Targets"]] != [{"Fn::GetAtt": ["Function", "Arn"]}]:
        yield f"the schedule invokes {rule['Targets']} instead of the function"
    if rule["ScheduleExpression"] != "rate(5 minutes)":
        yield f"ScheduleExpression must be rate(5 minutes), not {rule['ScheduleExpression']}"


def gateway_responses_have_the_error_format_of_the_api(template: Template) -> Finding:
    responses = {
        r["Properties"]["ResponseType"]: r for r in of_type(template, "AWS::ApiGateway::GatewayResponse").values()
    }
    if responses.keys() != GATEWAY_RESPONSES.keys():
        yield f"the gateway responses are {sorted(responses)}, not {sorted(GATEWAY_RESPONSES)}"
    for kind, (status, code, has_retry_after) in GATEWAY_RESPONSES.items():
        properties = responses.get(kind, {}).get("Properties", {})
        if properties.get("StatusCode") != status:
            yield f"{kind} has the status {properties.get('StatusCode')}, not {status}"
        written = properties.get("ResponseTemplates", {}).get("application/json", "")
        try:
            body = json.loads(re.sub(r"\$context\.error\.messageString", '"message of the gateway"', written))
        except ValueError:
            body = {}
        if body.keys() != {"error", "code"} or body["code"] != code:
            yield f"{kind} has the body {written}"
        yield from headers_of(kind, properties.get("ResponseParameters", {}), has_retry_after)


def headers_of(kind: str, parameters: Any, has_retry_after: bool) -> Finding:
    always = {"Cache-Control", "x-request-id"} | ({"Retry-After"} if has_retry_after else set())
    for cors in (True, False):
        chosen = {name: branches(value, "Cors")[0 if cors else 1] for name, value in parameters.items()}
        headers = {
            name.removeprefix("gatewayresponse.header."): text
            for name, text in chosen.items()
            if text != {"Ref": "AWS::NoValue"}
        }
        if headers.keys() != always | (CORS.keys() if cors else set()):
            yield f"{kind} with CORS {'on' if cors else 'off'} has the headers {sorted(headers)}"
        for name, text in CORS.items():
            if headers.get(name, text) != text:
                yield f"{kind} has {name}: {headers[name]}"
        if headers.get("x-request-id") != "context.requestId":
            yield f"{kind} must have the gateway's request id"
        if headers.get("Cache-Control") != "'no-store'":
            yield f"{kind} must not be cached"


def each_change_of_routes_or_cors_creates_a_new_deployment(template: Template) -> Finding:
    deployments = of_type(template, "AWS::ApiGateway::Deployment")
    by_condition = {resource["Condition"]: name for name, resource in deployments.items()}
    if by_condition.keys() != {"RestCors", "RestWithoutCors"}:
        yield f"there must be one deployment with CORS and one without: {by_condition}"
    snapshot = [*of_type(template, "AWS::ApiGateway::Method"), *of_type(template, "AWS::ApiGateway::GatewayResponse")]
    for name, resource in deployments.items():
        if missing := set(snapshot) - set(resource.get("DependsOn", [])):
            yield f"{name} must depend on {sorted(missing)}: otherwise it may not include them"
        if not re.fullmatch(r"ApiDeployment(Cors|NoCors)[0-9a-f]{8}", name):
            yield f"{name} has no stamp"
    _, stage = only(template, "AWS::ApiGateway::Stage")
    chosen = [branch.get("Ref") for branch in branches(stage["DeploymentId"], "Cors")]
    if chosen != [by_condition.get("RestCors"), by_condition.get("RestWithoutCors")]:
        yield f"the stage deploys {chosen}"
    if only(template, "AWS::ApiGatewayV2::Stage")[1].get("AutoDeploy") is not True:
        yield "the stage of the HTTP API must deploy automatically"


def access_logs_are_json_in_the_original_log_group(template: Template) -> Finding:
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
            yield f"the log format of the {api} API is {setting['Format']}"
        if not all(re.fullmatch(r"\$context(\.\w+)+( \$context(\.\w+)+)?", value) for value in line.values()):
            yield f"the log format of the {api} API contains constants"
        if any(by_caller in setting["Format"] for by_caller in ("$context.path", "userAgent")):
            yield f"the log format of the {api} API contains values of any length from the client"


def both_stages_are_throttled(template: Template) -> Finding:
    _, stage = only(template, "AWS::ApiGateway::Stage")
    settings = stage.get("MethodSettings", [{}])[0]
    routes = only(template, "AWS::ApiGatewayV2::Stage")[1].get("DefaultRouteSettings", {})
    if (settings.get("ResourcePath"), settings.get("HttpMethod")) != ("/*", "*"):
        yield "the throttle must apply to every method of every route"
    for api, throttle in (("REST", settings), ("HTTP", routes)):
        limits = [throttle.get("ThrottlingRateLimit"), throttle.get("ThrottlingBurstLimit")]
        if limits != [{"Ref": "ThrottleRate"}, {"Ref": "ThrottleBurst"}]:
            yield f"the {api} API is throttled by {limits}"
