"""make bench: records/s end to end with one worker, beside bare COPY of the same rows, on a PostgreSQL of its own."""

import os
import sys

from tests.servers import PostgreSQL, manage


def main() -> None:
    with PostgreSQL(fsync="on", full_page_writes="on", shared_buffers="256MB") as server:
        server.start()
        with server.connect() as connection:
            connection.execute("CREATE DATABASE bench")
        os.environ |= {"DATABASE_URL": server.url("bench"), "DJANGO_SETTINGS_MODULE": "tutormax.settings"}
        manage("migrate", "--verbosity=0", database_url=os.environ["DATABASE_URL"])
        import django

        django.setup()
        from bench import pipeline

        pipeline.run(int(sys.argv[1]) if len(sys.argv) > 1 else 50_000)


if __name__ == "__main__":
    main()
