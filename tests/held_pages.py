"""The lists of failed records in the admin: their addresses, and how an action there is asked for and confirmed."""

import re
from typing import Any

from django.test import Client

from enrichment.models import HeldRecord
from tests.people import text_of

DEAD = "/admin/enrichment/deadletter/"
WAITING = "/admin/enrichment/waitingrecord/"
ALL = "/admin/enrichment/heldrecord/"


def fields_of(text: str) -> dict[str, Any]:
    """The hidden fields of a page's confirmation."""
    form = text[text.index('<input type="hidden" name="csrfmiddlewaretoken"', text.index('id="content-main"')) :]
    found: dict[str, Any] = {}
    for name, value in re.findall(r'<input type="hidden" name="([^"]*)" value="([^"]*)"', form):
        found.setdefault(name, []).append(value)
    return found


def choose(action: str, *records: HeldRecord, **fields: Any) -> dict[str, Any]:
    """What a list or page posts to ask for an action: on these records, or without any on all that match."""
    if not records:
        return {"action": action, "select_across": "1", "_selected_action": "0", **fields}
    return {"action": action, "_selected_action": [record.pk for record in records], **fields}


def confirm(client: Client, page: str, asked: dict[str, Any], **fields: Any) -> Any:
    """Asks, and confirms on the page that comes."""
    return client.post(page, fields_of(text_of(client.post(page, asked))) | fields)
