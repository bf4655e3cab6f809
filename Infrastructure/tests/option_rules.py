"""Rules for what operators may add: a domain, limits on callers, bounds, a budget, and code that the stack fetches."""

from __future__ import annotations

from typing import Any

from template import Finding, Template, branches, of_type, only

# The value with which each parameter adds nothing to the stack, and so costs nothing.
UNSET = {
    "DomainName": "",
    "CertificateArn": "",
    "BasePath": "",
    "AllowedCidrs": "",
    "WebAclArn": "",
    "AddressRateLimit": 0,
    "ApiKeys": "",
    "RequireKey": "",
    "StunUrls": "",
    "TurnUrls": "",
    "TurnSecret": "",
    "PermissionsBoundary": "",
    "MaxReadUnits": 0,
    "MaxWriteUnits": 0,
    "WarmReadUnits": 0,
    "WarmWriteUnits": 0,
    "MonthlyBudget": 0,
}
# The condition under which each optional resource is created.
OPTIONAL = {
    "Domain": "WithDomain",
    "DomainMapping": "WithDomain",
    "WebAcl": "RateRule",
    "WebAclAssociation": "WithWebAcl",
    "Budget": "WithBudget",
    "CodeBucket": "FetchCode",
    "FetchRole": "FetchCode",
    "FetchFunction": "FetchCode",
    "Code": "FetchCode",
}
NO_VALUE = {"Ref": "AWS::NoValue"}


def what_operators_may_add_is_absent_by_default(template: Template) -> Finding:
    for name, value in UNSET.items():
        if template["Parameters"][name]["Default"] != value:
            yield f"{name} must be {value!r} by default"
    for name, condition in OPTIONAL.items():
        if template["Resources"][name].get("Condition") != condition:
            yield f"{name} must be created under {condition} only"


def every_endpoint_requires_tls_1_2(template: Template) -> Finding:
    _, api = only(template, "AWS::ApiGateway::RestApi")
    if not str(api.get("SecurityPolicy", "")).startswith("SecurityPolicy_TLS13_1_2_"):
        yield "the REST API must require TLS 1.2: its default accepts TLS 1.0"
    if api.get("EndpointAccessMode") not in ("BASIC", "STRICT"):
        yield "this security policy needs an endpoint access mode"
    (domain,) = only(template, "AWS::ApiGatewayV2::DomainName")[1]["DomainNameConfigurations"]
    if domain.get("SecurityPolicy") != "TLS_1_2":
        yield "the domain must require TLS 1.2"


def a_domain_survives_a_change_of_the_api(template: Template) -> Finding:
    _, mapping = only(template, "AWS::ApiGatewayV2::ApiMapping")
    if branches(mapping.get("ApiId"), "Rest") != ({"Ref": "RestApi"}, {"Ref": "HttpApi"}):
        yield "the domain must lead to the API of either type"
    if branches(mapping.get("Stage"), "Rest") != ({"Ref": "RestStage"}, {"Ref": "HttpStage"}):
        yield "the domain must lead to the stage of either type"
    if branches(mapping.get("ApiMappingKey"), "WithBasePath") != ({"Ref": "BasePath"}, NO_VALUE):
        yield "the domain must have the base path, if there is one"
    with_domain, _ = branches(template["Outputs"]["ApiEndpoint"]["Value"]["Fn::Sub"][1]["Base"], "WithDomain")
    if branches(with_domain, "WithBasePath") != ({"Fn::Sub": "${DomainName}/${BasePath}"}, {"Ref": "DomainName"}):
        yield f"ApiEndpoint must be at the domain: {with_domain}"


def callers_can_be_limited_by_network_and_by_rate(template: Template) -> Finding:
    policy, without = branches(only(template, "AWS::ApiGateway::RestApi")[1].get("Policy"), "Restricted")
    conditions = [statement.get("Condition") for statement in (policy or {}).get("Statement", [])]
    if conditions != [{"IpAddress": {"aws:SourceIp": {"Ref": "AllowedCidrs"}}}] or without != NO_VALUE:
        yield f"the resource policy must allow AllowedCidrs, and be absent without: {policy}, {without}"
    _, acl = only(template, "AWS::WAFv2::WebACL")
    rates = [rule["Statement"].get("RateBasedStatement", {}) for rule in acl["Rules"]]
    if [(rate.get("Limit"), rate.get("EvaluationWindowSec")) for rate in rates] != [({"Ref": "AddressRateLimit"}, 60)]:
        yield f"the web ACL must limit an address to AddressRateLimit requests a minute: {rates}"
    if acl.get("DefaultAction") != {"Allow": {}}:
        yield "the web ACL must allow what no rule blocks"
    _, association = only(template, "AWS::WAFv2::WebACLAssociation")
    if branches(association["WebACLArn"], "RateRule") != ({"Fn::GetAtt": ["WebAcl", "Arn"]}, {"Ref": "WebAclArn"}):
        yield "the stage must have the web ACL of this stack, or else WebAclArn"


