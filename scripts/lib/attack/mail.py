"""A flood of messages to the mailboxes of other peers."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass
from typing import Any

from lib.api import Api
from lib.attack import http1
from lib.attack.crowd import Plan
from lib.attack.honest import LEASE_SECONDS
from lib.attack.record import Key, record
from lib.attack.scene import Attack, Form, Scene

FLOODER, HONEST, RECEIVER = "10.80.0.1", "10.81.0.1", "10.82.0.1"
TOKEN = "token"
# The number of senders at one source address. Each may send 30 messages a minute, and all senders
# at one address together 480.
SENDERS = 16
RECEIVERS = 64
BATCH = 16
# The size of a session description that almost fills a message, which has at most 4 KiB.
DESCRIPTION = "x" * 2_700
VICTIM, FRIEND = "mail-victim", "mail-friend"
KEY = Key(7)


@dataclass(frozen=True)
class Flood:
    """Makes batches of messages. The senders take turns: each sends one message to some receiver
    and one to the victim. No connection repeats a session id."""

    def __call__(self, number: int) -> bytes:
        return b"".join(self._message(number * BATCH + offset) for offset in range(BATCH))

    def _message(self, number: int) -> bytes:
        receiver = VICTIM if number % 2 else f"mail-receiver-{number // 2 % RECEIVERS}"
        return http1.post("/mail", message(f"mail-flooder-{number // 2 % SENDERS}", receiver, number))


class MailFlood(Attack):
    name = "mail-flood"
    title = f"{SENDERS} peers of one source send messages of 4 kB to {RECEIVERS + 1} others at full speed"

    def plans(self, form: Form) -> list[Plan]:
        return [Plan((FLOODER,), 8, message=Flood())]

    def prepare(self, scene: Scene) -> None:
        flooders = [f"mail-flooder-{number}" for number in range(SENDERS)]
        receivers = [f"mail-receiver-{number}" for number in range(RECEIVERS)]
        for source, peers in ((FLOODER, flooders), (RECEIVER, [VICTIM, *receivers]), (HONEST, [FRIEND])):
            api = Api(f"127.0.0.1:{scene.port}", source)
            for peer in peers:
                body = {"signed": record(KEY, peer, TOKEN, mail=True, ttl_seconds=LEASE_SECONDS)}
                response = api.call("POST", "/register", body)
                scene.expect(response.status == 200, f"the registration of {peer} got {response.body}")
            api.close()
            scene.registered |= set(peers)

    def observe(self, scene: Scene) -> None:
        """Checks that a peer of another source can send the victim a message during the flood."""
        friend, victim = (Api(f"127.0.0.1:{scene.port}", source) for source in (HONEST, RECEIVER))
        sent = friend.call("POST", "/mail", message(FRIEND, VICTIM, 0))
        scene.expect(sent.status == 202, f"the message of a peer that does not flood got {sent.body}")
        waiting = victim.call("POST", "/mailbox", {"peer_id": VICTIM, "lease_token": TOKEN}).body["mail"]
        senders = Counter("friend" if mail["from"] == FRIEND else "flooder" for mail in waiting)
        scene.expect(senders["friend"] == 1, f"the victim has mail of {dict(senders)}")
        scene.expect(senders["flooder"] > 0, "no message of the flood has arrived")
        scene.notes.append(f"the victim has {senders['flooder']} messages of the flood, and that of a friend")


def message(sender: str, receiver: str, session: int) -> dict[str, Any]:
    """The body that sends a message."""
    payload: dict[str, object] = {"from": sender, "to": receiver, "sid": f"session-{session:012}", "type": "offer"}
    signed = KEY.sign("aurora-mail+jws", {**payload, "iat": int(time.time()), "sdp": DESCRIPTION})
    return {"to": receiver, "lease_token": TOKEN, "message": signed}
