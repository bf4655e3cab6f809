"""The rules that the template must satisfy. A rule yields a sentence for each violation.

They cover what no stand-in checks: API Gateway's semantics and least privilege. `test_template.py` also breaks
copies of the template deliberately and verifies that the rules fail.
"""

from __future__ import annotations

from collections.abc import Callable

import api_rules as api
import stack_rules as stack
from template import Finding, Template

Rule = Callable[[Template], Finding]

RULES: list[Rule] = [
    api.every_route_of_the_rest_api_reaches_the_function,
    api.every_route_of_the_http_api_reaches_the_function,
    api.each_api_the_schedule_and_nothing_else_may_invoke_the_function,
    api.the_function_is_woken_up_to_sweep,
    api.the_gateway_answers_in_the_shape_of_the_contract,
    api.each_change_of_routes_or_cors_makes_a_new_deployment,
    api.access_logs_are_json_in_the_group_of_the_seed,
    api.the_stage_is_throttled,
    stack.log_groups_are_those_of_the_seed_and_kept_for_7_days,
    stack.the_function_logs_what_it_means_to_and_no_more,
    stack.the_table_is_the_one_that_the_store_makes_for_itself,
    stack.the_function_may_do_what_its_code_does_and_no_more,
    stack.no_role_has_a_fixed_name,
    stack.names_that_are_fixed_carry_the_environment,
    stack.the_function_is_the_rust_binary_with_settings_that_it_knows,
    stack.every_alarm_tells_who_asked_to_be_told,
    stack.what_the_account_shares_stays_when_the_stack_goes,
    stack.parameters_are_described_bounded_and_grouped,
    stack.what_costs_extra_is_off_by_default_and_says_how_much,
    stack.outputs_name_what_operators_need,
]
