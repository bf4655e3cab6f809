"""Finds code that does not work on macOS, which has bash 3.2 and BSD's tools: features of bash 4 and
later, and options of GNU's tools."""

from __future__ import annotations

import re

# A pattern for each construct, and what to write instead.
UNPORTABLE = {
    r"\b(mapfile|readarray)\b": "mapfile is from bash 4: use a read loop",
    r"\b(declare|local|typeset)\s+-\w*[Ang]": "associative arrays, -n and -g are from bash 4",
    r"\$\{\w+(\[[^]]*\])?(\^|,)": "changing case by ${x^^} or ${x,,} is from bash 4",
    r"\$\{\w+(\[[^]]*\])?@[A-Za-z]\}": "${x@Q} is from bash 4.4",
    r"\$\{\w+\[-\d": "negative indices are from bash 4.3",
    r"\|&|&>>": "|& and &>> are from bash 4",
    r"\bcoproc\b|\bwait -n\b|;;?&\s*$": "coproc, wait -n and ;;& are from bash 4",
    r"\[\[? -v |\bshopt -s (globstar|lastpipe|inherit_errexit)": "-v and these options are from bash 4",
    r"\bEPOCHSECONDS\b|\bEPOCHREALTIME\b|\bBASHPID\b": "this variable is from bash 4 or later",
    r"printf\s+(-v\s+\w+\s+)?['\"]%\(": "printf %(…)T is from bash 4.2",
    r"\bread\b[^|;]*\s-[a-zA-Z]*[iN]\b": "read -i and -N are from bash 4",
    # Before bash 4.4, an empty array counts as an unset variable.
    r"(?<!\+)\"\$\{(?!BASH_REMATCH)\w+\[@\]\}\"": 'with set -u, write ${x[@]+"${x[@]}"}',
    r"\bdate\b[^|;)]*\s(-d|-I|--)": "GNU date: use date +%s and arithmetic",
    r"\bsed\b[^|;]*\s(-i(?!\s*'')|-r|-z|--)": "GNU sed",
    r"\bgrep\b[^|;]*\s(-\w*P|--)": "GNU grep",
    r"\b(readlink\s+-[fem]|realpath|tac|timeout|numfmt|shuf|seq|nproc|sort\s+-\w*V|base64\s+-w)\b": "BSD lacks it",
    r"\b(stat\s+-c|find\b.*-printf|xargs\s+-\w*r|head\s+-n\s*-|cut\b.*--|mktemp\s+--|cp\s+--|rm\s+--)": "GNU only",
    r"^\s*(sha256sum|md5sum)\b": "BSD has shasum",
}
# Arrays that are never empty where they are expanded.
NEVER_EMPTY = ("tags", "overrides", "failed")


def unportable(script: str) -> list[str]:
    """The lines that need more than bash 3.2 and POSIX tools, with the reason."""
    found = []
    for number, line in enumerate(script.splitlines(), 1):
        code = re.sub(r"(^|\s)#.*", "", line)
        for name in NEVER_EMPTY:
            code = code.replace(f'"${{{name}[@]}}"', "")
        found += [
            f"line {number}: {reason}: {line.strip()}" for it, reason in UNPORTABLE.items() if re.search(it, code)
        ]
    return found
