# Short names for the scripts of this repository. `just` lists them; `just --show NAME` prints one.

set positional-arguments

target := env('CARGO_TARGET_DIR', 'target')

_default:
    @just --list --unsorted

# Install what the tests need (once)
setup:
    scripts/setup

# Run all tests; --quick omits the DynamoDB stand-ins and the black-box checks
[group('test')]
test *args:
    scripts/test "$@"

# Do what CI does
[group('test')]
ci *args:
    .ci/run "$@"

# CI, the black-box checks at full length, the minimum Rust version, and security advisories
[group('test')]
ci-full: ci msrv black-box advisories

# Run the black-box checks at full length against a release build
[group('test')]
black-box $AURORA_DISCOVERY=(target / 'release/aurora-discovery'):
    cargo build --release --package aurora-discovery
    scripts/check-docs
    scripts/check-packaging
    scripts/check-client-example
    scripts/check-matchbox
    scripts/check-clients
    scripts/check-examples
    scripts/legacy-clients
    scripts/schemathesis
    scripts/kill9
    scripts/fulldisk
    scripts/slowloris
    scripts/attack

# Attack a build: just attack [--short] [NAME…]
[group('test')]
attack *args:
    scripts/attack "$@"

# Run the tests that need DynamoDB on its stand-ins
[group('test')]
stand-ins:
    scripts/test-stand-ins

# Check the templates and scripts for AWS; --quick omits the life of a stack
[group('test')]
infrastructure *args:
    scripts/check-infrastructure "$@"

# Check the workflows and templates under .github/
[group('test')]
workflows:
    scripts/check-workflows

# Build with the oldest Rust version that is supported
[group('test')]
msrv:
    scripts/check-msrv

# Look for dependencies with known vulnerabilities (needs the network)
[group('test')]
advisories:
    cargo deny check advisories

# Make data directories with a released binary, for the upgrade tests: just fixtures BINARY NAME
[group('test')]
fixtures *args:
    scripts/make-fixture "$@"

# Fuzz the parsers: just fuzz [--runs N] [TARGET…]
[group('test')]
fuzz *args:
    scripts/fuzz "$@"

# Build the API documentation, with warnings as errors, and check the examples of docs/
[group('docs')]
docs $AURORA_DISCOVERY=(target / 'debug/aurora-discovery'): rustdoc
    cargo build --package aurora-discovery
    scripts/check-docs

# Build the API documentation; --open opens it
[group('docs')]
rustdoc *args:
    RUSTDOCFLAGS="--deny warnings" cargo doc --workspace --no-deps "$@"

# Rewrite the generated sections of the documentation, and the stamp of the template
[group('docs')]
generate:
    UPDATE=1 cargo nextest run --package aurora-discovery --test cli --test-threads 1 the_documentation
    scripts/check-infrastructure --stamp

# Install what the benchmarks need (once)
[group('bench')]
bench-setup:
    bench/setup

# Throughput, latency and processor time
[group('bench')]
bench-speed *args:
    bench/speed "$@"

# Memory per peer and size of the binaries
[group('bench')]
bench-size *args:
    bench/size "$@"

# Behaviour at several times the capacity
[group('bench')]
bench-overload *args:
    bench/overload "$@"

# The return of all clients after an outage
[group('bench')]
bench-storm *args:
    bench/storm "$@"

# The delay until watchers receive a change
[group('bench')]
bench-watch *args:
    bench/watch "$@"

# The delay until messages reach mailboxes
[group('bench')]
bench-mailbox *args:
    bench/mailbox "$@"

# DynamoDB's units per operation: just bench-units [PEERS…]
[group('bench')]
bench-units *args:
    bench/units "$@"

# The Lambda function, compared with a Python function that does the same
[group('bench')]
bench-serverless *args:
    bench/serverless "$@"

# The service side by side with other systems: just bench-compare --setup, once
[group('bench')]
bench-compare *args:
    bench/compare "$@"

# Simulate which peers become isolated; --only steady runs one scenario
[group('bench')]
bench-isolation *args:
    bench/isolation "$@"
