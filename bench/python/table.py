"""The DynamoDB table: all calls to it, and the values that this process caches."""

from __future__ import annotations

import hashlib
import os
import random
import secrets
import time
from collections import Counter
from functools import lru_cache
from typing import Any

import boto3  # type: ignore[import-untyped]
from boto3.dynamodb.types import TypeDeserializer  # type: ignore[import-untyped]
from botocore.config import Config  # type: ignore[import-untyped]
from botocore.exceptions import BotoCoreError, ClientError  # type: ignore[import-untyped]

INDEX = "LastSeenIndex"
SECRET_KEY = " table"
BLOCKS_KEY = " blocks"
# The index spreads the peers of each archetype, and all peers, over this many hash keys, the lanes. Each lane
# has an equal part of the range keys.
LANES = 16
LANE_WIDTH = 1 << 60
# The lowest bits of an index entry's range key are the class of the peer's network.
CLASS_MASK = 0xFFF
# How many index entries of one lane are read to estimate the number of peers, which costs half a
# read unit, and for how many seconds the estimate is used.
PROBED_ENTRIES = 50
SIZE_HOLDS_SECONDS = 60
# For how many seconds the list of blocks is used.
BLOCKS_HOLD_SECONDS = 8
BATCH_ROUNDS = 12

# The errors of DynamoDB calls.
FAILURES = (BotoCoreError, ClientError)
# Two kinds of errors after which a later retry may succeed: transient errors, and errors that an
# operator has to fix first.
TRANSIENT = {
    "ProvisionedThroughputExceededException",
    "ThrottlingException",
    "RequestLimitExceeded",
    "LimitExceededException",
    "TransactionInProgressException",
    "ReplicatedWriteConflictException",
}
OPERATOR_ERRORS = {
    "ResourceNotFoundException",
    "AccessDeniedException",
    "UnrecognizedClientException",
    "ExpiredTokenException",
    "InvalidSignatureException",
    "MissingAuthenticationTokenException",
}
RETRY_SOON_SECONDS = 1
RETRY_LATER_SECONDS = 30

TABLE = os.environ["AURORA_TABLE"]
# An attempt to connect or to read takes at most a second, so that all four attempts fit into the
# time that a client waits.
CONFIG = Config(connect_timeout=1, read_timeout=1, retries={"mode": "standard", "total_max_attempts": 4})

table = boto3.resource("dynamodb", endpoint_url=os.environ.get("AURORA_DYNAMODB_ENDPOINT"), config=CONFIG).Table(TABLE)
client = table.meta.client
deserialize = TypeDeserializer().deserialize

# The counts since the start of the process.
counts = Counter(
    dynamodb_calls_total=0,
    dynamodb_failures_total=0,
    dynamodb_refused_writes_total=0,
    dynamodb_read_units_total=0,
    dynamodb_write_units_total=0,
    dynamodb_unreadable_items_total=0,
)


class ConditionFailed(Exception):
    """The condition of a write failed. `item` is the current item, if there is one."""

    def __init__(self, item: dict[str, Any] | None) -> None:
        super().__init__("a conditional write lost a race")
        self.item = item


def get(key: str) -> dict[str, Any] | None:
    """Reads an item with strong consistency."""
    response = table.get_item(Key={"peer_id": key}, ConsistentRead=True, ReturnConsumedCapacity="TOTAL")
    count("dynamodb_read_units_total", response["ConsumedCapacity"])
    item: dict[str, Any] | None = response.get("Item")
    return item


def put(item: dict[str, Any], **condition: Any) -> None:
    conditional(table.put_item, Item=item, **condition)


def update(key: str, **change: Any) -> None:
    conditional(table.update_item, Key={"peer_id": key}, **change)


def delete(key: str, **condition: Any) -> None:
    conditional(table.delete_item, Key={"peer_id": key}, **condition)


def conditional(write: Any, **arguments: Any) -> None:
    try:
        response = write(**arguments, ReturnValuesOnConditionCheckFailure="ALL_OLD", ReturnConsumedCapacity="TOTAL")
    except ClientError as error:
        if error.response["Error"]["Code"] != "ConditionalCheckFailedException":
            raise
        counts["dynamodb_calls_total"] += 1
        counts["dynamodb_refused_writes_total"] += 1
        item = error.response.get("Item")
        raise ConditionFailed(deserialize({"M": item}) if item else None) from None
    count("dynamodb_write_units_total", response["ConsumedCapacity"])


def put_all(items: list[dict[str, Any]]) -> None:
    """Writes up to 25 items unconditionally, and retries unprocessed ones."""
    rest = {TABLE: [{"PutRequest": {"Item": item}} for item in items]} if items else {}
    for attempt in range(BATCH_ROUNDS):
        if not rest:
            return
        pause(attempt)
        response = client.batch_write_item(RequestItems=rest, ReturnConsumedCapacity="TOTAL")
        count("dynamodb_write_units_total", response["ConsumedCapacity"][0])
        rest = response.get("UnprocessedItems")
    if rest:
        raise TimeoutError("DynamoDB left items of a batch unprocessed")


