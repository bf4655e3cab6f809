"""Extracts the AWS CLI calls of deploy.sh and deploy.ps1 as lists of words, with variable names unified."""

from __future__ import annotations

import re

# Where a call starts. Commands that a message suggests to the user (`aws logs tail …`) do not count.
CALL_START = re.compile(r"(?<![\w'-])aws (?=(?:(?:sts|s3api|cloudformation|apigateway|dynamodb|iam) |logs de))")
# deploy.ps1 passes long-running calls to Invoke-WithEvents as a list of words.
LIST_CALL_START = re.compile(r"Invoke-WithEvents (?=\(?@\()")
CALL_END = "\n|;&<>)}"
# Names that differ between the scripts but mean the same.
ALIASES = {
    "stack": "stackname",
    "parameters": "parameter",
    "<here>/artifacts.yaml": "<artifacts>",
    "(join-path <psscriptroot> artifacts.yaml)": "<artifacts>",
    "<work>/cloudformation.yaml": "<template>",
    "file://<work>/cloudformation.yaml": "file://<template>",
}


def calls(script: str) -> list[list[str]]:
    """Each call in script order, as a list of its words without `aws`."""
    script = re.sub(r"\\\n\s*", "", script)  # line continuations in bash
    starts = sorted(
        (match.end(), match[0]) for pattern in (CALL_START, LIST_CALL_START) for match in pattern.finditer(script)
    )
    return [call(script, start, listed=word.startswith("Invoke")) for start, word in starts]


def call(script: str, start: int, *, listed: bool) -> list[str]:
    text = text_until(script, start, "\n" if listed and script[start] == "@" else CALL_END, listed=listed)
    if listed:
        text = re.sub(r"^\(?@\(|\)$", "", text.replace("\n", " ").strip())
        text = re.sub(r"\) \+ @?\(?| \+ (?:@\()?|, *", " ", text)
    return [one for word in words(text) if (one := name(word, script, start)) != "2"]


def text_until(script: str, start: int, ends: str, *, listed: bool) -> str:
    """The text from `start` to the first character of `ends` outside quotes and brackets."""
    quote, depth = "", 0
    for at in range(start, len(script)):
        character = script[at]
        if quote:
            quote = "" if character == quote else quote
        elif character in "'\"":
            quote = character
        elif character in "({":
            depth += 1
        elif depth and character in ")}":
            depth -= 1
            if listed and not depth:
                return script[start : at + 1] if script[at + 1] in "\n" else script[start : script.index("\n", at)]
        elif not depth and character in ends:
            return script[start:at]
    return script[start:]


def words(text: str) -> list[str]:
    """The words of a call. Quoted or bracketed text is one word."""
    return re.findall(r"(?:\"[^\"]*\"|'[^']*'|\$\([^)]*\)|\$\{[^ ]*\}|\([^)]*\)|[^\s\"'(])+", text)


def name(word: str, script: str, before: int) -> str:
    """A word without its quotes, with the variable names that both scripts share."""
    if word.strip('"') == "$query":
        assigned = re.findall(r"query ?= ?(\"[^\"]*\"|'[^']*')", script[:before])
        word = assigned[-1]
    if "[@]" in word:
        word = "$" + re.split(r"[\[+]", word.strip('"${'))[0]
    word = re.sub(r"\$\(\$script:(\w+)\)|\$\{(\w+)\}|\$(?:script:)?(\w+)", variable, word)
    word = re.sub(r"['\"](?=[^=]*$)|^['\"]", "", word) if "==" not in word else word.strip('"')
    return ALIASES.get(word.lower(), word)


def variable(match: re.Match[str]) -> str:
    plain = next(group for group in match.groups() if group).lower().replace("_", "")
    return f"<{ALIASES.get(plain, plain)}>"
