#!/usr/bin/env bash
# Deploys Aurora Discovery to AWS, updates it, or removes it. deploy.ps1 does the same on Windows.
# docs/operations.md has the details. It needs bash 3.2 or newer, coreutils (or BSD's), curl and the
# AWS CLI 2. Only if it builds the function does it also need cargo-lambda or Docker.
set -euo pipefail

usage() {
  cat <<'EOF'
usage: ./deploy.sh [options]

  -e, --environment ENV      dev (default), staging or prod
  -r, --region REGION        default us-east-1
  -s, --stack-name NAME      default aurora-p2p-discovery for dev, aurora-p2p-discovery-ENV otherwise
  -a, --artifact FILE|URL    deploy this zip of bootstrap; default: the zip of this version's release, otherwise as --build
  -b, --build                build the function from this checkout, with cargo-lambda or with Docker
      --architecture ARCH    arm64 or x86_64; default: the stack's, arm64 for a new one
  -p, --parameter KEY=VALUE  set a parameter of cloudformation.yaml; can be repeated; others keep their values
  -t, --tag KEY=VALUE        tag the stack and its resources; can be repeated; other tags stay
      --delete               remove the stack, after confirmation
  -y, --yes                  do not ask for confirmation
  -h, --help                 show this help
EOF
}

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$here/../..
# shellcheck source=Infrastructure/P2P/artifact.sh
. "$here/artifact.sh"
environment=dev region=us-east-1 stack="" artifact="" build=no architecture="" delete=no yes=no parameters=() tags=()
# The key of LastSeenIndex in cloudformation.yaml. A table with a different key has an older design.
readonly INDEX_KEY="lane h"
readonly ARTIFACTS_STACK=aurora-p2p-artifacts
readonly SMOKE_ATTEMPTS=10

main() {
  parse_options "$@"
  work=$(mktemp -d)
  trap 'rm -rf "$work"' EXIT
  check_tools
  check_credentials
  read_stack
  if [ "$delete" = yes ]; then
    delete_stack
    return
  fi
  check_table
  check_logs
  find_artifact
  upload
  stamp_template
  deploy_stack
  print_outputs
  smoke_test
}

parse_options() {
  while [ $# -gt 0 ]; do
    case $1 in
    -e | --environment | -r | --region | -s | --stack-name | -a | --artifact | --architecture | -p | --parameter | -t | --tag)
      [ $# -ge 2 ] || fail "$1 needs a value" 2
      ;;
    esac
    case $1 in
    -e | --environment) environment=$2 && shift ;;
    -r | --region) region=$2 && shift ;;
    -s | --stack-name) stack=$2 && shift ;;
    -a | --artifact) artifact=$2 && shift ;;
    -b | --build) build=yes ;;
    --architecture) architecture=$2 && shift ;;
    -p | --parameter) parameters+=("$2") && shift ;;
    -t | --tag) tags+=("$2") && shift ;;
    --delete) delete=yes ;;
    -y | --yes) yes=yes ;;
    -h | --help) usage && exit 0 ;;
    *) usage >&2 && fail "unknown option: $1" 2 ;;
    esac
    shift
  done
  case $environment in dev | staging | prod) ;; *) fail "--environment must be dev, staging or prod" 2 ;; esac
  case $architecture in "" | arm64 | x86_64) ;; *) fail "--architecture must be arm64 or x86_64" 2 ;; esac
  [ -z "$artifact" ] || [ "$build" = no ] || fail "--artifact and --build must not be given together" 2
  case $artifact in
  "" | https://* | http://127.0.0.1[:/]* | http://localhost[:/]*) ;;
  http://*) fail "--artifact $artifact: use https, so that the code cannot be exchanged on its way" 2 ;;
  *) [ -f "$artifact" ] || fail "--artifact $artifact: there is no such file" 2 ;;
  esac
  local pair
  for pair in ${parameters[@]+"${parameters[@]}"} ${tags[@]+"${tags[@]}"}; do
    case $pair in ?*=*) ;; *) fail "--parameter and --tag must be KEY=VALUE, not $pair" 2 ;; esac
  done
  if [ -z "$stack" ]; then
    stack=aurora-p2p-discovery
    [ "$environment" = dev ] || stack=$stack-$environment
  fi
  # AWS CLI v2 pages its output by default.
  export AWS_PAGER="" AWS_DEFAULT_REGION=$region AWS_REGION=$region
}

