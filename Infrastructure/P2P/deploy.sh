#!/usr/bin/env bash
# Deploys Aurora Discovery to AWS, updates it, or removes it. deploy.ps1 does the same on Windows.
# docs/operations.md has the details.
set -euo pipefail

usage() {
  cat <<'EOF'
usage: ./deploy.sh [options]

  -e, --environment ENV      dev (default), staging or prod
  -r, --region REGION        default us-east-1
  -s, --stack-name NAME      default aurora-p2p-discovery for dev, aurora-p2p-discovery-ENV otherwise
  -a, --artifact ZIP         deploy this zip of bootstrap instead of building one
      --architecture ARCH    arm64 or x86_64; default: the stack's, arm64 for a new one
  -p, --parameter KEY=VALUE  set a parameter of cloudformation.yaml; can be repeated; others keep their values
      --delete               remove the stack, after confirmation
  -y, --yes                  do not ask for confirmation
  -h, --help                 show this help
EOF
}

here=$(cd "$(dirname "$0")" && pwd)
environment=dev region=us-east-1 stack="" artifact="" architecture="" delete=no yes=no parameters=()
# The key of LastSeenIndex in cloudformation.yaml. A table with a different key has an older design.
readonly INDEX_KEY="lane h"
readonly ARTIFACTS_STACK=aurora-p2p-artifacts
readonly SMOKE_ATTEMPTS=10

main() {
  parse_options "$@"
  check_tools
  check_credentials
  read_stack
  if [ "$delete" = yes ]; then
    delete_stack
    return
  fi
  check_table
  work=$(mktemp -d)
  trap 'rm -rf "$work"' EXIT
  [ -n "$artifact" ] || build
  upload
  stamp_template
  deploy_stack
  print_outputs
  smoke_test
}

parse_options() {
  while [ $# -gt 0 ]; do
    case $1 in
    -e | --environment | -r | --region | -s | --stack-name | -a | --artifact | --architecture | -p | --parameter)
      [ $# -ge 2 ] || fail "$1 needs a value" 2
      ;;
    esac
    case $1 in
    -e | --environment) environment=$2 && shift ;;
    -r | --region) region=$2 && shift ;;
    -s | --stack-name) stack=$2 && shift ;;
    -a | --artifact) artifact=$2 && shift ;;
    --architecture) architecture=$2 && shift ;;
    -p | --parameter) parameters+=("$2") && shift ;;
    --delete) delete=yes ;;
    -y | --yes) yes=yes ;;
    -h | --help) usage && exit 0 ;;
    *) usage >&2 && fail "unknown option: $1" 2 ;;
    esac
    shift
  done
  case $environment in dev | staging | prod) ;; *) fail "--environment must be dev, staging or prod" 2 ;; esac
  case $architecture in "" | arm64 | x86_64) ;; *) fail "--architecture must be arm64 or x86_64" 2 ;; esac
  [ -z "$artifact" ] || [ -f "$artifact" ] || fail "--artifact $artifact: there is no such file" 2
  if [ -z "$stack" ]; then
    stack=aurora-p2p-discovery
    [ "$environment" = dev ] || stack=$stack-$environment
  fi
  # AWS CLI v2 pages its output by default.
  export AWS_PAGER="" AWS_DEFAULT_REGION=$region AWS_REGION=$region
}

check_tools() {
  command -v aws >/dev/null || fail "the AWS CLI is missing: install it from https://aws.amazon.com/cli/ (or: pip install awscli)"
  [ "$delete" = no ] || return 0
  command -v curl >/dev/null || fail "curl is missing: install it with your system's packages"
  [ -z "$artifact" ] || return 0
  command -v cargo >/dev/null || fail "cargo is missing: install Rust from https://rustup.rs, or pass a built --artifact"
  cargo lambda --version >/dev/null 2>&1 || fail "cargo-lambda is missing: pip install cargo-lambda ziglang, or pass a built --artifact"
}

