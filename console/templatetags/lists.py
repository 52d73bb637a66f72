"""What the lists of the admin tell of themselves."""

from django import template
from django.core.paginator import Paginator

from ingestion.text import thousands

register = template.Library()


@register.filter
def counted(paginator: Paginator) -> str:  # type: ignore[type-arg]
    """How many it lists; of one that does not count them all, that there are more."""
    number = thousands(paginator.count)
    return f"more than {number}" if getattr(paginator, "has_more", False) else number
