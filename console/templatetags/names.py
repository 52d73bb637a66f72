"""How pages name a failed record, and the part of the menu that they belong to."""

from typing import Any

from django import template
from django.contrib import admin

from enrichment.models import HeldRecord
from ingestion import streams
from ingestion.text import first_message, plain

register = template.Library()


@register.filter
def menu_heading(opts: Any) -> str:
    """Of a model, by its `_meta`."""
    site: Any = admin.site
    return str(site.heading_of(opts))


@register.filter
def noun(stream: str) -> str:
    """For one record of the stream: the singular, or the stream's own name where it is not registered."""
    return str(streams.get(stream).model._meta.verbose_name) if stream in streams.names() else stream


@register.filter
def display_key(held: HeldRecord) -> str:
    return plain(held.key) or f"no ID · delivery {held.delivery_id}, #{held.position + 1}"


@register.filter
def name_of(held: HeldRecord) -> str:
    """The noun and the key."""
    without = f"without ID (delivery {held.delivery_id}, #{held.position + 1})"
    return f"{noun(held.stream)} {plain(held.key) or without}"


@register.filter
def error_of(held: HeldRecord) -> str:
    """The first message, with the value at fault, which `message` has not."""
    return first_message(held.messages) or held.message