def every_role_has_the_permissions_boundary(template: Template) -> Finding:
    for name, role in of_type(template, "AWS::IAM::Role").items():
        boundary = branches(role["Properties"].get("PermissionsBoundary"), "Bounded")
        if boundary != ({"Ref": "PermissionsBoundary"}, NO_VALUE):
            yield f"{name} must have PermissionsBoundary, if it is set"


def the_table_and_its_index_have_the_same_capacity(template: Template) -> Finding:
    _, table = only(template, "AWS::DynamoDB::Table")
    capped = {"MaxReadRequestUnits": {"Ref": "MaxReadUnits"}, "MaxWriteRequestUnits": {"Ref": "MaxWriteUnits"}}
    warmed = {"ReadUnitsPerSecond": {"Ref": "WarmReadUnits"}, "WriteUnitsPerSecond": {"Ref": "WarmWriteUnits"}}
    for owner in (table, table["GlobalSecondaryIndexes"][0]):
        if branches(owner.get("OnDemandThroughput"), "Capped") != (capped, NO_VALUE):
            yield f"the maximum throughput is {owner.get('OnDemandThroughput')}"
        if branches(owner.get("WarmThroughput"), "Warmed") != (warmed, NO_VALUE):
            yield f"the warm throughput is {owner.get('WarmThroughput')}"


def the_budget_is_sent_to_the_operator(template: Template) -> Finding:
    _, budget = only(template, "AWS::Budgets::Budget")
    if budget["Budget"]["BudgetLimit"] != {"Amount": {"Ref": "MonthlyBudget"}, "Unit": "USD"}:
        yield f"the budget is {budget['Budget']['BudgetLimit']}"
    addresses = [s["Address"] for entry in budget["NotificationsWithSubscribers"] for s in entry["Subscribers"]]
    kinds = [entry["Notification"]["NotificationType"] for entry in budget["NotificationsWithSubscribers"]]
    if addresses != [{"Ref": "NotificationEmail"}] * 2 or sorted(kinds) != ["ACTUAL", "FORECASTED"]:
        yield f"the budget must be sent to NotificationEmail, by cost and by forecast: {addresses}, {kinds}"


def combinations_that_cannot_work_are_refused(template: Template) -> Finding:
    refusals = " ".join(
        assertion["AssertDescription"]
        for name in ("Combinations", "OnlyForRest")
        for assertion in template["Rules"].get(name, {}).get("Assertions", [])
    )
    for name in UNSET.keys() - {"BasePath", "PermissionsBoundary", "StunUrls"}:
        if name not in refusals:
            yield f"no rule refuses combinations of {name}"


def code_of_a_release_is_fetched_only_without_a_bucket(template: Template) -> Finding:
    if template["Conditions"].get("FetchCode") != {"Fn::Equals": [{"Ref": "ArtifactBucket"}, ""]}:
        yield "FetchCode must hold if, and only if, ArtifactBucket is empty"
    code: Any = template["Resources"]["Function"]["Properties"]["Code"]
    if branches(code["S3Bucket"], "FetchCode") != ({"Ref": "CodeBucket"}, {"Ref": "ArtifactBucket"}):
        yield f"the function's bucket is {code['S3Bucket']}"
    if branches(code["S3Key"], "FetchCode") != ({"Ref": "Code"}, {"Ref": "ArtifactKey"}):
        yield f"the function's key is {code['S3Key']}"
    if not all(
        template["Resources"]["CodeBucket"]["Properties"].get("PublicAccessBlockConfiguration", {0: 0}).values()
    ):
        yield "the bucket for the code must be private"
    statements = template["Resources"]["FetchRole"]["Properties"]["Policies"][0]["PolicyDocument"]["Statement"]
    allowed = {action for statement in statements for action in statement["Action"]}
    if allowed != {"s3:PutObject", "s3:DeleteObject", "logs:CreateLogStream", "logs:PutLogEvents"}:
        yield f"the function that fetches the code may {allowed}"
    if any(statement["Resource"] == "*" for statement in statements):
        yield "the function that fetches the code may use more than its bucket and its log"