check_tools() {
  command -v aws >/dev/null || fail "the AWS CLI is missing: install version 2 from https://aws.amazon.com/cli/"
  case $(aws --version 2>&1) in
  aws-cli/1.*) fail "the AWS CLI is version 1, which has received no new APIs since August 2026: install version 2 from https://aws.amazon.com/cli/" ;;
  esac
  [ "$delete" = yes ] || command -v curl >/dev/null || fail "curl is missing: install it with your system's packages"
}

check_credentials() {
  attempt aws sts get-caller-identity --query Account --output text ||
    fail "AWS did not accept the credentials: run 'aws configure' (or 'aws sso login'), or set AWS_PROFILE. $complaint"
  account=$reply
  say "account $account, $region, stack $stack, environment $environment"
}

# Sets status (none if there is no stack, or only a change set for one), the addresses that may call
# the API and, unless --architecture was given, the stack's architecture.
read_stack() {
  local stack_environment stack_architecture query="Stacks[0].[StackStatus, Parameters[?ParameterKey=='Environment'] | [0].ParameterValue, Parameters[?ParameterKey=='Architecture'] | [0].ParameterValue, Parameters[?ParameterKey=='AllowedCidrs'] | [0].ParameterValue]"
  if ! attempt aws cloudformation describe-stacks --stack-name "$stack" --query "$query" --output text; then
    case $complaint in *"does not exist"*) ;; *) fail "$complaint" ;; esac
    reply="none $environment None"
  fi
  read -r status stack_environment stack_architecture cidrs <<<"$reply"
  [ "$status" != REVIEW_IN_PROGRESS ] || status=none
  [ "$stack_environment" != None ] || [ "$status" = none ] || fail "stack $stack does not belong to Aurora Discovery: choose another --stack-name"
  [ "$stack_environment" = "$environment" ] || [ "$status" = none ] ||
    fail "stack $stack belongs to environment $stack_environment, not $environment: choose another --stack-name, or --environment $stack_environment"
  case $status in *_IN_PROGRESS) fail "stack $stack is $status: wait until it has finished" ;; esac
  [ "$stack_architecture" != None ] || stack_architecture=arm64
  [ "$cidrs" != None ] || cidrs=""
  architecture=${architecture:-$stack_architecture}
}

check_table() {
  local table=aurora-peers-$environment key
  if [ "$status" = ROLLBACK_COMPLETE ]; then
    say "removing the remains of a failed stack creation"
    aws cloudformation delete-stack --stack-name "$stack"
    aws cloudformation wait stack-delete-complete --stack-name "$stack"
    status=none
  fi
  attempt aws dynamodb describe-table --table-name "$table" \
    --query "Table.GlobalSecondaryIndexes[?IndexName=='LastSeenIndex'] | [0].KeySchema[].AttributeName" --output text || return 0
  [ "$status" != none ] ||
    fail "table $table exists in $region, but stack $stack does not: either another stack owns the table (pass its --stack-name), or it remains from a deleted stack (delete it)"
  key=${reply//$'\t'/ }
  [ "$key" = "$INDEX_KEY" ] ||
    fail "table $table has an older design: its index has another key ($key), and DynamoDB cannot change it.
No lasting data is lost, because peers register again when their leases end. Either remove the stack with --delete and deploy again (the endpoint changes),
or deploy another --environment, move the peers there, and then remove this one."
}

# A deleted stack can leave log groups behind: if API Gateway or Lambda logs a request after its group was
# deleted, it creates the group again. A new stack cannot create a group that exists.
check_logs() {
  local group
  [ "$status" = none ] || return 0
  for group in "/aws/lambda/aurora-discovery-$environment" "/aws/apigateway/aurora-p2p-$environment"; do
    attempt aws logs describe-log-groups --log-group-name-prefix "$group" --query "logGroups[?logGroupName=='$group'].logGroupName" --output text || fail "$complaint"
    [ "$reply" = "$group" ] || continue
    confirm yes "Log group $group remains from a deleted stack, and a new one cannot be created beside it. Type yes to delete it: " ||
      fail "log group $group is in the way: delete it, or pass --yes"
    aws logs delete-log-group --log-group-name "$group"
    say "deleted log group $group"
  done
}

# Sets bucket, key and version. An artifact that is already stored is not uploaded again, so that
# deploying the same code changes nothing.
upload() {
  local sum stored="None None"
  bucket=aurora-p2p-artifacts-$account-$region key=$stack/aurora-lambda-$architecture.zip
  if ! attempt aws s3api head-bucket --bucket "$bucket" --expected-bucket-owner "$account"; then
    case $complaint in *404*) ;; *) fail "the bucket $bucket cannot be used: $complaint" ;; esac
    create_bucket
  fi
  sum=$(sha256 <"$artifact")
  ! attempt aws s3api head-object --bucket "$bucket" --key "$key" --query "[Metadata.sha256,VersionId]" --output text || stored=$reply
  read -r stored version <<<"$stored"
  if [ "$stored" != "$sum" ]; then
    say "uploading the function's code to $bucket"
    version=$(aws s3api put-object --bucket "$bucket" --key "$key" --body "$artifact" --metadata "sha256=$sum" \
      --expected-bucket-owner "$account" --query VersionId --output text)
  fi
  [ "$version" != None ] || version=""
}

