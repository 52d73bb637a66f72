"""The warnings on top of the dashboard: what is wrong, what to do about it, and where."""

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
from django.utils.http import urlencode
from django.utils.safestring import SafeString

from console import senders
from console.personal import for_user
from console.templatetags.formatting import age, moment
from enrichment import stats
from enrichment.models import BulkAction, Pruning
from ingestion import backlog
from ingestion.models import EXPIRES_SOON, ApiKey, Delivery, PausedStream
from ingestion.text import cut, duration, plain, thousands

MAX_PENDING_AGE = timedelta(hours=1)
MAX_TIME_AWAY = timedelta(minutes=10)
"""Of a provider, before there is an alarm."""
MAX_TIME_WITHOUT_PRUNING = timedelta(days=3)
MAX_NAMED = 5
"""Keys or bulk actions named in one alarm."""


@dataclass(frozen=True, kw_only=True)
class Alarm:
    title: str
    detail: SafeString | str
    advice: SafeString | str
    """What to do."""
    kind: str = "dead"
    """Its colour, as of a badge."""
    page: str = ""
    link_text: str = ""


def alarms(
    user: Any, numbers: Sequence[stats.StreamNumbers], work: Mapping[str, Any], *, late: int, dead: int, processed: int
) -> list[Alarm]:
    """The worst first. `work` is the result of worker_stats(), `late` of late_by(); `dead` and `processed` are of the
    last hour; keys and bulk actions only for who may see them.
    """
    paused = list(PausedStream.objects.order_by("at", "stream"))
    pending = {each.stream: each.pending for each in numbers}
    found = [
        *no_cluster(work, sum(pending.values())),
        *late_workers(late, sum(pending.values())),
        *limits_reached(numbers),
        *bad_data(dead, processed),
        *failing_deliveries(),
        *overdue_records(numbers, {each.stream for each in paused}),
        *paused_streams(user, paused, pending),
        *retention_overdue(user),
    ]
    if user.has_perm("enrichment.view_lookup"):
        found += provider_alarms(user, work["providers"])
    if user.has_perm("enrichment.view_bulkaction"):
        found += failing_bulk_actions(user)
    if user.has_perm("ingestion.view_apikey"):
        found += expiring_keys()
    if user.has_perm("enrichment.view_ambiguouslookup"):
        found += ambiguous_lookups(work["providers"])
    return found


def no_cluster(work: Mapping[str, Any], pending: int) -> Iterator[Alarm]:
    if not work["alive"]:
        last = work["last_run"]
        task = format_html("Last task {} ago", age(last)) if last else "No task has run yet"
        queued = _count(pending, "record is", "records are") if pending else "new records are accepted and"
        yield Alarm(
            title="No workers running.",
            detail=format_html("{}; {} queued.", task, queued),
            advice=format_html("Start them with {}.", _code("python manage.py qcluster")),
        )


def late_workers(late: int, pending: int) -> Iterator[Alarm]:
    if late:
        yield Alarm(
            kind="waiting",
            title="Workers are late:",
            detail=f"last task {late} s ago; {_count(pending, 'record is', 'records are')} queued.",
            advice=format_html("If this lasts, check the service that runs {}.", _code("qcluster")),
        )


def bad_data(dead: int, processed: int) -> Iterator[Alarm]:
    if stats.is_bad_data(dead, processed):
        yield Alarm(
            title="Dead letters are rising.",
            detail=f"{thousands(dead)} in the last hour, {_percent(dead, processed)} of the records processed.",
            advice="Check the top errors: usually one client has changed its records.",
            page=f"{reverse('admin:enrichment_deadletter_changelist')}?age=1h",
            link_text="Dead letters of the last hour",
        )


def _percent(part: int, whole: int) -> str:
    return f"{100 * part / max(part, whole):.0f} %"


def limits_reached(numbers: Sequence[stats.StreamNumbers]) -> Iterator[Alarm]:
    pending = backlog.count_pending()
    for stream in pending.full_streams():
        yield Alarm(
            title=f"The queue of {stream} is full; new {stream} are rejected.",
            detail=f"{_count(pending.by_stream[stream], 'record is', 'records are')} pending. The limit of each stream"
            " is MAX_PENDING_RECORDS; clients receive status 503. Other streams are not affected.",
            advice="Add workers, or wait: records are accepted again as soon as the queue is shorter.",
            page=_pending_deliveries(stream=stream),
            link_text=f"Pending deliveries of {stream}",
        )
    lowest = min(settings.MAX_CLIENT_DEAD_LETTERS, settings.MAX_CLIENT_WAITING_RECORDS)
    may_be = sum(each.dead + each.waiting for each in numbers) >= lowest
    held = backlog.count_held() if may_be else backlog.Held()
    if reached := [share for share in backlog.shares(pending, held) if share.is_reached]:
        yield client_limits(reached)


