# What `.ci/run` and `.ci/full` share: the functions that run stages, and the stages that run no tests.
# shellcheck shell=bash

# One target directory serves every stage. Incremental files only cost time and disk in a build that
# is made once.
export CARGO_INCREMENTAL=0
# Debug information only costs time here, too. A panic names its file and line without it.
export CARGO_PROFILE_DEV_DEBUG=false
export CARGO_TERM_COLOR=never

# The stages that were asked for (none: all), and those that ran.
wanted=()
ran=()
# The stage that runs beside the others, if any.
background=

select_stages() {
  wanted=("$@")
}

# Runs a command as a stage. The first stage that fails ends the run.
stage() {
  local name=$1 started=$SECONDS
  shift
  is_wanted "$name" || return 0
  ran+=("$name")
  echo "== $name"
  if ! "$@"; then
    echo "== $name FAILED after $((SECONDS - started)) s" >&2
    exit 1
  fi
  echo "== $name passed in $((SECONDS - started)) s"
}

# Starts a command as a stage beside those that follow. `await_background` waits for it.
background() {
  is_wanted "$1" || return 0
  background=$1
  shift
  echo "== $background starts in the background"
  background_output=$(mktemp)
  "$@" >"$background_output" 2>&1 &
  background_process=$!
  trap 'kill "$background_process" 2>/dev/null || true; rm -f "$background_output"' EXIT
}

# Waits for the stage in the background, and prints what it printed.
await_background() {
  [ -z "$background" ] || stage "$background" background_outcome
}

background_outcome() {
  local status=0
  wait "$background_process" || status=$?
  cat "$background_output"
  return "$status"
}

is_wanted() {
  [ ${#wanted[@]} -eq 0 ] || [ "$1" = setup ] || [[ " ${wanted[*]} " == *" $1 "* ]]
}

# A misspelt or renamed stage must not pass by doing nothing.
finish() {
  local name
  for name in "${wanted[@]}"; do
    if [[ " ${ran[*]} " != *" $name "* ]]; then
      echo "$0: there is no stage $name" >&2
      exit 2
    fi
  done
  echo "all stages passed in ${SECONDS} s"
}

# The stages that run no tests. Quick checks of text come first.
static_stages() {
  stage setup scripts/setup
  stage format cargo fmt --all --check
  stage shell check_shell
  stage python check_python
  stage workflows scripts/check-workflows
  stage spelling .tools/venv/bin/typos
  stage links .tools/venv/bin/python scripts/check-links
  stage book scripts/check-book
  stage licences cargo deny --log-level error check bans licenses sources
  # With the features of the tests, so that dependencies are checked once.
  stage clippy cargo clippy --workspace --all-targets --features stand-in -- --deny warnings
  # The command as the README builds it: the stages before and after enable more features.
  stage command cargo check --package aurora-discovery --quiet
  stage package check_package
  stage rustdoc env RUSTDOCFLAGS="--deny warnings" cargo doc --workspace --features stand-in --no-deps --quiet
}

# Whether crates.io would accept what is meant to be published.
check_package() {
  cargo package --workspace --exclude aurora-bench --exclude aurora-discovery-contract-tests \
    --no-verify --allow-dirty --quiet
}

check_shell() {
  local -a scripts
  local found
  found=$(files_by_interpreter bash) || return 1
  mapfile -t scripts <<<"$found"
  shellcheck --external-sources "${scripts[@]}" .ci/stages.sh && shfmt -i 2 -d "${scripts[@]}" .ci/stages.sh
}

check_python() {
  local -a scripts
  local found
  found=$(files_by_interpreter python3) || return 1
  mapfile -t scripts <<<"$found"
  local bin=.tools/venv/bin
  "$bin/ruff" check --quiet "${scripts[@]}" scripts bench Infrastructure clients/python examples &&
    "$bin/ruff" format --quiet --check "${scripts[@]}" scripts bench Infrastructure clients/python examples &&
    MYPYPATH=scripts:bench each_typed "${scripts[@]}" &&
    (cd clients/python && MYPYPATH=src ../../.tools/venv/bin/mypy --strict --no-error-summary src tests) &&
    MYPYPATH=clients/python/src "$bin/mypy" --strict --no-error-summary examples &&
    (cd Infrastructure/tests && MYPYPATH=../../scripts ../../.tools/venv/bin/mypy --strict --no-error-summary .)
}

# One run per script, because mypy takes one main module at a time when files have no suffix.
each_typed() {
  local script
  for script in "$@"; do
    .tools/venv/bin/mypy --strict --no-error-summary --scripts-are-modules "$script" || return 1
  done
}

files_by_interpreter() {
  git ls-files -z .ci scripts bench Infrastructure | xargs -0 grep -lE "^#!/usr/bin/env $1\$"
}
