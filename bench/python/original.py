"""A function like that of the original Aurora discovery service, in Python with boto3. The
benchmark measures it for information, without a target.

It parses and validates each request, writes it with one DynamoDB call, and responds in the original format.
Unlike `handler.py`, it has no holder rule and no markers, and it writes every heartbeat.
"""

from __future__ import annotations

import json
import os
import time
from datetime import UTC, datetime
from typing import Any

import boto3  # type: ignore[import-untyped]
from botocore.exceptions import ClientError  # type: ignore[import-untyped]

TTL_SECONDS = 300
HEADERS = {
    "Content-Type": "application/json",
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Allow-Methods": "GET,POST,OPTIONS",
    "Access-Control-Allow-Headers": "Content-Type,X-Amz-Date,Authorization,X-Api-Key",
}

table = boto3.resource("dynamodb", endpoint_url=os.environ.get("AURORA_DYNAMODB_ENDPOINT")).Table(
    os.environ["AURORA_TABLE"]
)


def lambda_handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    handlers = {"/register": register, "/heartbeat": heartbeat}
    handler = handlers.get(event["resource"])
    if handler is None or event["httpMethod"] != "POST":
        return response(404, {"error": "Not found"})
    try:
        return handler(json.loads(event["body"] or "{}"))
    except ValueError as error:
        return response(400, {"error": str(error)})


def register(body: dict[str, Any]) -> dict[str, Any]:
    now = int(time.time())
    peer_id = checked_id(body)
    address, port = body.get("address", ""), body.get("port", 0)
    archetypes, metadata = body.get("archetypes", []), body.get("metadata", {})
    if not isinstance(address, str) or not isinstance(port, int) or not 0 <= port <= 65_535:
        raise ValueError("address must be a string and port a number from 0 to 65535")
    if not isinstance(archetypes, list) or not all(isinstance(name, str) for name in archetypes):
        raise ValueError("archetypes must be a list of strings")
    if not isinstance(metadata, dict):
        raise ValueError("metadata must be an object")
    table.put_item(
        Item={
            "peer_id": peer_id,
            "address": address,
            "port": port,
            "archetypes": archetypes,
            "metadata": metadata,
            "last_seen": text(now),
            "ttl": now + TTL_SECONDS,
        }
    )
    message = "Peer registered successfully"
    return response(200, {"message": message, "peer_id": peer_id, "ttl_expires": text(now + TTL_SECONDS)})


def heartbeat(body: dict[str, Any]) -> dict[str, Any]:
    now = int(time.time())
    peer_id = checked_id(body)
    try:
        table.update_item(
            Key={"peer_id": peer_id},
            UpdateExpression="SET last_seen = :seen, #ttl = :ttl",
            ConditionExpression="attribute_exists(peer_id)",
            ExpressionAttributeNames={"#ttl": "ttl"},
            ExpressionAttributeValues={":seen": text(now), ":ttl": now + TTL_SECONDS},
        )
    except ClientError as error:
        if error.response["Error"]["Code"] == "ConditionalCheckFailedException":
            return response(404, {"error": "Peer is not registered"})
        raise
    return response(200, {"message": "Heartbeat updated", "peer_id": peer_id, "timestamp": text(now)})


def checked_id(body: object) -> str:
    peer_id = body.get("peer_id") if isinstance(body, dict) else None
    if not isinstance(peer_id, str) or not 1 <= len(peer_id) <= 128:
        raise ValueError("peer_id must be a string of 1 to 128 characters")
    return peer_id


def response(status: int, body: dict[str, Any]) -> dict[str, Any]:
    return {"statusCode": status, "headers": HEADERS, "body": json.dumps(body)}


def text(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")
