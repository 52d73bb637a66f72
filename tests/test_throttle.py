"""THROTTLE is shared by the processes of the web server. How it counts: api/tests/test_throttling.py."""

import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

from conftest import NewDatabase
from tests.api import ask
from tests.servers import WebServer, manage

LIMIT = 2


def test_all_processes_together_let_through_no_more_than_the_limit(new_database: NewDatabase) -> None:
    url = new_database()
    key = manage("create_api_key", "test", database_url=url).stdout.strip()
    with WebServer(url, THROTTLE=str(LIMIT)) as server, ThreadPoolExecutor(8) as threads:

        def get(number: int) -> int:
            status, headers, answer = ask(f"{server.url}/api/tutors", key)
            assert status == 200 or (headers["Retry-After"], answer["error"]["code"]) == ("1", "throttled")
            return status

        began = time.monotonic()
        statuses = Counter(threads.map(get, range(80)))
        took = time.monotonic() - began
        assert set(statuses) == {200, 429}
        assert LIMIT <= statuses[200] <= LIMIT + LIMIT * took + 1
        assert "Too Many Requests" not in server.log()
        assert " WARNING " not in server.log()
