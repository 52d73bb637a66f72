"""Query strings of the API, read strictly: an unknown parameter or value is rejected, listing the allowed ones."""

from collections.abc import Collection, Mapping, Sequence
from difflib import get_close_matches

from django.http import QueryDict

from ingestion.refusals import RequestRejected
from ingestion.text import strip_unstorable

MAX_NAMES_WITHOUT_HINT = 12
"""In a list of so many names the right one is easily found."""


def read_query(query: QueryDict, allowed: Collection[str]) -> dict[str, str]:
    """The parameters. Rejects (400) unknown ones, listing the allowed ones, and empty or repeated ones."""
    if unknown := [name for name in query if name not in allowed]:
        fields = {name: ["unknown parameter"] for name in unknown}
        problem = f"Unknown parameter{'s' if len(unknown) > 1 else ''} {strip_unstorable(', '.join(unknown), 200)}."
        hint = _suggestion(unknown, allowed) if len(allowed) > MAX_NAMES_WITHOUT_HINT else ""
        raise RequestRejected(400, f"{problem}{hint} Allowed: {', '.join(allowed) or 'none'}.", fields=fields)
    for name, values in query.lists():
        if len(values) > 1 or not values[0]:
            raise RequestRejected(
                400, f"{name} must be given once, with a value.", fields={name: ["must have one value"]}
            )
    return {name: str(value) for name, value in query.items()}


def _suggestion(unknown: Collection[str], allowed: Collection[str]) -> str:
    close = dict.fromkeys(name for wrong in list(unknown)[:3] for name in get_close_matches(wrong[:100], allowed))
    return f" Did you mean {' or '.join(close)}?" if close else ""


FLAGS = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
"""As in the cells of a CSV file."""


def read_flag(query: Mapping[str, str], name: str) -> bool:
    """Whether a parameter is true; false where it is absent. Refuses (400) what is neither."""
    value = FLAGS.get(query.get(name, "false").lower())
    if value is None:
        message = "must be one of: true, false"
        raise RequestRejected(400, f"{name} {message}.", fields={name: [message]})
    return value


def read_choice(query: Mapping[str, str], name: str, allowed: Sequence[str]) -> str:
    """The value of a parameter; the first allowed one if it is absent. Rejects (400) any other."""
    value = query.get(name, allowed[0])
    if value not in allowed:
        message = f"must be one of: {', '.join(allowed)}"
        raise RequestRejected(400, f"{name} {message}.", fields={name: [message]})
    return value
