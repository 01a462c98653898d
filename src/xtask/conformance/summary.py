#!/usr/bin/env python3
"""Prints what the reports of the conformance suite say: counts for each special interest group, and the names of what
failed. Ends with 1 where something failed that outdated.txt does not name, or nothing ran."""

import collections
import pathlib
import re
import sys
import xml.etree.ElementTree as xml

GROUP = re.compile(r"^\[([\w-]+(?:\.io)?)\]")


def cases(folder):
    """What ran, from the reports of every process: name, whether it passed, and the first line of why not."""
    for report in sorted(pathlib.Path(folder).glob("*/junit_*.xml")):
        for case in xml.parse(report).getroot().iter("testcase"):
            failure = case.find("failure")
            if case.find("skipped") is None:
                yield case.get("name"), failure is None, (failure.text or "").strip() if failure is not None else ""


def outdated():
    """What fails against the Kubernetes that is served, too: patterns of names, and why."""
    lines = pathlib.Path(__file__).with_name("outdated.txt").read_text().splitlines()
    return [line.split("\t") for line in lines if line and not line.startswith("#")]


def main():
    groups = collections.defaultdict(lambda: [0, 0, 0])
    known, failed = outdated(), []
    for name, passed, why in cases(sys.argv[1]):
        reason = None if passed else next((reason for pattern, reason in known if re.search(pattern, name)), None)
        group = GROUP.match(name)
        if group:
            groups[group.group(1)][0 if passed else 2 if reason else 1] += 1
        if reason:
            print(f"outdated: {name}\n    {reason}")
        elif not passed:
            failed.append((name, why))
    for name, why in sorted(failed):
        # The first line is a place in the suite's sources.
        said = [line for line in why.splitlines() if not line.startswith("/")]
        print(f"failed: {name}\n    {next(iter(said), '')}")
    print(f"{'':24}{'run':>6}{'passed':>8}{'failed':>8}{'outdated':>10}")
    for name, counts in sorted(groups.items()) + [("all", [sum(c) for c in zip(*groups.values())] or [0, 0, 0])]:
        print(f"{name:24}{sum(counts):>6}{counts[0]:>8}{counts[1]:>8}{counts[2]:>10}")
    return 1 if failed or not groups else 0


if __name__ == "__main__":
    sys.exit(main())
