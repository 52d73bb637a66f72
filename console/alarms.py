"""What stands first on the dashboard: what is wrong, what to do about it, and where."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db.models import Exists, OuterRef, Q
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from console.templatetags.formatting import age, moment
from enrichment import stats
from enrichment.models import BulkAction, Pruning
from ingestion.models import EXPIRES_SOON, ApiKey, Delivery, PausedStream
from ingestion.text import cut, duration, plain, thousands

TOO_OLD = timedelta(hours=1)
"""Of what is pending."""
PRUNED_WITHIN = timedelta(days=3)
MOST_NAMED = 5
"""Keys or bulk actions of one alarm."""


@dataclass(frozen=True, kw_only=True)
class Alarm:
    title: str
    told: SafeString | str
    advice: SafeString | str
    """What to do."""
    kind: str = "dead"
    """Its colour, as of a badge."""
    page: str = ""
    link: str = ""


def alarms(user: Any, numbers: Sequence[stats.StreamNumbers], work: Mapping[str, Any]) -> list[Alarm]:
    """The worst first. `work` is what worker_stats() said; keys and bulk actions only for who may see them."""
    paused = list(PausedStream.objects.order_by("at", "stream"))
    found = [
        *nobody_works(work, sum(each.pending for each in numbers)),
        *refusing(sum(each.pending for each in numbers)),
        *failing_now(),
        *too_old(numbers, {each.stream for each in paused}),
        *is_paused(user, paused, {each.stream: each.pending for each in numbers}),
        *growing(user),
    ]
    if user.has_perm("enrichment.view_bulkaction"):
        found += failing_bulk_actions()
    if user.has_perm("ingestion.view_apikey"):
        found += expiring_keys()
    return found


def nobody_works(work: Mapping[str, Any], pending: int) -> Iterator[Alarm]:
    if not work["alive"]:
        last = work["last_run"]
        told = format_html("The last task ran {} ago. ", age(last)) if last else "None has ever run a task. "
        left = _records(pending) if pending else "What arrives is kept, and"
        yield Alarm(
            title="No cluster is alive.",
            told=format_html("{}{} will stay pending until one runs.", told, left),
            advice=format_html("Start one with {}.", _code("python manage.py qcluster")),
        )


def refusing(pending: int) -> Iterator[Alarm]:
    if pending >= settings.MAX_PENDING_RECORDS:
        yield Alarm(
            title="No records are taken in.",
            told=f"{_records(pending)} are pending, as many as MAX_PENDING_RECORDS allows: clients are answered 503.",
            advice="Start more workers, or wait: it ends by itself when they have caught up.",
            page=_list_of_pending(),
            link="Pending deliveries",
        )


FAULTS = {
    "store": ("the database", "if it lasts, look at what the error says"),
    "code": ("our code", "in vain until that is fixed: report it"),
}


def failing_now() -> Iterator[Alarm]:
    numbers = {fault: number for fault, number in stats.failing_deliveries().items() if number}
    if numbers:
        whose = " and ".join(f"{thousands(number)} by {FAULTS[fault][0]}" for fault, number in numbers.items())
        again = "; ".join(dict.fromkeys(FAULTS[fault][1] for fault in numbers))
        yield Alarm(
            title=f"{_counted(sum(numbers.values()), 'delivery is', 'deliveries are')} failing.",
            told=f"Their last try ended in an error, {whose}. Nothing is lost.",
            advice=f"They are tried again by themselves; {again}.",
            page=_list_of_pending(status="failing"),
            link="Deliveries failing",
        )


def too_old(numbers: Sequence[stats.StreamNumbers], paused: set[str]) -> Iterator[Alarm]:
    limit = timezone.now() - TOO_OLD
    late = [each for each in numbers if each.oldest and each.oldest < limit and each.stream not in paused]
    if late:
        pages = [(_list_of_pending(stream=each.stream), each.stream, age(each.oldest)) for each in late]
        yield Alarm(
            title="Records have been pending for more than an hour.",
            told=format_html("The oldest: {}.", format_html_join(", ", '<a href="{}">{}</a> for {}', pages)),
            advice="Look whether a cluster is alive and their deliveries are failing; else it takes more workers.",
        )


def is_paused(user: Any, paused: Sequence[PausedStream], pending: Mapping[str, int]) -> Iterator[Alarm]:
    may_resume = user.has_perm("ingestion.control_streams")
    may_look = user.has_perm("ingestion.view_pausedstream")
    for each in paused:
        number = pending.get(each.stream, 0)
        yield Alarm(
            kind="waiting",
            title=f"The stream {each.stream} is paused.",
            told=format_html(
                'By {}, since {}{} <a href="{}">{}</a> {} pending, and what arrives is kept.',
                plain(each.by),
                moment(each.at),
                f": {cut(plain(each.reason), 300)}" if each.reason else ".",
                _list_of_pending(stream=each.stream),
                _records(number),
                "is" if number == 1 else "are",
            ),
            advice="Resume it when the reason is gone." if may_resume else "An operator can resume it.",
            page=reverse("admin:control") if may_look else "",
            link="Control",
        )


def growing(user: Any) -> Iterator[Alarm]:
    """What is older than the retention is there still, and nobody has been deleting it; nothing where it is off."""
    if not settings.RETENTION:
        return
    now = timezone.now()
    before = now - timedelta(seconds=settings.RETENTION)
    oldest = Delivery.objects.order_by("pk").values("pk")[:1000]
    last = Pruning.objects.exclude(finished_at=None).order_by("-finished_at").values_list("finished_at", flat=True)
    pruned = last.first()
    is_old = Delivery.objects.filter(pk__in=oldest, processed_at__lt=before).exists()
    if is_old and (pruned is None or pruned < now - PRUNED_WITHIN):
        since = format_html("The last run of retention ended {} ago", age(pruned)) if pruned else "It has never run"
        yield Alarm(
            kind="waiting",
            title="The tables grow without pruning.",
            told=format_html("{}, with deliveries processed more than {} ago.", since, duration(settings.RETENTION)),
            advice=format_html("See that its schedule runs, or start {}.", _code("python manage.py prune")),
            page=reverse("admin:enrichment_pruning_changelist") if user.has_perm("enrichment.view_pruning") else "",
            link="Retention",
        )


def failing_bulk_actions() -> Iterator[Alarm]:
    for bulk_action in BulkAction.objects.unfinished().exclude(last_error="").order_by("pk")[:MOST_NAMED]:
        told = "{} of {} records are done. The last step ended in: {}"
        yield Alarm(
            title=f"Bulk action {bulk_action.pk} ({bulk_action.kind}) is failing.",
            told=format_html(
                told,
                thousands(bulk_action.count),
                thousands(bulk_action.total),
                cut(plain(bulk_action.last_error), 300),
            ),
            advice="The step is tried again by itself. If it lasts, report the error.",
            page=reverse("admin:enrichment_bulkaction_change", args=[bulk_action.pk]),
            link=f"Bulk action {bulk_action.pk}",
        )


def expiring_keys() -> Iterator[Alarm]:
    """Keys of which the client has no other that lives longer."""
    now = timezone.now()
    outlives = Q(expiry_date=None) | Q(expiry_date__gt=OuterRef("expiry_date"))
    later = ApiKey.objects.filter(outlives, client=OuterRef("client"), created__gt=OuterRef("created"), revoked=False)
    soon = ApiKey.objects.filter(revoked=False, expiry_date__range=(now, now + EXPIRES_SOON)).exclude(Exists(later))
    keys = list(soon.order_by("expiry_date", "prefix")[: MOST_NAMED + 1])
    if keys:
        named = [
            (reverse("admin:ingestion_apikey_change", args=[key.prefix]), plain(key.name), _in(key))
            for key in keys[:MOST_NAMED]
        ]
        yield Alarm(
            kind="waiting",
            title="API keys expire within a week.",
            told=format_html(
                "{}{}.",
                format_html_join(", ", '<a href="{}">{}</a> in {}', named),
                " and more" if len(keys) > MOST_NAMED else "",
            ),
            advice="Replace them: the new key is of the same client, and the old one goes on working until then.",
            page=f"{reverse('admin:ingestion_apikey_changelist')}?status=soon",
            link="Keys that expire soon",
        )


def _in(key: ApiKey) -> str:
    return duration((key.expiry_date - timezone.now()).total_seconds()) if key.expiry_date else "–"


def _records(number: int) -> str:
    return _counted(number, "record", "records")


def _counted(number: int, one: str, many: str) -> str:
    return f"{thousands(number)} {one if number == 1 else many}"


def _code(text: str) -> SafeString:
    return format_html("<code>{}</code>", text)


def _list_of_pending(*, status: str = "pending", stream: str = "") -> str:
    query = f"status={status}" + (f"&stream={stream}" if stream else "")
    return f"{reverse('admin:ingestion_delivery_changelist')}?{query}"
