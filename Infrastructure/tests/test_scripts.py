"""deploy.sh and deploy.ps1 have the same options, names, messages and AWS calls, and deploy.ps1 parses."""

from __future__ import annotations

import re
import unittest
from collections.abc import Iterator

import tree_sitter_powershell
from calls import CALL_START, calls
from portable import unportable
from template import ROOT, SCRIPTS, load
from tree_sitter import Language, Node, Parser

BASH = (SCRIPTS / "deploy.sh").read_text() + (SCRIPTS / "artifact.sh").read_text()
POWERSHELL = (SCRIPTS / "deploy.ps1").read_text() + (SCRIPTS / "artifact.ps1").read_text()


def syntax_errors(source: str) -> list[str]:
    """The syntax errors, by line."""
    root = Parser(Language(tree_sitter_powershell.language())).parse(source.encode()).root_node
    found = [
        f"line {node.start_point.row + 1}: {node.type}" for node in nodes(root) if node.is_error or node.is_missing
    ]
    return found or (["at an unknown line"] if root.has_error else [])


def nodes(node: Node) -> Iterator[Node]:
    yield node
    for child in node.children:
        yield from nodes(child)


def unchecked_calls(source: str) -> list[str]:
    """AWS calls whose exit code neither Invoke-Attempt nor the next line checks, except for one that may fail."""
    lines = source.splitlines()
    return [
        line.strip()
        for line, following in zip(lines, lines[1:], strict=False)
        if CALL_START.search(line)
        and "$LASTEXITCODE" not in following
        and "Invoke-Attempt {" not in line
        and "describe-stack-events" not in line
    ]


def normalized(option: str) -> str:
    """`--stack-name` and `StackName` as one word."""
    return option.lower().replace("-", "")


class PowerShell(unittest.TestCase):
    def test_the_script_is_valid(self) -> None:
        self.assertEqual(syntax_errors(POWERSHELL), [])

    def test_the_parser_finds_syntax_errors(self) -> None:
        self.assertNotEqual(
            syntax_errors(POWERSHELL.replace("function Invoke-Main {", "function Invoke-Main {{", 1)), []
        )
        self.assertNotEqual(syntax_errors("if ($x -eq { 'y' }"), [])

    def test_the_exit_code_of_every_aws_call_that_must_succeed_is_checked(self) -> None:
        """In PowerShell, a native command that fails throws no error, so each exit code has to be
        checked."""
        self.assertIn("$ErrorActionPreference = 'Continue'", POWERSHELL)
        self.assertEqual(unchecked_calls(POWERSHELL), [])
        without_check = re.sub(r"(delete-stack --stack-name \S+\n).*LASTEXITCODE.*\n", r"\1", POWERSHELL)
        self.assertEqual(len(unchecked_calls(without_check)), 3)

    def test_no_native_argument_contains_an_unquoted_comma(self) -> None:
        for line in POWERSHELL.splitlines():
            if re.match(r"\s*(\$\S+ = )?(aws|cargo) ", line):
                unquoted = re.sub(r"'[^']*'|\"[^\"]*\"|\([^)]*\)", "", line)
                self.assertNotIn(",", unquoted, line)


class Portability(unittest.TestCase):
    """macOS has bash 3.2 and BSD's tools, and users of macOS run the documented commands too."""

    def test_deploy_sh_needs_nothing_newer_than_bash_3_2_and_no_gnu_tools(self) -> None:
        self.assertEqual(unportable(BASH), [])

    def test_the_documented_commands_need_no_gnu_tools(self) -> None:
        for document in ("README.md", "docs/operations.md"):
            blocks = re.findall(r"```sh[^\n]*\n(.*?)```", (ROOT / document).read_text(), re.DOTALL)
            self.assertGreater(len(blocks), 3)
            self.assertEqual(unportable("\n".join(blocks)), [], document)

    def test_what_macos_lacks_is_found(self) -> None:
        for line in (
            "mapfile -t lines <file",
            "local -A seen",
            "echo ${name,,}",
            "echo ${name^}",
            'echo "${name@Q}"',
            "echo ${list[-1]}",
            "make |& cat",
            "wait -n",
            "[[ -v name ]]",
            "echo $EPOCHSECONDS",
            "printf '%(%F)T' -1",
            'run "${list[@]}"',
            "date -u -d '1 hour ago' +%FT%TZ",
            "sed -i s/a/b/ file",
            "sed -r 's/(a)/b/' file",
            "grep -P a file",
            "readlink -f file",
            "stat -c %s file",
            "tac file",
            "xargs -r rm",
            "head -n -1 file",
            "sha256sum file",
        ):
            with self.subTest(line):
                self.assertNotEqual(unportable(line), [])
        self.assertEqual(unportable("sed -i '' s/a/b/ file  # mapfile\ndate -u +%s"), [])