# Creates the stack with the bucket. If the stack exists without its bucket, its creation has failed, or the
# bucket was deleted by hand. An update would create the bucket in neither case, so the stack is deleted
# first. A stack that consists only of a change set need not be deleted.
create_bucket() {
  if attempt aws cloudformation describe-stacks --stack-name "$ARTIFACTS_STACK" --query 'Stacks[0].StackStatus' --output text; then
    case $reply in
    REVIEW_IN_PROGRESS) ;;
    *_IN_PROGRESS) fail "stack $ARTIFACTS_STACK is $reply: wait until it has finished" ;;
    *)
      say "removing stack $ARTIFACTS_STACK, which is $reply and has no bucket"
      aws cloudformation delete-stack --stack-name "$ARTIFACTS_STACK"
      aws cloudformation wait stack-delete-complete --stack-name "$ARTIFACTS_STACK"
      ;;
    esac
  fi
  say "creating the private bucket $bucket"
  aws cloudformation deploy --stack-name "$ARTIFACTS_STACK" --template-file "$here/artifacts.yaml" --no-fail-on-empty-changeset
}

# A change of the REST API reaches its stage only with a new deployment, which CloudFormation makes if the
# deployment has a new name. So this function puts a hash of the template, and of the addresses that may
# call the API, into the name.
stamp_template() {
  local stamp pair
  for pair in ${parameters[@]+"${parameters[@]}"}; do
    case $pair in AllowedCidrs=*) cidrs=${pair#*=} ;; esac
  done
  stamp=$({ with_stamp "" && printf %s "$cidrs"; } | sha256 | cut -c1-8)
  with_stamp "$stamp" >"$work/cloudformation.yaml"
}

# Prints the template with another stamp in the names of the deployments.
with_stamp() {
  local line name='ApiDeployment(Cors|NoCors)[0-9a-f]{8}'
  while IFS= read -r line || [ -n "$line" ]; do
    # The @ keeps the loop from finding a replaced name again. The next line removes it.
    while [[ $line =~ $name ]]; do line=${line/${BASH_REMATCH[0]}/ApiDeployment@${BASH_REMATCH[1]}$1}; done
    printf '%s\n' "${line//ApiDeployment@/ApiDeployment}"
  done <"$here/cloudformation.yaml"
}

