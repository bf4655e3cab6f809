"""The table: every call that is made of it, and what of it is kept in this process."""

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
LANES = 16
LANE_WIDTH = 1 << 60
# How much of a lane is counted, half a read unit, and how long that is good for.
PROBED_ENTRIES = 50
SIZE_HOLDS_SECONDS = 60
WRITE_BATCH = 25
BATCH_ROUNDS = 12

# What fails in a call of DynamoDB.
FAILURES = (BotoCoreError, ClientError)
# Failures that pass by themselves, and those that only an operator mends.
PASSING = {
    "ProvisionedThroughputExceededException",
    "ThrottlingException",
    "RequestLimitExceeded",
    "LimitExceededException",
    "TransactionInProgressException",
    "ReplicatedWriteConflictException",
}
OPERATORS = {
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
# An attempt takes a second at most, and all of them together what a caller waits.
PATIENCE = Config(connect_timeout=1, read_timeout=1, retries={"mode": "standard", "total_max_attempts": 4})

table = boto3.resource("dynamodb", endpoint_url=os.environ.get("AURORA_DYNAMODB_ENDPOINT"), config=PATIENCE).Table(
    TABLE
)
client = table.meta.client
deserialize = TypeDeserializer().deserialize

# What was counted since the process began.
counts = Counter(
    dynamodb_calls_total=0,
    dynamodb_failures_total=0,
    dynamodb_refused_writes_total=0,
    dynamodb_read_units_total=0,
    dynamodb_write_units_total=0,
    dynamodb_unreadable_items_total=0,
)


class Lost(Exception):
    """The condition of a write did not hold; the item that stands there, if one does."""

    def __init__(self, item: dict[str, Any] | None) -> None:
        super().__init__("a conditional write lost a race")
        self.item = item


def get(key: str) -> dict[str, Any] | None:
    """An item as it is now."""
    answer = table.get_item(Key={"peer_id": key}, ConsistentRead=True, ReturnConsumedCapacity="TOTAL")
    count("dynamodb_read_units_total", answer["ConsumedCapacity"])
    item: dict[str, Any] | None = answer.get("Item")
    return item


def put(item: dict[str, Any], **condition: Any) -> None:
    conditional(table.put_item, Item=item, **condition)


def update(key: str, **change: Any) -> None:
    conditional(table.update_item, Key={"peer_id": key}, **change)


def delete(key: str, **condition: Any) -> None:
    conditional(table.delete_item, Key={"peer_id": key}, **condition)


def conditional(write: Any, **asked: Any) -> None:
    try:
        answer = write(**asked, ReturnValuesOnConditionCheckFailure="ALL_OLD", ReturnConsumedCapacity="TOTAL")
    except ClientError as error:
        if error.response["Error"]["Code"] != "ConditionalCheckFailedException":
            raise
        counts["dynamodb_calls_total"] += 1
        counts["dynamodb_refused_writes_total"] += 1
        item = error.response.get("Item")
        raise Lost(deserialize({"M": item}) if item else None) from None
    count("dynamodb_write_units_total", answer["ConsumedCapacity"])


def put_all(items: list[dict[str, Any]]) -> None:
    """Writes items whatever stands in their place, following what comes back unprocessed."""
    for first in range(0, len(items), WRITE_BATCH):
        rest = [{"PutRequest": {"Item": item}} for item in items[first : first + WRITE_BATCH]]
        for attempt in range(BATCH_ROUNDS):
            answer = client.batch_write_item(RequestItems={TABLE: rest}, ReturnConsumedCapacity="TOTAL")
            count("dynamodb_write_units_total", answer["ConsumedCapacity"][0])
            rest = answer.get("UnprocessedItems", {}).get(TABLE)
            if not rest:
                break
            time.sleep(min(0.02 * 2**attempt, 0.64) * random.uniform(0.5, 1))
        else:
            raise TimeoutError("DynamoDB left items of a batch unprocessed")


def count(units: str, consumed: dict[str, Any]) -> None:
    counts["dynamodb_calls_total"] += 1
    counts[units] += consumed["CapacityUnits"]


def retry_after(error: Exception) -> int | None:
    """In how many seconds to try again what failed; nothing where that would not help."""
    counts["dynamodb_failures_total"] += isinstance(error, FAILURES)
    if not isinstance(error, ClientError):
        return RETRY_SOON_SECONDS if isinstance(error, BotoCoreError | TimeoutError) else None
    if error.response["Error"]["Code"] in OPERATORS:
        return RETRY_LATER_SECONDS
    status = error.response["ResponseMetadata"]["HTTPStatusCode"]
    passes = status >= 500 or error.response["Error"]["Code"] in PASSING
    return RETRY_SOON_SECONDS if passes else None


@lru_cache(maxsize=1)
def secret() -> bytes:
    """The table's secret; whoever first needs it makes it."""
    item = get(SECRET_KEY)
    if item is None:
        made = secrets.token_bytes(32)
        try:
            put({"peer_id": SECRET_KEY, "secret": made}, ConditionExpression="attribute_not_exists(peer_id)")
            return made
        except Lost as lost:
            item = lost.item
    if item is None:
        raise LookupError("the table's secret vanished")
    return bytes(item["secret"])


def place_of(peer_id: str) -> bytes:
    """Where a peer lies in the index, eight bytes; the top four bits are its lane."""
    return hashlib.sha256(secret() + peer_id.encode()).digest()[:8]


def lane_of(archetype: str, place: bytes) -> str:
    """The index key of the peers that carry an archetype, or of all where it is empty."""
    return f"{archetype}#{place[0] >> 4:x}"


class Size:
    """About how many peers the index lists, from one lane of it, asked anew when that is a minute old."""

    def __init__(self) -> None:
        self.peers, self.until = 0, 0.0

    def at_least(self, peers: int) -> bool:
        if time.monotonic() >= self.until:
            self.peers, self.until = self.probe(), time.monotonic() + SIZE_HOLDS_SECONDS
        return self.peers >= peers

    def probe(self) -> int:
        lane = random.randrange(LANES)
        page = table.query(
            IndexName=INDEX,
            KeyConditionExpression="lane = :lane",
            ExpressionAttributeValues={":lane": f"#{lane:x}"},
            Limit=PROBED_ENTRIES,
            ReturnConsumedCapacity="TOTAL",
        )
        count("dynamodb_read_units_total", page["ConsumedCapacity"])
        entries = page["Items"]
        if "LastEvaluatedKey" not in page:
            return len(entries) * LANES
        reach = int.from_bytes(bytes(entries[-1]["h"]), "big") - lane * LANE_WIDTH + 1
        return len(entries) * LANES * LANE_WIDTH // reach


size = Size()
