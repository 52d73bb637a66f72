"""Commands of manage.py in this process, for tests."""

import io

from django.core.management import call_command


def run(command: str, *args: str) -> str:
    """What the command writes."""
    output = io.StringIO()
    call_command(command, *args, stdout=output)
    return output.getvalue()
