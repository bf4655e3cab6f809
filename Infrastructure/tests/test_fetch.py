"""The function in the template that fetches the code of a release, run with a bucket of the stand-in."""

from __future__ import annotations

import hashlib
import importlib
import os
import sys
import tempfile
import types
import unittest
import unittest.mock
from collections.abc import Callable
from pathlib import Path
from typing import Any

from moto import mock_aws
from template import load

RELEASE = b"the zip of a release"
BUCKET = "code"


class Fetch(unittest.TestCase):
    def setUp(self) -> None:
        self.enterContext(mock_aws())
        region = {"AWS_DEFAULT_REGION": "us-east-1", "AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x"}
        self.enterContext(unittest.mock.patch.dict(os.environ, region))
        folder = Path(self.enterContext(tempfile.TemporaryDirectory(prefix="aurora-fetch-")))
        (folder / "release.zip").write_bytes(RELEASE)
        self.url = (folder / "release.zip").as_uri()
        self.handler = self.load_handler()
        self.s3 = self.client()
        self.s3.create_bucket(Bucket=BUCKET)

    def load_handler(self) -> Callable[[dict[str, Any], None], None]:
        """The handler of the inline code, with a module like the one that Lambda adds."""
        self.responses: list[tuple[str, str, str]] = []
        cfnresponse = types.SimpleNamespace(SUCCESS="SUCCESS", FAILED="FAILED", send=self.respond)
        self.enterContext(unittest.mock.patch.dict(sys.modules, {"cfnresponse": cfnresponse}))
        names: dict[str, Any] = {}
        exec(load()["Resources"]["FetchFunction"]["Properties"]["Code"]["ZipFile"], names)
        handler: Callable[[dict[str, Any], None], None] = names["handler"]
        return handler

    def respond(self, _event: Any, _context: Any, status: str, _data: Any, key: str, reason: str = "") -> None:
        self.responses.append((status, key, reason))

    def client(self) -> Any:
        # Typed as Any, because boto3 has no types.
        boto3: Any = importlib.import_module("boto3")
        return boto3.client("s3")

    def request(self, kind: str, **changes: str) -> tuple[str, str, str]:
        """The response that CloudFormation gets to a request for the release's zip, with changed properties."""
        properties = {"Bucket": BUCKET, "Url": self.url, "Sha256": hashlib.sha256(RELEASE).hexdigest()}
        physical = changes.pop("physical", None)
        event = {"RequestType": kind, "ResourceProperties": properties | changes}
        self.handler(event | ({"PhysicalResourceId": physical} if physical else {}), None)
        return self.responses[-1]

    def keys(self) -> list[str]:
        return [entry["Key"] for entry in self.s3.list_objects_v2(Bucket=BUCKET).get("Contents", [])]

    def test_the_zip_is_stored_under_its_checksum_and_removed_with_the_stack(self) -> None:
        key = hashlib.sha256(RELEASE).hexdigest() + ".zip"
        self.assertEqual(self.request("Create"), ("SUCCESS", key, ""))
        self.assertEqual(self.keys(), [key])
        self.assertEqual(self.s3.get_object(Bucket=BUCKET, Key=key)["Body"].read(), RELEASE)
        self.assertEqual(self.request("Update", physical="older.zip"), ("SUCCESS", key, ""))
        self.assertEqual(self.request("Delete", physical=key), ("SUCCESS", key, ""))
        self.assertEqual(self.keys(), [])

    def test_a_failure_names_the_parameter_to_give(self) -> None:
        for reason, changes in (
            ("This template is of no release", {"Sha256": "none"}),
            ("No such file", {"Url": self.url + ".missing"}),
            ("It is not the file that was released", {"Sha256": "0" * 64}),
        ):
            with self.subTest(reason):
                status, key, text = self.request("Create", **changes)
                self.assertEqual(status, "FAILED")
                self.assertIn(reason, text)
                self.assertIn("set ArtifactBucket", text)
                # After a failed creation, CloudFormation deletes the resource, although it was not
                # created.
                self.assertEqual(self.request("Delete", physical=key)[0], "SUCCESS")
        self.assertEqual(self.keys(), [])

    def test_the_code_is_within_the_limit_of_inline_code(self) -> None:
        self.assertLess(len(load()["Resources"]["FetchFunction"]["Properties"]["Code"]["ZipFile"]), 4096)


if __name__ == "__main__":
    unittest.main()
