"""Records for people and programs: a zone file, a table for a provider's form, JSON."""

import json
from collections.abc import Iterable, Iterator, Sequence

from chatmail_relay.zone.needed import TTL, Facts, Record, records, remarks

FORMATS = ("zone", "table", "json")


def shown(facts: Facts, style: str, zone: str = "") -> str:
    """All records of a relay in one of FORMATS; names relative to ZONE in the table."""
    if style == "json":
        return _json(facts)
    return "\n".join(_table(facts, zone) if style == "table" else _zone_file(facts))


def _parts(facts: Facts) -> Iterator[tuple[str, list[Record]]]:
    everything = records(facts)
    yield "required", [record for record in everything if record.required]
    yield "recommended", [record for record in everything if not record.required]


def _zone_file(facts: Facts) -> Iterator[str]:
    width = max(len(record.name) for record in records(facts)) + 1
    yield from (f"; {line}" for line in remarks(facts))
    for title, part in _parts(facts):
        yield f"; {title}"
        for record in part:
            yield f"{record.name + '.':{width}} {TTL} IN {record.kind:5} {record.data}"


def _table(facts: Facts, zone: str) -> Iterator[str]:
    """Columns as forms have them: a priority of its own, texts whole and without quotes."""
    for title, part in _parts(facts):
        rows = [_row(record, zone) for record in part]
        yield from _aligned([(title, "type", "priority", "value"), *rows])
        yield ""
    yield from remarks(facts)
    if not zone:
        yield "Where the form adds the zone's name by itself, leave that part of the names out:"
        yield "with --zone and its name this table does."
    yield "Where the form takes no priority and no weight, they go before the value."


def _row(record: Record, zone: str) -> tuple[str, str, str, str]:
    priority, value = "", record.value
    if record.kind in ("MX", "SRV"):
        priority, value = value.split(" ", 1)
    return relative(record.name, zone), record.kind, priority, value


def relative(name: str, zone: str) -> str:
    """NAME as a form of the zone ZONE wants it: without that, `@` for the zone itself."""
    if name == zone:
        return "@"
    return name.removesuffix(f".{zone}") if zone else name


def _aligned(rows: Sequence[tuple[str, ...]]) -> Iterable[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        cells = (f"{cell:{width}}" for cell, width in zip(row, widths, strict=True))
        yield "  ".join(cells).rstrip()


def _json(facts: Facts) -> str:
    shown = [
        {
            "name": record.name,
            "type": record.kind,
            "ttl": TTL,
            "value": record.value,
            "data": record.data,
            "required": record.required,
        }
        for record in records(facts)
    ]
    whole = {"domain": facts.domain, "records": shown, "remarks": remarks(facts)}
    return json.dumps(whole, indent=2)
