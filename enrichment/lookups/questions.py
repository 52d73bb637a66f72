"""Asking: which questions there are, in whose turn they are asked, and which further ones their answers raise."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from django.db import connection
from django.db.models import Max, Min

from enrichment.lookups.models import MAX_KEY, Lookup, LookupUpload
from enrichment.lookups.providers import Want
from enrichment.statements import batched
from ingestion.payloads import ascii_json


def want(
    provider: str,
    kind: str,
    keys: Iterable[str] | Mapping[str, Mapping[str, Any]],
    *,
    upload: int | None = None,
    turns: Mapping[str, int] | None = None,
) -> dict[str, Lookup]:
    """The lookups of these questions by key, created where nobody has asked before, each locked against being answered
    until the transaction ends: either it has its answer here, or `apply` will find what this transaction stores.

    `keys` may be a mapping of key → what the provider is sent besides. Questions of an upload take turns with those of
    others; or `turns` says for each key when it is asked, the lowest number first: for a provider of which all
    questions are given turns. An open question is moved forward by a lower number, never back. To be called in a
    transaction, in order of provider and kind, before the rows that `apply` changes are locked. ValueError for a key
    that is empty or too long.
    """
    questions = dict(keys) if isinstance(keys, Mapping) else {key: {} for key in keys}
    if not questions:
        return {}
    if turns is None:
        turn = next_turn(provider, upload)
        turns = {key: turn + number for number, key in enumerate(questions)}
    found = _create_and_lock(provider, kind, questions, turns)
    if upload is not None:
        _link((lookup.pk, upload) for lookup in found.values())
    return found


def ask(provider: str, kind: str, questions: Mapping[str, Mapping[str, Any]], turns: Mapping[str, int]) -> list[Lookup]:
    """As `want`, for those who need the lookups only where these have been answered already, which it returns: what is
    new is inserted without being read again. Nobody else sees, and answers, that before the transaction ends.
    """
    rows = [[provider, kind, key, questions[key], turns[key]] for key in sorted(questions)]
    if not rows:
        return []
    with connection.cursor() as cursor:
        cursor.execute(f"{INSERT[connection.vendor]} RETURNING key", [ascii_json(rows)])
        new = {key for (key,) in cursor.fetchall()}
    known = {key: question for key, question in questions.items() if key not in new}
    return [lookup for lookup in want(provider, kind, known, turns=turns).values() if lookup.is_settled]


def raise_wants(wants: Iterable[Want]) -> None:
    """Asks what answers have raised, each in the turn and for the uploads of the answer that raised it."""
    by_kind: dict[tuple[str, str], list[Want]] = {}
    for wanted in wants:
        by_kind.setdefault((wanted.provider, wanted.kind), []).append(wanted)
    for (provider, kind), of_kind in sorted(by_kind.items()):
        questions = {wanted.key: wanted.question for wanted in of_kind}
        turns: dict[str, int] = {}
        for wanted in of_kind:
            turn = wanted.after.turn if wanted.after else 0
            turns[wanted.key] = min(turn, turns.get(wanted.key, turn))
        found = _create_and_lock(provider, kind, questions, turns)
        led = {wanted.after.pk: found[wanted.key] for wanted in of_kind if wanted.after}
        for pk, lookup in sorted(led.items()):
            Lookup.objects.filter(pk=pk).exclude(next=lookup).update(next=lookup)
        askers = LookupUpload.objects.filter(lookup__in=led).values_list("lookup", "upload")
        _link((led[pk].pk, upload) for pk, upload in askers)


def next_turn(provider: str, upload: int | None) -> int:
    """The turn of the next question of this upload: behind its own, beside those that others are asked next.

    So an upload of 50 does not wait for one of 20,000, and many small ones do not hold up the large one for good.
    """
    waiting = Lookup.objects.open().filter(provider=provider)
    present = waiting.aggregate(turn=Min("turn"))["turn"]
    if present is None:
        return 0
    own = waiting.filter(lookupupload=None) if upload is None else waiting.of_uploads([upload])
    last = own.aggregate(turn=Max("turn"))["turn"]
    return int(present) if last is None else max(int(present), int(last) + 1)


INSERT = {
    "postgresql": """
        INSERT INTO enrichment_lookup (provider, kind, key, question, turn, candidates, how)
        SELECT item->>0, item->>1, item->>2, (item->3)::jsonb, (item->>4)::bigint, '[]', ''
        FROM json_array_elements(%s::json) AS item ON CONFLICT DO NOTHING
    """,
    "sqlite": """
        INSERT INTO enrichment_lookup (provider, kind, key, question, turn, candidates, how)
        SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]'), json_extract(value, '$[2]'),
            json_extract(value, '$[3]'), json_extract(value, '$[4]'), '[]', ''
        FROM json_each(%s) WHERE true ON CONFLICT DO NOTHING
    """,
}
LINK = {
    "postgresql": """
        INSERT INTO enrichment_lookupupload (lookup_id, upload_id)
        SELECT (item->>0)::bigint, (item->>1)::bigint FROM json_array_elements(%s::json) AS item ON CONFLICT DO NOTHING
    """,
    "sqlite": """
        INSERT INTO enrichment_lookupupload (lookup_id, upload_id)
        SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]')
        FROM json_each(%s) WHERE true ON CONFLICT DO NOTHING
    """,
}
MOVE = {
    "postgresql": """
        UPDATE enrichment_lookup SET turn = (item->>1)::bigint
        FROM json_array_elements(%s::json) AS item WHERE id = (item->>0)::bigint
    """,
    "sqlite": """
        UPDATE enrichment_lookup SET turn = json_extract(item.value, '$[1]')
        FROM json_each(%s) AS item WHERE enrichment_lookup.id = json_extract(item.value, '$[0]')
    """,
}


class Known(NamedTuple):
    pk: int
    status: str
    turn: int


def create(
    provider: str, kind: str, questions: Mapping[str, Mapping[str, Any]], turns: Mapping[str, int]
) -> dict[str, Known]:
    """By key; those that nobody has asked before are inserted, in order of key."""
    if unusable := [key for key in questions if not 0 < len(key) <= MAX_KEY]:
        raise ValueError(f"The key of a lookup has 1 to {MAX_KEY} characters, not {len(unusable[0])}.")
    known = _read(provider, kind, questions)
    new = sorted(questions.keys() - known.keys())
    if not new:
        return known
    _execute(INSERT, [[provider, kind, key, questions[key], turns.get(key, 0)] for key in new])
    return known | _read(provider, kind, new)


def _create_and_lock(
    provider: str, kind: str, questions: Mapping[str, Mapping[str, Any]], turns: Mapping[str, int]
) -> dict[str, Lookup]:
    """First all are inserted in order of key, then all locked in order of id, so that no two transactions deadlock."""
    known = create(provider, kind, questions, turns)
    # Who is in a hurry wants what a large upload has asked long since: it is moved forward, by a stronger lock.
    ahead = any(row.status == Lookup.Status.OPEN and row.turn > turns[key] for key, row in known.items())
    rows = Lookup.objects.lock((row.pk for row in known.values()), shared=not ahead)
    moved = [row for row in rows if not row.is_settled and row.turn > turns[row.key]] if ahead else []
    for row in moved:
        row.turn = turns[row.key]
    _execute(MOVE, [[row.pk, row.turn] for row in moved])
    return {row.key: row for row in rows}


def _read(provider: str, kind: str, keys: Iterable[str]) -> dict[str, Known]:
    of_kind = Lookup.objects.filter(provider=provider, kind=kind)
    return {
        key: Known(pk, status, turn)
        for part in batched(sorted(keys))
        for key, pk, status, turn in of_kind.filter(key__in=part).values_list("key", "pk", "status", "turn")
    }


def _link(pairs: Iterable[tuple[int, int]]) -> None:
    """(lookup, upload)."""
    _execute(LINK, sorted(set(pairs)))


def _execute(statement: Mapping[str, str], rows: Sequence[Sequence[Any]]) -> None:
    """For all rows at once, in a tenth of the time that bulk_create and bulk_update take."""
    if rows:
        with connection.cursor() as cursor:
            cursor.execute(statement[connection.vendor], [ascii_json(rows)])
