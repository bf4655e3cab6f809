"""The template satisfies the rules, and each rule fails on copies broken in the way that it detects."""

from __future__ import annotations

import copy
import re
import unittest
from collections.abc import Callable
from typing import Any

import api_rules as api
import option_rules as option
import stack_rules as stack
from rules import RULES, Rule
from stamp import stamped
from template import ARTIFACTS, MAIN, MOST_BYTES, Template, load, of_type

Break = Callable[[Template], Any]


def properties(template: Template, name: str) -> dict[str, Any]:
    found: dict[str, Any] = template["Resources"][name]["Properties"]
    return found


def statements(template: Template) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = properties(template, "FunctionRole")["Policies"][0]["PolicyDocument"]["Statement"]
    return found


def variables(template: Template) -> dict[str, Any]:
    found: dict[str, Any] = properties(template, "Function")["Environment"]["Variables"]
    return found


def headers(template: Template, name: str) -> dict[str, Any]:
    found: dict[str, Any] = properties(template, name)["ResponseParameters"]
    return found


def deployment(template: Template, condition: str) -> dict[str, Any]:
    found = of_type(template, "AWS::ApiGateway::Deployment").values()
    return next(resource for resource in found if resource["Condition"] == condition)


# Ways to break a copy of the template, by the rule that must detect them.
BREAKS: dict[Rule, list[Break]] = {
    api.every_route_of_the_rest_api_reaches_the_function: [
        lambda t: t["Resources"].pop("DeregisterMethod"),
        lambda t: t["Resources"].pop("RootMethod"),
        lambda t: t["Resources"].pop("OtherMethod"),
        lambda t: properties(t, "HealthResource").update(PathPart="healthy"),
        lambda t: properties(t, "RegisterMethod").update(HttpMethod="POST"),
        lambda t: properties(t, "RegisterMethod").update(AuthorizationType="AWS_IAM"),
        lambda t: properties(t, "RegisterMethod")["Integration"].update(Type="MOCK"),
        lambda t: properties(t, "RegisterMethod")["Integration"].update(IntegrationHttpMethod="GET"),
        lambda t: properties(t, "RegisterMethod")["Integration"].update(Uri={"Fn::Sub": "arn:elsewhere"}),
    ],
    api.every_route_of_the_http_api_reaches_the_function: [
        lambda t: t["Resources"].pop("RootRoute"),
        lambda t: properties(t, "DiscoverRoute").update(RouteKey="GET /discover"),
        lambda t: properties(t, "DiscoverRoute").update(Target="integrations/other"),
        lambda t: properties(t, "HttpIntegration").update(PayloadFormatVersion="1.0"),
        lambda t: properties(t, "HttpIntegration").update(IntegrationUri="arn:elsewhere"),
        lambda t: properties(t, "HttpApi").update(CorsConfiguration={"AllowOrigins": ["*"]}),
    ],
    api.the_schedule_invokes_the_function_to_sweep: [
        lambda t: properties(t, "SweepSchedule")["Targets"][0].update(Arn={"Fn::GetAtt": ["Other", "Arn"]}),
        lambda t: properties(t, "SweepSchedule").update(ScheduleExpression="rate(1 day)"),
    ],
    api.only_the_apis_and_the_schedule_may_invoke_the_function: [
        lambda t: t["Resources"].pop("RestPermission"),
        lambda t: properties(t, "SweepPermission").update(SourceArn={"Fn::GetAtt": ["Other", "Arn"]}),
        lambda t: properties(t, "SweepPermission").update(FunctionName="other"),
        lambda t: properties(t, "HttpPermission").update(SourceArn={"Fn::Sub": "arn:aws:execute-api:*:*:*"}),
        lambda t: properties(t, "RestPermission").update(Principal="*"),
    ],
    api.gateway_responses_have_the_error_format_of_the_api: [
        lambda t: t["Resources"].pop("ThrottledResponse"),
        lambda t: properties(t, "UnavailableResponse").update(StatusCode="500"),
        lambda t: properties(t, "TooLargeResponse").update(ResponseTemplates={"application/json": '{"message":"x"}'}),
        lambda t: properties(t, "TooLargeResponse").update(ResponseTemplates={"application/json": "no JSON"}),
        lambda t: headers(t, "ThrottledResponse").pop("gatewayresponse.header.Retry-After"),
        lambda t: headers(t, "ThrottledResponse").pop("gatewayresponse.header.Access-Control-Allow-Origin"),
        lambda t: headers(t, "RefusedResponse").update({"gatewayresponse.header.Access-Control-Max-Age": "'86400'"}),
        lambda t: headers(t, "RefusedResponse").update({"gatewayresponse.header.Access-Control-Expose-Headers": "'*'"}),
        lambda t: headers(t, "RefusedResponse").update({"gatewayresponse.header.x-request-id": "'1'"}),
        lambda t: headers(t, "RefusedResponse").update({"gatewayresponse.header.Cache-Control": "'public'"}),
        lambda t: headers(t, "RefusedResponse").update({"gatewayresponse.header.Access-Control-Allow-Origin": "'*'"}),
        lambda t: properties(t, "RefusedResponse").update(
            ResponseTemplates={"application/json": '{"error":$context.error.messageString,"code":"invalid_body"}'}
        ),
    ],
    api.each_change_of_routes_or_cors_creates_a_new_deployment: [
        lambda t: deployment(t, "RestCors")["DependsOn"].remove("DiscoverMethod"),
        lambda t: deployment(t, "RestWithoutCors")["DependsOn"].remove("ThrottledResponse"),
        lambda t: deployment(t, "RestWithoutCors").update(Condition="Rest"),
        lambda t: t["Resources"].update(ApiDeployment=deployment(t, "RestCors")),
        lambda t: properties(t, "RestStage").update(
            DeploymentId=properties(t, "RestStage")["DeploymentId"]["Fn::If"][1]
        ),
        lambda t: properties(t, "HttpStage").update(AutoDeploy=False),
    ],
    api.access_logs_are_json_in_the_original_log_group: [
        lambda t: properties(t, "RestStage")["AccessLogSetting"].update(Format="$context.requestId"),
        lambda t: properties(t, "RestStage")["AccessLogSetting"].update(Format='{"requestId": "constant"}'),
        lambda t: properties(t, "RestStage")["AccessLogSetting"].update(
            Format=properties(t, "RestStage")["AccessLogSetting"]["Format"].replace("resourcePath", "path")
        ),
        lambda t: properties(t, "HttpStage")["AccessLogSettings"].update(DestinationArn={"Fn::Sub": "arn:elsewhere"}),
    ],
    stack.log_groups_have_the_original_names_and_are_kept_for_7_days: [
        lambda t: properties(t, "FunctionLogs").pop("RetentionInDays"),
        lambda t: properties(t, "ApiLogs").update(RetentionInDays=30),
        lambda t: properties(t, "ApiLogs").update(LogGroupName={"Fn::Sub": "/aws/apigateway/other-${Environment}"}),
    ],
    stack.lambda_neither_adds_nor_drops_log_lines: [
        lambda t: properties(t, "Function").pop("LoggingConfig"),
        lambda t: properties(t, "Function")["LoggingConfig"].update(SystemLogLevel="INFO"),
        lambda t: properties(t, "Function")["LoggingConfig"].pop("ApplicationLogLevel"),
    ],
    api.both_stages_are_throttled: [
        lambda t: properties(t, "RestStage").pop("MethodSettings"),
        lambda t: properties(t, "RestStage")["MethodSettings"][0].update(HttpMethod="GET"),
        lambda t: properties(t, "HttpStage")["DefaultRouteSettings"].pop("ThrottlingBurstLimit"),
    ],
    stack.the_table_has_the_schema_that_the_store_creates: [
        lambda t: properties(t, "PeersTable").update(TableName="aurora-peers"),
        lambda t: properties(t, "PeersTable")["AttributeDefinitions"][2].update(AttributeType="N"),
        lambda t: properties(t, "PeersTable")["KeySchema"][0].update(AttributeName="id"),
        lambda t: properties(t, "PeersTable")["GlobalSecondaryIndexes"][0].update(IndexName="Other"),
        lambda t: properties(t, "PeersTable")["GlobalSecondaryIndexes"][0]["KeySchema"].pop(),
        lambda t: properties(t, "PeersTable")["GlobalSecondaryIndexes"][0].update(Projection={"ProjectionType": "ALL"}),
        lambda t: properties(t, "PeersTable").update(BillingMode="PROVISIONED"),
        lambda t: properties(t, "PeersTable")["TimeToLiveSpecification"].update(Enabled=False),
        lambda t: properties(t, "PeersTable")["TimeToLiveSpecification"].update(AttributeName="expires_at"),
        lambda t: properties(t, "PeersTable").update(SSESpecification={"SSEEnabled": True}),
    ],
    stack.the_role_grants_exactly_what_the_function_needs: [
        lambda t: statements(t)[0]["Action"].remove("dynamodb:GetItem"),
        lambda t: statements(t)[0]["Action"].append("dynamodb:DeleteTable"),
        lambda t: statements(t)[0].update(Resource="*"),
        lambda t: statements(t)[1].update(Resource={"Fn::GetAtt": ["PeersTable", "Arn"]}),
        lambda t: statements(t)[2].update(Resource="*"),
        lambda t: properties(t, "FunctionRole").update(ManagedPolicyArns=["AdministratorAccess"]),
    ],
    stack.no_role_has_a_fixed_name: [
        lambda t: properties(t, "FunctionRole").update(RoleName={"Fn::Sub": "aurora-${Environment}"}),
    ],
    stack.fixed_names_contain_the_environment: [
        lambda t: properties(t, "Function").update(FunctionName="aurora-discovery"),
        lambda t: properties(t, "SilenceAlarm").update(AlarmName="silence"),
    ],
    stack.the_function_runs_bootstrap_with_settings_that_it_knows: [
        lambda t: properties(t, "Function").update(Runtime="python3.11"),
        lambda t: properties(t, "Function").update(FunctionName={"Fn::Sub": "other-${Environment}"}),
        lambda t: variables(t).pop("AURORA_PEER_TTL_MINUTES"),
        lambda t: variables(t).update(AURORA_TTL_MAX={"Ref": "MinLeaseSeconds"}),
        lambda t: variables(t).update(AURORA_NO_CORS={"Fn::If": ["Cors", "true", "false"]}),
        lambda t: variables(t).update(AURORA_UNKNOWN="1"),
    ],
    stack.every_alarm_notifies_the_address_of_the_operator: [
        lambda t: t["Resources"].pop("SilenceAlarm"),
        lambda t: properties(t, "ErrorsAlarm").pop("AlarmActions"),
        lambda t: properties(t, "ErrorsAlarm").pop("AlarmDescription"),
        lambda t: t["Resources"]["ErrorsAlarm"].pop("Condition"),
        lambda t: t["Parameters"]["Alarms"].update(Default="false"),
        lambda t: properties(t, "SilenceAlarm").update(TreatMissingData="notBreaching"),
    ],
    stack.account_wide_resources_remain_when_the_stack_is_deleted: [
        lambda t: t["Resources"]["ApiAccount"].update(DeletionPolicy="Delete"),
        lambda t: t["Resources"]["ApiAccountRole"].pop("Condition"),
        lambda t: t["Parameters"]["ApiLogRole"].update(Default="existing"),
        lambda t: properties(t, "RestStage").pop("Description"),
    ],
    stack.parameters_are_described_bounded_and_grouped: [
        lambda t: t["Parameters"]["PeerTTLMinutes"].update(Default=10),
        lambda t: t["Parameters"]["Environment"].update(AllowedValues=["dev"]),
        lambda t: t["Parameters"]["ThrottleRate"].pop("MaxValue"),
        lambda t: t["Parameters"]["ThrottleRate"].pop("Description"),
        lambda t: t["Parameters"].update(
            Other={"Type": "String", "Default": "", "Description": "x", "AllowedValues": [""]}
        ),
    ],
    stack.options_that_cost_extra_are_off_by_default_and_state_their_price: [
        lambda t: t["Parameters"]["Dashboard"].update(Default="true"),
        lambda t: t["Parameters"]["ContributorInsights"].update(Description="Insights"),
        lambda t: t["Parameters"]["AddressRateLimit"].update(Description="A limit"),
    ],
    stack.forwarded_addresses_are_trusted_only_without_the_default_endpoint: [
        lambda t: t.pop("Rules"),
        lambda t: t["Rules"]["ForwardedAddresses"]["Assertions"][0].update(Assert={"Fn::Equals": ["a", "a"]}),
        lambda t: t["Rules"]["ForwardedAddresses"].update(RuleCondition={"Fn::Equals": [{"Ref": "TrustedHops"}, 1]}),
        lambda t: t["Rules"]["ForwardedAddresses"]["Assertions"][0].update(AssertDescription="refused"),
        lambda t: t["Parameters"]["TrustedHops"].update(Default=1),
        lambda t: properties(t, "RestApi").pop("DisableExecuteApiEndpoint"),
        lambda t: properties(t, "HttpApi").update(DisableExecuteApiEndpoint=False),
    ],
    stack.outputs_include_what_operators_need: [
        lambda t: t["Outputs"].pop("ApiEndpoint"),
    ],
    option.what_operators_may_add_is_absent_by_default: [
        lambda t: t["Parameters"]["MonthlyBudget"].update(Default=10),
        lambda t: t["Resources"]["WebAcl"].update(Condition="Rest"),
        lambda t: t["Resources"]["Budget"].pop("Condition"),
    ],
    option.every_endpoint_requires_tls_1_2: [
        lambda t: properties(t, "RestApi").pop("SecurityPolicy"),
        lambda t: properties(t, "RestApi").pop("EndpointAccessMode"),
        lambda t: properties(t, "Domain")["DomainNameConfigurations"][0].update(SecurityPolicy="TLS_1_0"),
    ],
    option.a_domain_survives_a_change_of_the_api: [
        lambda t: properties(t, "DomainMapping").update(ApiId={"Ref": "RestApi"}),
        lambda t: properties(t, "DomainMapping").update(Stage={"Ref": "Environment"}),
        lambda t: properties(t, "DomainMapping").pop("ApiMappingKey"),
        lambda t: t["Outputs"]["ApiEndpoint"]["Value"]["Fn::Sub"][1].update(Base={"Ref": "RestApi"}),
    ],
    option.callers_can_be_limited_by_network_and_by_rate: [
        lambda t: properties(t, "RestApi").pop("Policy"),
        lambda t: properties(t, "RestApi")["Policy"]["Fn::If"][1]["Statement"][0].pop("Condition"),
        lambda t: properties(t, "WebAcl")["Rules"][0]["Statement"]["RateBasedStatement"].update(Limit=100),
        lambda t: properties(t, "WebAcl").update(DefaultAction={"Block": {}}),
        lambda t: properties(t, "WebAclAssociation").update(WebACLArn={"Ref": "WebAclArn"}),
    ],
    option.every_role_has_the_permissions_boundary: [
        lambda t: properties(t, "FunctionRole").pop("PermissionsBoundary"),
        lambda t: properties(t, "FetchRole").update(PermissionsBoundary={"Ref": "PermissionsBoundary"}),
    ],
    option.the_table_and_its_index_have_the_same_capacity: [
        lambda t: properties(t, "PeersTable").pop("OnDemandThroughput"),
        lambda t: properties(t, "PeersTable")["GlobalSecondaryIndexes"][0].pop("OnDemandThroughput"),
        lambda t: properties(t, "PeersTable").update(WarmThroughput={"ReadUnitsPerSecond": 12000}),
    ],
    option.the_budget_is_sent_to_the_operator: [
        lambda t: properties(t, "Budget")["Budget"]["BudgetLimit"].update(Amount=1),
        lambda t: properties(t, "Budget")["NotificationsWithSubscribers"].pop(),
        lambda t: properties(t, "Budget")["NotificationsWithSubscribers"][0]["Subscribers"][0].update(Address="x"),
    ],
    option.combinations_that_cannot_work_are_refused: [
        lambda t: t["Rules"].pop("OnlyForRest"),
        lambda t: t["Rules"]["Combinations"]["Assertions"].pop(),
    ],
    option.code_of_a_release_is_fetched_only_without_a_bucket: [
        lambda t: t["Conditions"].update(FetchCode={"Fn::Equals": ["a", "a"]}),
        lambda t: properties(t, "Function")["Code"].update(S3Bucket={"Ref": "CodeBucket"}),
        lambda t: properties(t, "Function")["Code"].update(S3Key={"Ref": "ArtifactKey"}),
        lambda t: properties(t, "CodeBucket").pop("PublicAccessBlockConfiguration"),
        lambda t: properties(t, "FetchRole")["Policies"][0]["PolicyDocument"]["Statement"][0].update(Action=["s3:*"]),
        lambda t: properties(t, "FetchRole")["Policies"][0]["PolicyDocument"]["Statement"][0].update(Resource="*"),
    ],
}


