"""Put the objects of a PDF in a fixed order.

svg2pdf, which vl-convert uses, lists resources and numbers fonts in the order of randomly seeded
hash tables, so that the same figure gives different bytes in each run.
"""

import re
from itertools import pairwise

_REFERENCE = re.compile(rb"\b(\d+) 0 R\b")
_RESOURCES = re.compile(rb"(?:^ +/[A-Za-z]+\d+ \d+ 0 R\n){2,}", re.MULTILINE)
_ENTRY = re.compile(rb"(\d{10}) \d{5} ([nf])")


def canonical(pdf: bytes) -> bytes:
    """`pdf`, with a plain cross-reference table, renumbered in the order of use from its root.

    Resources are sorted by name first; what nothing refers to is left out.
    """
    table_start = int(pdf[pdf.rindex(b"startxref") :].split()[1])
    table, trailer = pdf[table_start : pdf.rindex(b"startxref")].split(b"trailer")
    starts = {n: int(e[1]) for n, e in enumerate(_ENTRY.finditer(table)) if e[2] == b"n"}
    bounds = sorted([*starts.values(), table_start])
    ends = dict(pairwise(bounds))
    objects = {n: _split(pdf[start : ends[start]]) for n, start in starts.items()}

    numbers: dict[int, int] = {}
    queue = [int(n) for n in _REFERENCE.findall(trailer)]
    for old in queue:
        if old not in numbers:
            numbers[old] = len(numbers) + 1
            queue += [int(n) for n in _REFERENCE.findall(objects[old][0])]

    def renumber(dictionary: bytes) -> bytes:
        return _REFERENCE.sub(lambda ref: b"%d 0 R" % numbers[int(ref[1])], dictionary)

    result = bytearray(pdf[: bounds[0]])
    entries = [b"0000000000 65535 f\r\n"]
    for old, new in numbers.items():
        dictionary, stream = objects[old]
        entries.append(b"%010d 00000 n\r\n" % len(result))
        result += b"%d 0 obj\n" % new + renumber(dictionary) + stream
    count = len(entries)
    trailer = re.sub(rb"/Size \d+", b"/Size %d" % count, renumber(trailer))
    table_start = len(result)
    result += b"xref\n0 %d\n" % count + b"".join(entries) + b"trailer" + trailer
    return bytes(result + b"startxref\n%d\n%%%%EOF" % table_start)


def _split(whole: bytes) -> tuple[bytes, bytes]:
    """(dictionary with sorted resources, stream with the rest) of the object `n 0 obj …`."""
    body = whole.split(b"obj\n", 1)[1]
    dictionary, mark, stream = body.partition(b"\nstream\n")
    resources = _RESOURCES.sub(
        lambda entries: b"".join(sorted(entries[0].splitlines(keepends=True))), dictionary
    )
    return resources, mark + stream