check_credentials() {
  account=$(aws sts get-caller-identity --query Account --output text 2>/dev/null) ||
    fail "AWS did not accept the credentials: run 'aws configure' (or 'aws sso login'), or set AWS_PROFILE"
  say "account $account, $region, stack $stack, environment $environment"
}

# Sets status (none if there is no stack, or only a change set for one) and, unless --architecture
# was given, the stack's architecture.
read_stack() {
  local found stack_environment stack_architecture query="Stacks[0].[StackStatus, Parameters[?ParameterKey=='Environment'] | [0].ParameterValue, Parameters[?ParameterKey=='Architecture'] | [0].ParameterValue]"
  if ! found=$(aws cloudformation describe-stacks --stack-name "$stack" --query "$query" --output text 2>&1); then
    case $found in *"does not exist"*) ;; *) fail "$found" ;; esac
    found="none $environment None"
  fi
  read -r status stack_environment stack_architecture <<<"$found"
  [ "$status" != REVIEW_IN_PROGRESS ] || status=none
  [ "$stack_environment" != None ] || [ "$status" = none ] || fail "stack $stack does not belong to Aurora Discovery: choose another --stack-name"
  [ "$stack_environment" = "$environment" ] || [ "$status" = none ] ||
    fail "stack $stack belongs to environment $stack_environment, not $environment: choose another --stack-name, or --environment $stack_environment"
  case $status in *_IN_PROGRESS) fail "stack $stack is $status: wait until it has finished" ;; esac
  [ "$stack_architecture" != None ] || stack_architecture=arm64
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
  key=$(aws dynamodb describe-table --table-name "$table" \
    --query "Table.GlobalSecondaryIndexes[?IndexName=='LastSeenIndex'] | [0].KeySchema[].AttributeName" --output text 2>/dev/null) || return 0
  [ "$status" != none ] ||
    fail "table $table exists in $region, but stack $stack does not: either another stack owns the table (pass its --stack-name), or it remains from a deleted stack (delete it)"
  key=${key//$'\t'/ }
  [ "$key" = "$INDEX_KEY" ] ||
    fail "table $table has an older design: its index has another key ($key), and DynamoDB cannot change it.
No lasting data is lost, because peers register again when their leases end. Either remove the stack with --delete and deploy again (the endpoint changes),
or deploy another --environment, move the peers there, and then remove this one."
}

build() {
  local flag=--arm64 target=aarch64-unknown-linux-gnu
  [ "$architecture" = arm64 ] || flag=--x86-64 target=x86_64-unknown-linux-gnu
  [ -d "$(rustc --print target-libdir --target "$target")" ] ||
    fail "the Rust target $target is not installed: run 'rustup target add $target', or pass another --architecture or a built --artifact"
  say "building the function for $architecture"
  cargo lambda build --release "$flag" --package aurora-discovery-lambda --manifest-path "$here/../../Cargo.toml" --output-format zip --lambda-dir "$work"
  artifact=$work/bootstrap/bootstrap.zip
}

# Sets bucket, key and version. An artifact that is already stored is not uploaded again, so that a
# deployment without changes stays one.
upload() {
  local sum stored
  bucket=aurora-p2p-artifacts-$account-$region key=$stack/aurora-lambda-$architecture.zip
  if ! aws s3api head-bucket --bucket "$bucket" --expected-bucket-owner "$account" >/dev/null 2>&1; then
    say "creating the private bucket $bucket"
    aws cloudformation deploy --stack-name "$ARTIFACTS_STACK" --template-file "$here/artifacts.yaml" --no-fail-on-empty-changeset
  fi
  sum=$(sha256 <"$artifact")
  stored=$(aws s3api head-object --bucket "$bucket" --key "$key" --query "[Metadata.sha256,VersionId]" --output text 2>/dev/null) || stored="None None"
  read -r stored version <<<"$stored"
  if [ "$stored" != "$sum" ]; then
    say "uploading the function's code to $bucket"
    version=$(aws s3api put-object --bucket "$bucket" --key "$key" --body "$artifact" --metadata "sha256=$sum" \
      --expected-bucket-owner "$account" --query VersionId --output text)
  fi
  [ "$version" != None ] || version=""
}