class Rules(unittest.TestCase):
    def test_the_template_satisfies_every_rule(self) -> None:
        for rule in RULES:
            with self.subTest(rule.__name__):
                self.assertEqual(list(rule(load())), [])

    def test_every_rule_fails_on_a_broken_copy(self) -> None:
        self.assertEqual(BREAKS.keys(), set(RULES))
        whole = load()
        for rule, breaks in BREAKS.items():
            for number, break_it in enumerate(breaks):
                with self.subTest(rule.__name__, number=number):
                    broken = copy.deepcopy(whole)
                    break_it(broken)
                    self.assertNotEqual(list(rule(broken)), [])


def pinned(text: str) -> str:
    """The template as the release workflow writes it, with the address of a release and two checksums."""
    url = "https://github.com/aurora-alliance/aurora-discovery/releases/download/v10.10.10"
    line = f'Pinned: {{Url: "{url}", Arm64: "{"0" * 64}", X86: "{"0" * 64}"}}'
    return re.sub(r"Pinned: \{.*\}", line, text)


class TemplateText(unittest.TestCase):
    def test_the_templates_are_small_enough_for_a_request_body(self) -> None:
        for path in (MAIN, ARTIFACTS):
            self.assertLess(len(pinned(path.read_text()).encode()), MOST_BYTES)

    def test_urls_of_servers_are_of_their_kind(self) -> None:
        """CloudFormation refuses what the function would refuse at its start."""
        parameters = load(MAIN)["Parameters"]
        for name, kind in (("StunUrls", "stun"), ("TurnUrls", "turn")):
            pattern = parameters[name]["AllowedPattern"]
            for good in ("", f"{kind}:a", f"{kind}s:a:5349?transport=tcp,{kind}:[::1]"):
                self.assertRegex(good, pattern)
            other = "turn" if kind == "stun" else "stun"
            for bad in ("a", f"{kind}:", f"{kind}:a,{other}:b", f"{kind}:a,", f",{kind}:a", f"{kind}:a {kind}:b"):
                self.assertNotRegex(bad, pattern)

    def test_the_template_has_no_yaml_aliases(self) -> None:
        self.assertNotRegex(MAIN.read_text(), re.compile(r"^[^#'\"]*[:\-] [&*][a-zA-Z]", re.MULTILINE), "YAML aliases")

    def test_the_stamps_of_the_deployments_are_up_to_date(self) -> None:
        text = MAIN.read_text()
        self.assertEqual(text, stamped(text), "run scripts/check-infrastructure --stamp")
        routes = text.replace('PathPart: "register"', 'PathPart: "enter"')
        self.assertNotEqual(routes, text)
        self.assertNotIn(re.findall(r"ApiDeploymentCors[0-9a-f]{8}", stamped(routes))[0], text)

    def test_the_bucket_is_private_and_keeps_the_versions_that_a_rollback_needs(self) -> None:
        bucket = properties(load(ARTIFACTS), "Artifacts")
        self.assertTrue(all(bucket["PublicAccessBlockConfiguration"].values()))
        self.assertEqual(bucket["VersioningConfiguration"], {"Status": "Enabled"})
        (rule,) = bucket["LifecycleConfiguration"]["Rules"]
        self.assertNotIn("ExpirationInDays", rule, "the deployed version must not expire")
        self.assertGreaterEqual(rule["NoncurrentVersionExpiration"]["NewerNoncurrentVersions"], 1)
        self.assertEqual(bucket["BucketName"]["Fn::Sub"], "aurora-p2p-artifacts-${AWS::AccountId}-${AWS::Region}")


if __name__ == "__main__":
    unittest.main()
