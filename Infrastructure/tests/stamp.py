"""Writes the stamp in the names of the REST API's deployments: the template's hash, as the scripts compute it."""

from __future__ import annotations

import hashlib
import re
import sys

from template import MAIN

NAMES = re.compile(r"(ApiDeployment(?:Cors|NoCors))[0-9a-f]{8}")


def stamped(text: str) -> str:
    digest = hashlib.sha256(NAMES.sub(r"\1", text).encode()).hexdigest()[:8]
    return NAMES.sub(rf"\g<1>{digest}", text)


def main() -> int:
    MAIN.write_text(stamped(MAIN.read_text()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