# Puts a hash of the template into the name of the REST API's deployment, so that every change of
# the template reaches the stage.
stamp_template() {
  local names='(ApiDeployment(Cors|NoCors))[0-9a-f]{8}' stamp
  stamp=$(sed -E "s/$names/\\1/g" "$here/cloudformation.yaml" | sha256 | cut -c1-8)
  sed -E "s/$names/\\1$stamp/g" "$here/cloudformation.yaml" >"$work/cloudformation.yaml"
}

deploy_stack() {
  local overrides=("Environment=$environment" "Architecture=$architecture" "ArtifactBucket=$bucket" "ArtifactKey=$key" "ArtifactVersion=$version")
  # If the account already has a role for API logs, keep it, even if this stack did not create it.
  if [ "$(aws apigateway get-account --query cloudwatchRoleArn --output text)" = None ]; then
    overrides+=("ApiLogRole=create")
  elif ! aws cloudformation describe-stack-resource --stack-name "$stack" --logical-resource-id ApiAccountRole >/dev/null 2>&1; then
    overrides+=("ApiLogRole=existing")
  fi
  aws cloudformation validate-template --template-body "file://$work/cloudformation.yaml" >/dev/null
  run_with_events aws cloudformation deploy --stack-name "$stack" --template-file "$work/cloudformation.yaml" --no-fail-on-empty-changeset \
    --capabilities CAPABILITY_NAMED_IAM --parameter-overrides "${overrides[@]}" ${parameters[@]+"${parameters[@]}"}
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
  local answer
  [ "$status" != none ] || fail "there is no stack $stack in $region"
  if [ "$yes" = no ]; then
    read -r -p "This removes $stack ($environment, $region) with its table and logs. Type the stack's name to continue: " answer || true
    [ "$answer" = "$stack" ] || fail "the name does not match: nothing was removed"
  fi
  # Use the id: a deleted stack cannot be found by its name.
  stack=$(aws cloudformation describe-stacks --stack-name "$stack" --query 'Stacks[0].StackId' --output text)
  aws cloudformation delete-stack --stack-name "$stack"
  run_with_events aws cloudformation wait stack-delete-complete --stack-name "$stack"
  rm -f "outputs-$environment.json"
  say "removed, except for the bucket aurora-p2p-artifacts-$account-$region and, if this stack created it, the account's role for API logs"
}

# Runs a command and prints the stack's events meanwhile. If it fails, prints the failed resources.
run_with_events() {
  local before shown running code=0
  before=$(events | wc -l) shown=$before
  "$@" &
  running=$!
  while kill -0 "$running" 2>/dev/null; do
    print_events
    sleep "${AURORA_POLL_SECONDS:-5}"
  done
  wait "$running" || code=$?
  print_events
  [ "$code" -ne 0 ] || return 0
  echo "failed resources:" >&2
  events_after "$before" | grep -E '^[A-Z_]*FAILED' | grep -v 'cancelled' >&2 || echo "  (none; the reason is printed above)" >&2
  exit "$code"
}

# Prints new events, oldest first, and advances shown.
print_events() {
  local new
  new=$(events_after "$shown")
  [ -n "$new" ] || return 0
  printf '%s\n' "$new" | sed -n '1!G;h;$p'
  shown=$((shown + $(printf '%s\n' "$new" | wc -l)))
}

# Prints the stack's events, newest first, without the $1 oldest ones.
events_after() {
  events | awk -v skip="$1" '{ lines[NR] = $0 } END { for (line = 1; line <= NR - skip; line++) print lines[line] }'
}

events() {
  aws cloudformation describe-stack-events --stack-name "$stack" \
    --query 'StackEvents[].[ResourceStatus,LogicalResourceId,ResourceStatusReason]' --output text 2>/dev/null | sed 's/[[:space:]]None$//' || true
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

main "$@"
