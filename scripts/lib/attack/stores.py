"""Services on each store, for checks that must hold on all of them."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lib.service import ROOT, Service
from lib.valkey import standalone

TABLE = "peers"
# The stand-in for DynamoDB accepts any credentials.
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "eu-central-1"}


@contextmanager
def in_memory() -> Iterator[list[Service]]:
    """One service that stores everything in its memory."""
    with Service() as service:
        yield [service]


@contextmanager
def on_valkey() -> Iterator[list[Service]]:
    """Two services that share one Valkey server."""
    with tempfile.TemporaryDirectory() as folder, standalone(Path(folder) / "server") as server:
        options = ("--store", "valkey", "--valkey-url", server.url, "--valkey-replicas", "0")
        with Service(*options) as one, Service(*options) as other:
            yield [one, other]


@contextmanager
def on_dynamodb() -> Iterator[list[Service]]:
    """Two services that share one table of DynamoDB Local."""
    # Runs the stand-in until the standard input ends. Prints its URL first.
    arguments = ["run-isolated", "local", "sh", "-c", "echo $AURORA_DYNAMODB_ENDPOINT; cat"]
    stand_in = subprocess.Popen(
        [str(ROOT / "scripts/dynamodb-local"), *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert stand_in.stdin and stand_in.stdout
    before = dict(os.environ)
    try:
        endpoint = stand_in.stdout.readline().strip()
        if not endpoint:
            raise RuntimeError("the stand-in for DynamoDB did not start")
        os.environ.update(CREDENTIALS)
        create_table(endpoint)
        options = ("--store", "dynamodb", "--table", TABLE, "--dynamodb-endpoint", endpoint)
        with Service(*options) as one, Service(*options) as other:
            yield [one, other]
    finally:
        os.environ.clear()
        os.environ.update(before)
        stand_in.stdin.close()
        stand_in.wait()


def create_table(endpoint: str) -> None:
    """Creates the table as the stack's template does."""
    key, lane, position = "peer_id", "lane", "h"
    index = {
        "IndexName": "LastSeenIndex",
        "KeySchema": [schema(lane, "HASH"), schema(position, "RANGE")],
        "Projection": {"ProjectionType": "KEYS_ONLY"},
    }
    table = {
        "TableName": TABLE,
        "BillingMode": "PAY_PER_REQUEST",
        "AttributeDefinitions": [
            {"AttributeName": name, "AttributeType": kind} for name, kind in ((key, "S"), (lane, "S"), (position, "B"))
        ],
        "KeySchema": [schema(key, "HASH")],
        "GlobalSecondaryIndexes": [index],
    }
    command = [str(ROOT / ".tools/venv/bin/aws"), "dynamodb", "create-table", "--endpoint-url", endpoint]
    created = subprocess.run(
        [*command, "--cli-input-json", json.dumps(table)], capture_output=True, text=True, check=False
    )
    if created.returncode:
        raise RuntimeError(f"the table could not be created: {created.stderr.strip()}")


def schema(name: str, kind: str) -> dict[str, str]:
    """One attribute of a key."""
    return {"AttributeName": name, "KeyType": kind}
