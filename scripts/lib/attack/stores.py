"""Services on each store, for checks that must hold on all of them."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from lib.service import ROOT, Service
from lib.valkey import standalone

DYNAMODB_PORT = 8123
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
    stand_in = [str(ROOT / "scripts/dynamodb-local")]
    arguments = ["local", str(DYNAMODB_PORT)]
    os.environ.update(CREDENTIALS)
    with ExitStack() as stack:
        stack.callback(subprocess.run, [*stand_in, "stop", *arguments], check=True)
        # Its log and the stand-in itself keep the standard output, so the output is not read.
        subprocess.run([*stand_in, "start", *arguments], check=True, stdout=subprocess.DEVNULL)
        endpoint = f"http://127.0.0.1:{DYNAMODB_PORT}"
        create_table(endpoint)
        options = ("--store", "dynamodb", "--table", TABLE, "--dynamodb-endpoint", endpoint)
        yield [stack.enter_context(Service(*options)) for _ in range(2)]


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
    subprocess.run([*command, "--cli-input-json", json.dumps(table)], check=True, stdout=subprocess.DEVNULL)


def schema(name: str, kind: str) -> dict[str, str]:
    """One attribute of a key."""
    return {"AttributeName": name, "KeyType": kind}