deploy_stack() {
  local tagging=() overrides=("Environment=$environment" "Architecture=$architecture" "ArtifactBucket=$bucket" "ArtifactKey=$key" "ArtifactVersion=$version")
  choose_log_role
  [ "$status" = none ] || keep_tags
  [ ${#tags[@]} -eq 0 ] || tagging=(--tags "${tags[@]}")
  aws cloudformation validate-template --template-body "file://$work/cloudformation.yaml" >/dev/null
  run_with_events aws cloudformation deploy --stack-name "$stack" --template-file "$work/cloudformation.yaml" --no-fail-on-empty-changeset \
    --capabilities CAPABILITY_NAMED_IAM ${tagging[@]+"${tagging[@]}"} --parameter-overrides "${overrides[@]}" ${parameters[@]+"${parameters[@]}"}
}

# Adds the parameter ApiLogRole to overrides. If the account names a role for API logs that exists, that
# role is kept, whether or not this stack created it. Otherwise the stack creates one.
choose_log_role() {
  local role name
  attempt aws apigateway get-account --query cloudwatchRoleArn --output text || fail "$complaint"
  role=$reply name=${reply##*/}
  if [ "$role" = None ]; then
    overrides+=("ApiLogRole=create")
  elif ! attempt aws iam get-role --role-name "$name" --query Role.Arn --output text && [[ $complaint == *NoSuchEntity* ]]; then
    say "the account's role for API logs, $role, no longer exists: this stack creates another one"
    overrides+=("ApiLogRole=create")
  elif ! attempt aws cloudformation describe-stack-resource --stack-name "$stack" --logical-resource-id ApiAccountRole; then
    overrides+=("ApiLogRole=existing")
  fi
}

# Adds the stack's tags to those of --tag, because an update removes the tags that it does not repeat.
keep_tags() {
  local name value pair
  attempt aws cloudformation describe-stacks --stack-name "$stack" --query 'Stacks[0].Tags[].[Key,Value]' --output text || fail "$complaint"
  while IFS=$'\t' read -r name value; do
    case $name in "" | None | aws:*) continue ;; esac
    for pair in ${tags[@]+"${tags[@]}"}; do
      [ "${pair%%=*}" != "$name" ] || continue 2
    done
    tags+=("$name=$value")
  done <<<"$reply"
}

print_outputs() {
  local outputs=outputs-$environment.json
  aws cloudformation describe-stacks --stack-name "$stack" --query 'Stacks[0].Outputs' --output json >"$outputs"
  aws cloudformation describe-stacks --stack-name "$stack" --query 'Stacks[0].Outputs[].[OutputKey,OutputValue]' --output table
  say "the outputs were written to $outputs"
}

smoke_test() {
  local peer="smoke-$RANDOM$RANDOM" endpoint
  endpoint=$(aws cloudformation describe-stacks --stack-name "$stack" --query "Stacks[0].Outputs[?OutputKey=='ApiEndpoint'] | [0].OutputValue" --output text)
  # For tests: the AWS stand-in creates the API but does not run it.
  endpoint=${AURORA_SMOKE_ENDPOINT:-$endpoint}
  say "smoke test of $endpoint"
  expect '"healthy"' "$endpoint/health"
  expect 'Peer registered successfully' "$endpoint/register" -d "{\"peer_id\": \"$peer\", \"archetypes\": [\"smoke-test\"]}"
  expect "$peer" "$endpoint/discover?archetype=smoke-test"
  expect 'Heartbeat updated' "$endpoint/heartbeat" -d "{\"peer_id\": \"$peer\"}"
  expect 'Peer deregistered' "$endpoint/deregister" -d "{\"peer_id\": \"$peer\"}"
  say "deployed: health, register, discover, heartbeat and deregister work"
}

# Repeats the request until the response contains the expected text: a new API, or another instance
# of the function, may lag by seconds.
expect() {
  local expected=$1 response="" attempt
  shift
  for ((attempt = 1; attempt <= SMOKE_ATTEMPTS; attempt++)); do
    response=$(curl --silent --show-error --max-time 35 "$@" 2>&1) || true
    case $response in *"$expected"*) return 0 ;; esac
    sleep 1
  done
  fail "smoke test: unexpected response from $1: $response
see: aws logs tail /aws/lambda/aurora-discovery-$environment --since 10m --region $region"
}

delete_stack() {
  [ "$status" != none ] || fail "there is no stack $stack in $region"
  confirm "$stack" "This removes $stack ($environment, $region) with its table and logs. Type the stack's name to continue: " ||
    fail "the name does not match: nothing was removed"
  # Use the id: a deleted stack cannot be found by its name.
  stack=$(aws cloudformation describe-stacks --stack-name "$stack" --query 'Stacks[0].StackId' --output text)
  aws cloudformation delete-stack --stack-name "$stack"
  run_with_events aws cloudformation wait stack-delete-complete --stack-name "$stack"
  rm -f "outputs-$environment.json"
  say "removed, except for the bucket aurora-p2p-artifacts-$account-$region and, if this stack created it, the account's role for API logs"
}

# Runs a command and prints the stack's events meanwhile. If it fails, prints the failed resources.
run_with_events() {
  local shown=0 code=0 failed=() running
  while IFS= read -r _; do shown=$((shown + 1)); done < <(events)
  "$@" 2>"$work/stderr" &
  running=$!
  while kill -0 "$running" 2>/dev/null; do
    print_events
    sleep "${AURORA_POLL_SECONDS:-5}"
  done
  wait "$running" || code=$?
  print_events
  complaint=$(<"$work/stderr")
  [ -z "$complaint" ] || printf '%s\n' "$complaint" >&2
  [ "$code" -ne 0 ] || return 0
  case $complaint in *EarlyValidation*) explain_validation ;; esac
  echo "failed resources:" >&2
  [ ${#failed[@]} -gt 0 ] || failed=("  (none; the reason is printed above)")
  printf '%s\n' "${failed[@]}" >&2
  exit "$code"
}

# Prints new events, oldest first, and advances shown. Collects the failed resources in failed.
print_events() {
  local line lines=() index
  while IFS= read -r line; do [ -z "$line" ] || lines+=("${line%$'\tNone'}"); done < <(events)
  for ((index = ${#lines[@]} - shown - 1; index >= 0; index--)); do
    line=${lines[index]}
    printf '%s\n' "$line"
    case $line in *cancelled*) ;; [A-Z]*FAILED*) failed+=("$line") ;; esac
  done
  shown=${#lines[@]}
}

# Prints the stack's events, newest first.
events() {
  aws cloudformation describe-stack-events --stack-name "$stack" \
    --query 'StackEvents[].[ResourceStatus,LogicalResourceId,ResourceStatusReason]' --output text 2>/dev/null || true
}

# Prints why CloudFormation rejected the change set before it began. The stack's events do not include this.
explain_validation() {
  local query="OperationEvents[?EventType=='VALIDATION_ERROR'].[LogicalResourceId,ValidationName,ValidationStatusReason]"
  echo "rejected before anything was changed:" >&2
  if attempt aws cloudformation list-change-sets --stack-name "$stack" --query 'sort_by(Summaries, &CreationTime)[-1].ChangeSetId' --output text &&
    attempt aws cloudformation describe-events --change-set-name "$reply" --filters FailedEvents=true --query "$query" --output text; then
    printf '%s\n' "$reply" >&2
    echo "A resource that already exists remains from an earlier stack, or belongs to another one: delete it, then deploy again." >&2
  else
    echo "  the reason could not be read: update the AWS CLI (describe-events is from November 2025), or open the newest change set of $stack in the CloudFormation console" >&2
  fi
}

# Runs a command that may fail. Sets reply to its standard output, and complaint to its standard error.
attempt() {
  local code=0
  reply=$("$@" 2>"$work/attempt") || code=$?
  complaint=$(<"$work/attempt")
  return "$code"
}

# Asks for a word, unless --yes was given. Fails if the answer is another one.
confirm() {
  local answer=""
  [ "$yes" = no ] || return 0
  read -r -p "$2" answer || true
  [ "$answer" = "$1" ]
}

sha256() {
  if command -v sha256sum >/dev/null; then sha256sum; else shasum -a 256; fi | cut -d' ' -f1
}

say() {
  echo "== $*"
}

fail() {
  echo "deploy.sh: $1" >&2
  exit "${2:-1}"
}

# Tests source this file to use its functions, so main runs only if the script is executed.
if [ "${BASH_SOURCE[0]}" = "$0" ]; then main "$@"; fi
