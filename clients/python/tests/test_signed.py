"""Tests of signed registrations that need no service."""

from __future__ import annotations

import json
import os
import tempfile
import unittest
from pathlib import Path
from typing import Any

from aurora_discovery import InvalidRecordError, KeyFile, KeyFileError, SecretKey, SignedMessage, SignedRecord

VECTORS = Path(__file__).resolve().parents[3] / "crates/protocol/tests/vectors/signed.json"
# Records with these expected results are valid for a reader. The service accepts fewer records: it
# also refuses those that are too old or for another service.
READABLE = {"accepted", "stale_signature"}


class Vectors(unittest.TestCase):
    """Verifies records that other libraries and, in `ours`, the Rust crate have made."""

    def test_each_record_is_verified_or_refused(self) -> None:
        for vector in json.loads(VECTORS.read_text())["vectors"]:
            with self.subTest(vector["name"]):
                if vector["expected"] in READABLE or vector["name"] == "another audience":
                    self.assertEqual(SignedRecord.verify(vector["jws"]).peer_id, "alice")
                else:
                    self.assertRaises(InvalidRecordError, SignedRecord.verify, vector["jws"])

    def test_a_record_has_what_was_signed(self) -> None:
        vectors = json.loads(VECTORS.read_text())
        first, second = map(SignedRecord.verify, vectors["ours"])
        self.assertEqual(first.signed_by, vectors["key"])
        self.assertEqual((first.port, first.archetypes, first.seq), (9000, ("日本語",), 1_800_000_000_000))
        self.assertEqual(first.metadata_text, '{ "version": 1.0 }')
        self.assertEqual((second.audience, second.metadata_text), ("discovery.example", "{}"))

    def test_a_text_that_is_no_jws_is_refused(self) -> None:
        good = json.loads(VECTORS.read_text())["ours"][0]
        for bad in ("", "a.b", f"{good}.", f"{good}=", f"{good}A", f"{good[:-1]}B", good.replace(".", ".."), "é.é.é"):
            with self.subTest(bad):
                self.assertRaises(InvalidRecordError, SignedRecord.verify, bad)


class Messages(unittest.TestCase):
    """Signs and verifies messages."""

    def test_a_message_is_verified_by_the_key_of_its_sender(self) -> None:
        key, other = SecretKey.generate(), SecretKey.generate()
        message: Any = {"sender": "alice", "to": "bob", "sid": "0123456789abcdef", "kind": "offer", "sdp": "v=0\r\n"}
        text = SignedMessage.sign(key, **message, issued_at=1_800_000_000)
        expected = SignedMessage(key.public_key, "alice", "bob", message["sid"], "offer", "v=0\r\n", 1_800_000_000)
        self.assertEqual(SignedMessage.verify(text), expected)
        header, _, signature = text.split(".")
        payload = SignedMessage.sign(other, **message).split(".")[1]
        record = json.loads(VECTORS.read_text())["ours"][0]
        wrong = {name: SignedMessage.sign(key, **message | {name: 1}) for name in message}
        for name, bad in {"payload": f"{header}.{payload}.{signature}", "record": record, **wrong}.items():
            with self.subTest(name):
                self.assertRaises(InvalidRecordError, SignedMessage.verify, bad)

    def test_a_message_that_the_service_would_refuse_is_refused(self) -> None:
        key = SecretKey.generate()
        good: Any = {"sender": "alice", "to": "bob", "sid": "0123456789abcdef", "kind": "offer", "sdp": "v=0\r\n"}
        SignedMessage.verify(SignedMessage.sign(key, **good | {"sdp": "x" * 2700}))
        for change in (
            {"sender": "a b"},
            {"to": "b" * 129},
            {"sid": "0123456789abcde"},
            {"sid": "0123456789abcde\n"},
            {"kind": "Offer"},
            {"kind": ""},
            {"issued_at": -1},
            {"issued_at": 2**53},
            {"issued_at": True},
            {"sdp": "x" * 3000},
        ):
            with self.subTest(change):
                text = SignedMessage.sign(key, **good | change)
                self.assertRaisesRegex(InvalidRecordError, "^the message has ", SignedMessage.verify, text)

    def test_what_is_no_text_is_refused(self) -> None:
        for bad in (5, None, b"a.b.c"):
            with self.subTest(bad):
                verify: Any = SignedMessage.verify
                self.assertRaisesRegex(InvalidRecordError, "^the message is not a text", verify, bad)
                verify = SignedRecord.verify
                self.assertRaisesRegex(InvalidRecordError, "^the signed registration is", verify, bad)


class Keys(unittest.TestCase):
    """Keys and their files."""

    def setUp(self) -> None:
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.path = Path(directory.name) / "alice.key"

    def test_a_key_is_made_once_and_then_read(self) -> None:
        file = KeyFile(self.path)
        self.assertIsNone(file.read())
        key = file.read_or_create()
        self.assertEqual(file.read_or_create().public_key, key.public_key)
        self.assertRaises(KeyFileError, file.create)
        self.assertEqual(file.read_or_create().public_key, key.public_key)
        self.assertEqual(list(self.path.parent.iterdir()), [self.path])

    @unittest.skipUnless(os.name == "posix", "only POSIX systems have modes")
    def test_a_key_file_of_others_is_refused(self) -> None:
        file = KeyFile(self.path)
        file.create()
        self.path.chmod(0o640)
        self.assertRaisesRegex(KeyFileError, "chmod 600", file.read)

    def test_a_file_without_a_key_is_refused(self) -> None:
        other = json.loads(SecretKey.generate().to_jwk())["x"]
        mixed = json.dumps(json.loads(SecretKey.generate().to_jwk()) | {"x": other})
        for text in ("", "{}", "[]", mixed):
            with self.subTest(text):
                self.path.write_text(text)
                self.path.chmod(0o600)
                self.assertRaisesRegex(KeyFileError, "is not a key file", KeyFile(self.path).read)


if __name__ == "__main__":
    unittest.main()
