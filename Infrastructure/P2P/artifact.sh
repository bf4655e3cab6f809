# The functions with which deploy.sh finds the Lambda function's code. deploy.sh sources this file, and sets
# the variables that are not set here. artifact.ps1 does the same on Windows.
# shellcheck shell=bash disable=SC2154

# Sets artifact to the zip to deploy. Downloads it if a URL is given. If none is given, uses the zip of this
# version's release, or else builds the function.
find_artifact() {
  local release="" cargo="" docker=""
  case $artifact in
  http://* | https://*)
    say "downloading $artifact"
    download "$artifact" || fail "$artifact could not be downloaded: $complaint"
    say "its SHA-256 is $(sha256 <"$artifact")"
    ;;
  "")
    if [ "$build" = no ]; then
      ! use_release || return 0
      say "no release can be used: $release"
    fi
    build_with_cargo || build_with_docker || fail "there is no code to deploy. One of these is needed:
  a release of this version: $release
  --artifact FILE or URL: a zip with bootstrap, for $architecture
  cargo-lambda: $cargo
  Docker: $docker"
    ;;
  esac
}

# Downloads the zip of this version's release from the repository that this checkout was cloned from.
# cloudformation.yaml must name a release of the same version. If that or the download fails, sets release
# to the reason.
use_release() {
  local line version="" url="" arm64="" x86_64="" sum pin='Pinned: \{Url: "(.*)", Arm64: "(.*)", X86: "(.*)"\}'
  while IFS= read -r line; do
    if [[ $line =~ $pin ]]; then url=${BASH_REMATCH[1]} arm64=${BASH_REMATCH[2]} x86_64=${BASH_REMATCH[3]}; fi
  done <"$here/cloudformation.yaml"
  while IFS= read -r line; do
    case $line in "version = "*) version=v${line#*\"} && version=${version%\"} && break ;; esac
  done <"$root/Cargo.toml"
  release="this checkout is of $version, and cloudformation.yaml names ${url##*/}"
  [ "${url##*/}" = "$version" ] || return 1
  release="the clone has no remote named origin with a web address"
  url=$(origin)/releases/download/$version/aurora-lambda-$architecture.zip || return 1
  say "downloading $url"
  download "$url" || { release="$url could not be downloaded: $complaint" && return 1; }
  sum=$arm64
  [ "$architecture" = arm64 ] || sum=$x86_64
  [ "$(sha256 <"$artifact")" = "$sum" ] || fail "$url is not the file that was released: its SHA-256 differs from the one in cloudformation.yaml"
}

# Prints the web address of the remote named origin. Reads git's configuration file, because git itself may
# not be installed.
origin() {
  local config=$root/.git/config line url="" section="" host path scheme=https
  if [ -f "$root/.git" ]; then # a worktree
    read -r _ config <"$root/.git"
    config=$config/../../config
  fi
  [ -f "$config" ] || return 1
  while IFS=$' \t' read -r line; do
    case $line in
    "["*) section=$line ;;
    url[\ =]*) [ "$section" != '[remote "origin"]' ] || url=${line#*=} ;;
    esac
  done <"$config"
  url=${url# }
  case $url in
  http://* | https://*) scheme=${url%%://*} url=${url#*://} ;;
  ssh://*) url=${url#*://} && path=${url#*/} && host=${url%%/*} && url=${host%:*}/$path ;;
  *@*:*) url=${url/://} ;;
  *) return 1 ;;
  esac
  host=${url%%/*} path=${url#*/}
  path=${path%/}
  echo "$scheme://${host##*@}/${path%.git}"
}

# Downloads a URL, and sets artifact to the file.
download() {
  attempt curl --silent --show-error --fail --location --retry 2 --output "$work/artifact.zip" "$1" || return 1
  artifact=$work/artifact.zip
}

# Builds the function with the Rust toolchain of this machine. If that is impossible, sets cargo to what is
# missing.
build_with_cargo() {
  local flag=--arm64 target=aarch64-unknown-linux-gnu
  [ "$architecture" = arm64 ] || flag=--x86-64 target=x86_64-unknown-linux-gnu
  cargo="Rust is missing: install it from https://rustup.rs"
  command -v cargo >/dev/null || return 1
  cargo="it is missing: pip install cargo-lambda ziglang"
  cargo lambda --version >/dev/null 2>&1 || return 1
  cargo="the Rust target $target is missing: rustup target add $target"
  [ -d "$(rustc --print target-libdir --target "$target")" ] || return 1
  say "building the function for $architecture with cargo-lambda"
  cargo lambda build --release "$flag" --package aurora-discovery-lambda --manifest-path "$root/Cargo.toml" --output-format zip --lambda-dir "$work" ||
    fail "the build failed"
  artifact=$work/bootstrap/bootstrap.zip
}

# Builds the function in a container. If that is impossible, sets docker to what is missing.
build_with_docker() {
  docker="it is missing: install it from https://docs.docker.com/get-docker/"
  command -v docker >/dev/null || return 1
  docker="its engine does not respond: start it, or allow this user to use it"
  docker version >/dev/null 2>&1 || return 1
  say "building the function for $architecture with Docker (some minutes)"
  DOCKER_BUILDKIT=1 docker build --file "$here/Dockerfile" --build-arg "ARCHITECTURE=$architecture" --output "type=local,dest=$work" "$root" ||
    fail "the build failed"
  artifact=$work/bootstrap.zip
}
