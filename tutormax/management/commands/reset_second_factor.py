from typing import Any

from django.contrib.auth.models import User
from django.core.management.base import BaseCommand, CommandError, CommandParser

from console.second_factor import devices


class Command(BaseCommand):
    help = (
        "Removes a person's second factor and recovery codes, who then logs in with the password and sets it up anew."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("user", help="name of the user")

    def handle(self, *args: Any, user: str, **options: Any) -> None:
        person = User.objects.filter(username=user).first()
        if person is None:
            raise CommandError(f"There is no user {user}.")
        if not devices.remove(person):
            raise CommandError(f"{user} has no second factor.")
        self.stdout.write(f"The second factor of {user} has been removed.")