class Both(unittest.TestCase):
    def test_both_scripts_take_the_same_options(self) -> None:
        usage = re.search(r"usage: (.*?)\nEOF", BASH, re.DOTALL)
        assert usage
        bash = {normalized(option) for option in re.findall(r"--([a-z-]+)", usage[1]) if option != "version"}
        block = POWERSHELL[POWERSHELL.index("param(") : POWERSHELL.index("\n)\n")]
        powershell = {normalized(name) for name in re.findall(r"\] \$(\w+)", block)}
        self.assertEqual(bash, powershell)
        documented = {normalized(name) for name in re.findall(r"\.PARAMETER (\w+)", POWERSHELL)}
        self.assertEqual(documented, powershell)
        short = set(re.findall(r"Alias\('(\w)'\)", block))
        self.assertEqual(short, set(re.findall(r"^  -(\w), --", usage[1], re.MULTILINE)))

    def test_both_scripts_make_the_same_aws_calls_in_the_same_order(self) -> None:
        self.assertGreater(len(calls(BASH)), 15)
        self.assertEqual(calls(BASH), calls(POWERSHELL))

    def test_a_call_that_differs_in_one_word_is_detected(self) -> None:
        for original, replacement in (
            ("'CAPABILITY_NAMED_IAM'", "'CAPABILITY_IAM'"),
            ("'--no-fail-on-empty-changeset',\n", "\n"),
            ("--expected-bucket-owner $script:Account })", "})"),
            ("--filters FailedEvents=true", ""),
            ("logs delete-log-group --log-group-name $group", "logs delete-log-group --log-group-name $other"),
            ("--key $script:Key --body", "--key $script:Bucket --body"),
            ("--query '[Metadata.sha256,VersionId]'", "--query '[VersionId,Metadata.sha256]'"),
            ("wait stack-delete-complete --stack-name", "wait stack-create-complete --stack-name"),
            ("$overrides + $Parameter", "$Parameter + $overrides"),
            ("?IndexName=='LastSeenIndex'", "?IndexName=='OtherIndex'"),
        ):
            with self.subTest(original):
                self.assertIn(original, POWERSHELL)
                self.assertNotEqual(calls(BASH), calls(POWERSHELL.replace(original, replacement, 1)))

    def test_both_scripts_know_the_index_of_the_template(self) -> None:
        table = load()["Resources"]["PeersTable"]["Properties"]
        key = " ".join(entry["AttributeName"] for entry in table["GlobalSecondaryIndexes"][0]["KeySchema"])
        self.assertIn(f'INDEX_KEY="{key}"', BASH)
        self.assertIn(f"$IndexKey = '{key}'", POWERSHELL)

    def test_both_scripts_expect_the_same_responses_of_the_service(self) -> None:
        expected = ['"healthy"', "Peer registered successfully", "Heartbeat updated", "Peer deregistered"]
        for response in expected:
            self.assertIn(f"expect '{response}'", BASH)
            self.assertIn(f"Test-Response '{response}'", POWERSHELL)

    def test_both_scripts_print_the_same_messages(self) -> None:
        """Each message of deploy.sh is also in deploy.ps1. Only the notation of variables and options
        differs."""
        for message in re.findall(r'(?:fail|say) "([^"]{20,})"', BASH):
            if "must be" in message or "curl" in message:
                continue  # PowerShell reports invalid option values itself and does not use curl
            for part in re.split(r"\$\{?\w+\}?|--?[a-z][a-z-]*|[():]|\s\|\s", message):
                if len(part.strip()) > 12:
                    self.assertTrue(part.strip() in POWERSHELL, f"{part.strip()!r} of {message!r}")


if __name__ == "__main__":
    unittest.main()