def client_limits(reached: Sequence[backlog.Share]) -> Alarm:
    """The limits that clients have reached."""
    names = senders.key_names(share.client for share in reached[:MAX_NAMED])
    texts = [(senders.display_name(share.client, names), share.text) for share in reached[:MAX_NAMED]]
    model, what = ("deadletter", "Dead letters")
    if reached[0].setting == "MAX_CLIENT_WAITING_RECORDS":
        model, what = ("waitingrecord", "Waiting records")
    return Alarm(
        title="Clients have reached a limit; their new records are rejected.",
        detail=format_html(
            "{}{}. They receive status 429; others are not affected.",
            format_html_join("; ", "{}: {}", texts),
            " and more" if len(reached) > MAX_NAMED else "",
        ),
        advice="Pending records are processed by themselves. Records that lack a reference resume when it is sent. Dead"
        " letters have to be fixed or discarded.",
        page=f"{reverse(f'admin:enrichment_{model}_changelist')}?{urlencode({'client': reached[0].client})}",
        link_text=f"{what} of the first client",
    )


CAUSES = {
    "store": ("a database error", "If a database error persists, open the delivery for details."),
    "code": ("an application error", "An application error is a bug in the software: report it."),
}


def failing_deliveries() -> Iterator[Alarm]:
    numbers = {cause: number for cause, number in stats.failing_deliveries().items() if number}
    if numbers:
        causes = " and ".join(f"{thousands(number)} with {CAUSES[cause][0]}" for cause, number in numbers.items())
        advice = " ".join(CAUSES[cause][1] for cause in numbers)
        yield Alarm(
            title=f"{_count(sum(numbers.values()), 'delivery is', 'deliveries are')} failing.",
            detail=f"Last attempt failed: {causes}. No data is lost.",
            advice=f"Retrying automatically. {advice}",
            page=_pending_deliveries(status="failing"),
            link_text="Failing deliveries",
        )


def overdue_records(numbers: Sequence[stats.StreamNumbers], paused: set[str]) -> Iterator[Alarm]:
    limit = timezone.now() - MAX_PENDING_AGE
    late = [each for each in numbers if each.oldest and each.oldest < limit and each.stream not in paused]
    if late:
        pages = [(_pending_deliveries(stream=each.stream), each.stream, age(each.oldest)) for each in late]
        yield Alarm(
            title="Records have been pending for more than an hour.",
            detail=format_html("Oldest: {}.", format_html_join(", ", '<a href="{}">{}</a> for {}', pages)),
            advice="Check that workers are running and deliveries are not failing; otherwise add workers.",
        )


def paused_streams(user: Any, paused: Sequence[PausedStream], pending: Mapping[str, int]) -> Iterator[Alarm]:
    may_resume = user.has_perm("ingestion.control_streams")
    may_view = user.has_perm("ingestion.view_pausedstream")
    for each in paused:
        number = pending.get(each.stream, 0)
        yield Alarm(
            kind="waiting",
            title=f"Stream {each.stream} is paused.",
            detail=format_html(
                'Paused by {} at {}{} <a href="{}">{}</a> {} pending; new records are accepted and queued.',
                plain(each.by),
                moment(each.at),
                f": {cut(plain(each.reason), 300)}" if each.reason else ".",
                _pending_deliveries(stream=each.stream),
                _count(number, "record", "records"),
                "is" if number == 1 else "are",
            ),
            advice="Resume when ready." if may_resume else "An operator can resume it.",
            page=reverse("admin:control") if may_view else "",
            link_text="Streams",
        )


def retention_overdue(user: Any) -> Iterator[Alarm]:
    """Deliveries older than RETENTION are still stored, and no run has ended lately; nothing where retention is off."""
    if not settings.RETENTION:
        return
    now = timezone.now()
    before = now - timedelta(seconds=settings.RETENTION)
    oldest = Delivery.objects.order_by("pk").values("pk")[:1000]
    last = Pruning.objects.exclude(finished_at=None).order_by("-finished_at").values_list("finished_at", flat=True)
    pruned = last.first()
    is_old = Delivery.objects.filter(pk__in=oldest, processed_at__lt=before).exists()
    if is_old and (pruned is None or pruned < now - MAX_TIME_WITHOUT_PRUNING):
        run = format_html("The last run ended {} ago", age(pruned)) if pruned else "It has never run"
        yield Alarm(
            kind="waiting",
            title="Retention is not running; tables keep growing.",
            detail=format_html(
                "{}; deliveries processed more than {} ago are still stored.", run, duration(settings.RETENTION)
            ),
            advice=format_html("Check its schedule, or start it now with {}.", _code("python manage.py prune")),
            page=reverse("admin:enrichment_pruning_changelist") if user.has_perm("enrichment.view_pruning") else "",
            link_text="Retention",
        )


