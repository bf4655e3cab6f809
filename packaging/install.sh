#!/bin/sh
# Installs the command aurora-discovery from a release, after it has compared the archive with its checksum:
#
#   curl -sSfL https://github.com/aurora-alliance/aurora-discovery/releases/latest/download/install.sh | sh
#   curl -sSfL …/install.sh | sh -s -- --version v0.1.0 --to /usr/local/bin
#
# --version TAG   a release; by default, the latest
# --to DIRECTORY  where the command goes; by default, ~/.local/bin
# --from URL      the files of another release or fork
#
# The checksum detects a damaged file. To verify who built the archive, check its provenance:
# gh attestation verify ARCHIVE --repo aurora-alliance/aurora-discovery
set -eu

releases=https://github.com/aurora-alliance/aurora-discovery/releases

# main is called in the last line, so that an incompletely downloaded script does nothing.
main() {
  from=$releases/latest/download to=${HOME:-}/.local/bin
  while [ $# -gt 0 ]; do
    [ $# -ge 2 ] || fail "$1 needs a value"
    case $1 in
    --version) from=$releases/download/$2 ;;
    --to) to=$2 ;;
    --from) from=${2%/} ;;
    *) fail "there is no option $1; use --version, --to or --from" ;;
    esac
    shift 2
  done
  archive=aurora-discovery-$(target).tar.gz
  directory=$(mktemp -d)
  trap 'rm -rf "$directory"' EXIT
  download "$from/$archive" "$directory/$archive"
  download "$from/SHA256SUMS" "$directory/SHA256SUMS"
  expected=$(awk -v name="$archive" '$2 == name { print $1 }' "$directory/SHA256SUMS")
  [ -n "$expected" ] || fail "SHA256SUMS does not name $archive"
  [ "$expected" = "$(sum "$directory/$archive")" ] || fail "$archive differs from its checksum; nothing was installed"
  tar -xzf "$directory/$archive" -C "$directory" aurora-discovery
  mkdir -p "$to"
  # Replaces an installed command by a rename, because a running command can't be overwritten.
  cp "$directory/aurora-discovery" "$to/.aurora-discovery.new"
  chmod 755 "$to/.aurora-discovery.new"
  mv "$to/.aurora-discovery.new" "$to/aurora-discovery"
  echo "installed $("$to/aurora-discovery" --version | head -n 1) in $to"
  case :$PATH: in
  *:"$to":*) ;;
  *) echo "$to is not in PATH; add it, or call $to/aurora-discovery" ;;
  esac
}

# The Rust target of the archive for this machine.
target() {
  case $(uname -m) in
  x86_64 | amd64) machine=x86_64 ;;
  aarch64 | arm64) machine=aarch64 ;;
  *) fail "there is no archive for $(uname -m); build the command with cargo" ;;
  esac
  case $(uname -s) in
  Linux) echo "$machine-unknown-linux-musl" ;;
  Darwin) echo "$machine-apple-darwin" ;;
  *) fail "there is no archive for $(uname -s) that this script can install; see $releases" ;;
  esac
}

download() {
  if command -v curl >/dev/null; then
    curl --silent --show-error --fail --location --output "$2" "$1"
  elif command -v wget >/dev/null; then
    wget --quiet --output-document="$2" "$1"
  else
    fail "curl or wget is required"
  fi || fail "$1 can't be downloaded"
}

sum() {
  if command -v sha256sum >/dev/null; then
    sha256sum "$1"
  else
    shasum --algorithm 256 "$1"
  fi | cut -d ' ' -f 1
}

fail() {
  echo "install.sh: $1" >&2
  exit 1
}

main "$@"
