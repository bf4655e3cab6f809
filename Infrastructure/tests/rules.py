"""The rules that the template must satisfy. A rule yields a sentence for each violation.

They cover what the stand-in for AWS does not check: API Gateway's semantics and least privilege.
`test_template.py` also breaks copies of the template deliberately and verifies that the rules fail.
"""

from __future__ import annotations

from collections.abc import Callable

import api_rules as api
import option_rules as option
import stack_rules as stack
from template import Finding, Template

Rule = Callable[[Template], Finding]

RULES: list[Rule] = [
    api.every_route_of_the_rest_api_reaches_the_function,
    api.every_route_of_the_http_api_reaches_the_function,
    api.only_the_apis_and_the_schedule_may_invoke_the_function,
    api.the_schedule_invokes_the_function_to_sweep,
    api.gateway_responses_have_the_error_format_of_the_api,
    api.each_change_of_routes_or_cors_creates_a_new_deployment,
    api.access_logs_are_json_in_the_original_log_group,
    api.both_stages_are_throttled,
    stack.log_groups_have_the_original_names_and_are_kept_for_7_days,
    stack.lambda_neither_adds_nor_drops_log_lines,
    stack.the_table_has_the_schema_that_the_store_creates,
    stack.the_role_grants_exactly_what_the_function_needs,
    stack.no_role_has_a_fixed_name,
    stack.fixed_names_contain_the_environment,
    stack.the_function_runs_bootstrap_with_settings_that_it_knows,
    stack.every_alarm_notifies_the_address_of_the_operator,
    stack.account_wide_resources_remain_when_the_stack_is_deleted,
    stack.parameters_are_described_bounded_and_grouped,
    stack.options_that_cost_extra_are_off_by_default_and_state_their_price,
    stack.forwarded_addresses_are_trusted_only_without_the_default_endpoint,
    stack.outputs_include_what_operators_need,
    option.what_operators_may_add_is_absent_by_default,
    option.every_endpoint_requires_tls_1_2,
    option.a_domain_survives_a_change_of_the_api,
    option.callers_can_be_limited_by_network_and_by_rate,
    option.every_role_has_the_permissions_boundary,
    option.the_table_and_its_index_have_the_same_capacity,
    option.the_budget_is_sent_to_the_operator,
    option.combinations_that_cannot_work_are_refused,
    option.code_of_a_release_is_fetched_only_without_a_bucket,
]