def provider_alarms(user: Any, providers: Sequence[Mapping[str, Any]]) -> Iterator[Alarm]:
    """Those that are not being asked. One without a key only while questions wait for it."""
    page = (
        reverse("admin:enrichment_providerstate_changelist") if user.has_perm("enrichment.view_providerstate") else ""
    )
    for each in providers:
        found = _provider_alarm(user, each)
        if found:
            title, advice, kind = found
            since = format_html(" Since {}.", moment(each["since"])) if each["since"] else ""
            yield Alarm(
                kind=kind,
                title=f"{each['label']} {title}",
                detail=format_html(
                    "{}{} {} open.",
                    cut(plain(_sentence(each["why"])), 300),
                    since,
                    _count(each["open"], "lookup is", "lookups are"),
                ),
                advice=advice,
                page=page,
                link_text="Providers",
            )


def _provider_alarm(user: Any, provider: Mapping[str, Any]) -> tuple[str, str, str] | None:
    """(the rest of the title, advice, colour)."""
    match provider["waiting_for"]:
        case "key_refused":
            advice = "Set a valid key and restart, or resume when the present one is valid again."
            return "refuses the key.", advice, "dead"
        case "away" if provider["since"] and provider["since"] < timezone.now() - MAX_TIME_AWAY:
            return "is away.", "Retrying automatically; check its status page if this lasts.", "dead"
        case "paused":
            may_resume = user.has_perm("enrichment.control_providers")
            return "is paused.", "Resume when ready." if may_resume else "An operator can resume it.", "waiting"
        case "no_key" if provider["open"]:
            return "is off.", "Set the key and restart: open lookups are asked then.", "waiting"
    return None


def _sentence(text: str) -> str:
    return text if text.endswith((".", "!", "?")) else f"{text}."


def ambiguous_lookups(providers: Sequence[Mapping[str, Any]]) -> Iterator[Alarm]:
    numbers = {each["label"]: each["ambiguous"] for each in providers if each["ambiguous"]}
    if numbers:
        yield Alarm(
            kind="waiting",
            title=f"{_count(sum(numbers.values()), 'lookup is', 'lookups are')} ambiguous.",
            detail=", ".join(f"{label}: {thousands(number)}" for label, number in numbers.items()) + ".",
            advice="Choose the right candidate of each.",
            page=reverse("admin:enrichment_ambiguouslookup_changelist"),
            link_text="Ambiguous lookups",
        )


def failing_bulk_actions(user: Any) -> Iterator[Alarm]:
    failing = BulkAction.objects.unfinished().exclude(last_error="").order_by("pk")
    for action in for_user(user, failing)[:MAX_NAMED]:
        yield Alarm(
            title=f"Bulk action {action.pk} ({action.kind}) is failing.",
            detail=format_html(
                "{} of {} records done. Last step failed: {}",
                thousands(action.count),
                thousands(action.total),
                cut(plain(action.last_error), 300),
            ),
            advice="Retrying automatically; report it if it persists.",
            page=reverse("admin:enrichment_bulkaction_change", args=[action.pk]),
            link_text=f"Bulk action {action.pk}",
        )


def expiring_keys() -> Iterator[Alarm]:
    """Keys whose client has no other key that lives longer."""
    now = timezone.now()
    outlives = Q(expiry_date=None) | Q(expiry_date__gt=OuterRef("expiry_date"))
    later = ApiKey.objects.filter(outlives, client=OuterRef("client"), created__gt=OuterRef("created"), revoked=False)
    soon = ApiKey.objects.filter(revoked=False, expiry_date__range=(now, now + EXPIRES_SOON)).exclude(Exists(later))
    keys = list(soon.order_by("expiry_date", "prefix")[: MAX_NAMED + 1])
    if keys:
        links = [
            (reverse("admin:ingestion_apikey_change", args=[key.prefix]), plain(key.name), _time_left(key))
            for key in keys[:MAX_NAMED]
        ]
        yield Alarm(
            kind="waiting",
            title="API keys expire within a week.",
            detail=format_html(
                "{}{}.",
                format_html_join(", ", '<a href="{}">{}</a> in {}', links),
                " and more" if len(keys) > MAX_NAMED else "",
            ),
            advice="Rotate them: the client gets a new key, and the old one keeps working until it expires.",
            page=f"{reverse('admin:ingestion_apikey_changelist')}?status=soon",
            link_text="Keys expiring soon",
        )


def _time_left(key: ApiKey) -> str:
    return duration((key.expiry_date - timezone.now()).total_seconds()) if key.expiry_date else "–"


def _count(number: int, one: str, many: str) -> str:
    return f"{thousands(number)} {one if number == 1 else many}"


def _code(text: str) -> SafeString:
    return format_html("<code>{}</code>", text)


def _pending_deliveries(*, status: str = "pending", stream: str = "") -> str:
    query = f"status={status}" + (f"&stream={stream}" if stream else "")
    return f"{reverse('admin:ingestion_delivery_changelist')}?{query}"