def get_all(keys: list[str]) -> list[dict[str, Any]]:
    """Reads up to 100 items with eventual consistency, and retries unprocessed keys."""
    rest = {TABLE: {"Keys": [{"peer_id": key} for key in keys]}} if keys else {}
    items: list[dict[str, Any]] = []
    for attempt in range(BATCH_ROUNDS):
        if not rest:
            return items
        pause(attempt)
        response = client.batch_get_item(RequestItems=rest, ReturnConsumedCapacity="TOTAL")
        count("dynamodb_read_units_total", response["ConsumedCapacity"][0])
        items += response["Responses"][TABLE]
        rest = response.get("UnprocessedKeys")
    if rest:
        raise TimeoutError("DynamoDB left keys of a batch unprocessed")
    return items


def pause(attempt: int) -> None:
    """Waits before a batch is sent again."""
    if attempt:
        time.sleep(min(0.01 * 2**attempt, 0.64) * random.uniform(0.5, 1))


def query(lane: str, first: int, last: int, limit: int) -> dict[str, Any]:
    """Reads up to `limit` entries of one lane of the index, with range keys from `first` to `last`."""
    page: dict[str, Any] = table.query(
        IndexName=INDEX,
        KeyConditionExpression="lane = :lane AND h BETWEEN :first AND :last",
        ExpressionAttributeValues={":lane": lane, ":first": key_bytes(first), ":last": key_bytes(last)},
        Limit=limit,
        ReturnConsumedCapacity="TOTAL",
    )
    count("dynamodb_read_units_total", page["ConsumedCapacity"])
    return page


def peers_in(lane: str, limit: int) -> list[str]:
    """The ids of up to `limit` peers in a lane of the index."""
    # The key of a marker ends with a space and the id.
    return [entry["peer_id"].rpartition(" ")[2] for entry in query(lane, 0, (1 << 64) - 1, limit)["Items"]]


def count(units: str, consumed: dict[str, Any]) -> None:
    counts["dynamodb_calls_total"] += 1
    counts[units] += consumed["CapacityUnits"]


def retry_after(error: Exception) -> int | None:
    """The seconds after which to retry a failed request; `None` if a retry would not help."""
    counts["dynamodb_failures_total"] += isinstance(error, FAILURES)
    if not isinstance(error, ClientError):
        return RETRY_SOON_SECONDS if isinstance(error, BotoCoreError | TimeoutError) else None
    if error.response["Error"]["Code"] in OPERATOR_ERRORS:
        return RETRY_LATER_SECONDS
    status = error.response["ResponseMetadata"]["HTTPStatusCode"]
    is_transient = status >= 500 or error.response["Error"]["Code"] in TRANSIENT
    return RETRY_SOON_SECONDS if is_transient else None


@lru_cache(maxsize=1)
def secret() -> bytes:
    """The secret of the table, which the first process creates."""
    item = get(SECRET_KEY)
    if item is None:
        created = secrets.token_bytes(32)
        try:
            put({"peer_id": SECRET_KEY, "secret": created}, ConditionExpression="attribute_not_exists(peer_id)")
            return created
        except ConditionFailed as failed:
            item = failed.item
    if item is None:
        raise LookupError("the table's secret vanished")
    return bytes(item["secret"])


def range_key_of(peer_id: str, network: bytes) -> bytes:
    """The index's range key of a peer: its position, of which the top four bits are its lane, and the
    class of its network."""
    return key_bytes(hash_of(peer_id.encode()) & ~CLASS_MASK | hash_of(b" network" + network) & CLASS_MASK)


def hash_of(content: bytes) -> int:
    return int.from_bytes(hashlib.sha256(secret() + content).digest()[:8], "big")


def key_bytes(key: int) -> bytes:
    return key.to_bytes(8, "big")


def lane_of(archetype: str, key: bytes) -> str:
    """The index's hash key of the peers with an archetype, or of all peers if `archetype` is empty."""
    return f"{archetype}#{key[0] >> 4:x}"


class Size:
    """An estimate of the number of peers from one lane of the index, which is renewed once a minute."""

    def __init__(self) -> None:
        self.peers, self.until = 0, 0.0

    def at_least(self, peers: int) -> bool:
        if time.monotonic() >= self.until:
            self.peers, self.until = self.probe(), time.monotonic() + SIZE_HOLDS_SECONDS
        return self.peers >= peers

    def probe(self) -> int:
        lane = random.randrange(LANES)
        first = lane * LANE_WIDTH
        page = query(f"#{lane:x}", first, first + LANE_WIDTH - 1, PROBED_ENTRIES)
        entries = page["Items"]
        if "LastEvaluatedKey" not in page:
            return len(entries) * LANES
        # The positions of peers are distributed uniformly over a lane. So if the entries cover one part in
        # n of the lane, the lane has about n times as many peers as there are entries.
        reach = (int.from_bytes(bytes(entries[-1]["h"]), "big") | CLASS_MASK) - first + 1
        return len(entries) * LANES * LANE_WIDTH // reach


class Blocks:
    """The list of blocks, which is read again because an operator may have changed it. Only an empty
    list is part of the comparison."""

    def __init__(self) -> None:
        self.until = 0.0

    def read_if_due(self) -> None:
        if time.monotonic() >= self.until:
            item = get(BLOCKS_KEY)
            if item is not None and item["blocks"]:
                raise NotImplementedError("blocks are not part of this comparison")
            self.until = time.monotonic() + BLOCKS_HOLD_SECONDS


size = Size()
blocks = Blocks()
