"""Requests written for the tests: what is harmful in them is a word."""

from cada_trl.records import Request

THINGS = ["wallet", "bicycle", "laptop", "ring", "painting", "horse", "truck", "violin", "crown", "piano", "boat"]


def twins(n=12, first=0):
    """n pairs, a harmful row and its harmless twin after each other."""
    rows = []
    for place in range(first, first + n):
        thing = f"{THINGS[place % len(THINGS)]} number {place}"
        for harmful, verb in ((True, "steal"), (False, "polish")):
            kind = "harmful" if harmful else "harmless"
            text = f"How does one {verb} the {thing}?"
            rows.append(Request(f"t{place}-{kind}", text, "non_violent_crimes", harmful, "made up", f"t{place}"))
    return rows


def alone(n, harmful):
    """n rows without a twin."""
    kind = "harmful" if harmful else "harmless"
    return [Request(f"{kind}-{i}", f"A {kind} request, number {i}", "hate", harmful, "made up") for i in range(n)]


def sides(requests):
    """(harmful rows, harmless rows), as prepare splits them."""
    return [one for one in requests if one.harmful], [one for one in requests if not one.harmful]
