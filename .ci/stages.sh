# What `.ci/run` and `.ci/full` share: stages, each with its name and its duration, and the checks that are a stage.
# shellcheck shell=bash

# One target directory for every stage; incremental files would only cost time and disk in a build made once.
export CARGO_INCREMENTAL=0
export CARGO_TERM_COLOR=never

# Runs a command as a stage; the first stage that fails ends the run.
stage() {
  local name=$1 started=$SECONDS
  shift
  echo "== $name"
  if ! "$@"; then
    echo "== $name FAILED after $((SECONDS - started)) s" >&2
    exit 1
  fi
  echo "== $name passed in $((SECONDS - started)) s"
}

# Everything but the tests: quick checks of the text first.
static_stages() {
  stage setup scripts/setup
  stage format cargo fmt --all --check
  stage shell check_shell
  stage python check_python
  stage licences cargo deny --log-level error check bans licenses sources
  stage clippy cargo clippy --workspace --all-targets -- --deny warnings
  stage 'clippy of what needs a stand-in' cargo clippy --workspace --all-targets --features stand-in -- --deny warnings
  stage rustdoc env RUSTDOCFLAGS="--deny warnings" cargo doc --workspace --no-deps --quiet
}

check_shell() {
  local -a scripts
  mapfile -t scripts < <(files_by_interpreter bash)
  shellcheck --external-sources "${scripts[@]}" .ci/stages.sh && shfmt -i 2 -d "${scripts[@]}" .ci/stages.sh
}

check_python() {
  local -a scripts
  mapfile -t scripts < <(files_by_interpreter python3)
  local bin=.tools/venv/bin
  "$bin/ruff" check --quiet "${scripts[@]}" scripts bench Infrastructure &&
    "$bin/ruff" format --quiet --check "${scripts[@]}" scripts bench Infrastructure &&
    MYPYPATH=scripts:bench each_typed "${scripts[@]}" &&
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
