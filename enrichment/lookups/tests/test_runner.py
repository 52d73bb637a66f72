from __future__ import annotations

import pytest

from enrichment.lookups import want
from enrichment.lookups.models import Lookup, LookupMinute
from enrichment.lookups.runner import Runner
from enrichment.lookups.tests.conftest import Declare, ask_server
from standins.server import Server

pytestmark = pytest.mark.django_db(transaction=True)


def test_what_is_due_is_asked_and_stored(declare: Declare, server: Server) -> None:
    declare(url=server.url, ask=ask_server)
    want("oracle", "age", [f"k{n}" for n in range(40)])
    Runner().run(until_idle=True)
    assert set(Lookup.objects.values_list("status", flat=True)) == {"found"}
    assert Lookup.objects.get(key="k7").answer == {"path": "/age", "q": "k7"}
    assert len(server.arrivals) == 40
    assert LookupMinute.objects.values_list("requests", "found").get() == (40, 40)
