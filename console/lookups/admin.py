"""The lists of lookups: all of them, and those that are ambiguous."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, cast

from django.contrib import admin
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.utils import unquote
from django.contrib.admin.views.main import ChangeList
from django.core.exceptions import BadRequest, PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseBase, HttpResponseRedirect
from django.urls import URLPattern, path
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from console.base import NewestPaginator
from console.lookups import page
from console.lookups.actions import ACCEPT, ASK_AGAIN, confirm_and_run, single_candidates
from console.lookups.base import LookupListAdmin, status_badge
from console.lookups.decide import decide, lookup_page
from console.lookups.filters import (
    AskedFilter,
    HowFilter,
    KindFilter,
    OfUploadFilter,
    ProviderFilter,
    StatusFilter,
    TriesFilter,
)
from console.templatetags.formatting import age
from enrichment.lookups import providers
from enrichment.lookups.models import Lookup, LookupQuerySet
from ingestion.text import cut_short, plain, thousands

MAX_ERROR = 240
"""Characters in the list; the page of the lookup shows the rest."""
MAX_NAMED = 4
"""Candidates named in the list."""
MAX_BULK_ACTIONS = 5
MAX_COUNTED = 10_000
PERMISSIONS = {ASK_AGAIN: "ask_again", ACCEPT: "choose_answers"}


class LookupAdmin(LookupListAdmin):
    actions: Sequence[Any] = (ASK_AGAIN,)
    list_display = ["question_", "kind_", "status_", "result", "tries_", "asked"]
    list_filter = [ProviderFilter, KindFilter, StatusFilter, TriesFilter, AskedFilter, HowFilter, OfUploadFilter]
    search_fields = ("key",)
    search_help_text = "Exact key"
    change_list_template = "admin/lookups/list.html"
    paginator = NewestPaginator
    empty_value_display = ""
    list_title = "All lookups"
    empty_text = "No lookups: no record has raised a question to a provider yet."

    # Permissions and actions.

    def has_ask_again_permission(self, request: HttpRequest) -> bool:
        return self.may(request, "ask_again")

    def has_choose_answers_permission(self, request: HttpRequest) -> bool:
        return self.may(request, "choose_answers")

    # Django's own queryset of the selected is not used: an action stores a filter, which selection_of() reads.

    @admin.action(description="Ask again", permissions=["ask_again"])
    def ask_again(self, request: HttpRequest, queryset: LookupQuerySet) -> HttpResponseBase:
        return confirm_and_run(self, request, ASK_AGAIN)

    @admin.action(description="Accept the only candidate", permissions=["choose_answers"])
    def accept(self, request: HttpRequest, queryset: LookupQuerySet) -> HttpResponseBase:
        return confirm_and_run(self, request, ACCEPT)

    # The list.

    def get_queryset(self, request: HttpRequest) -> LookupQuerySet:
        lookups: LookupQuerySet = self.model._default_manager.all()
        return lookups.filter(status=self.status) if self.status else lookups

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        return (queryset.filter(key=search_term.strip()) if search_term.strip() else queryset), False

    def get_changelist_instance(self, request: HttpRequest) -> ChangeList:
        changes: Any = super().get_changelist_instance(request)
        changes.result_list = list(changes.result_list.select_related("next"))
        for lookup in changes.result_list:
            lookup.described = page.question_of(lookup)
            lookup.of_kind = changes.get_query_string({"provider": lookup.provider, "kind": lookup.kind})
            lookup.of_rule = changes.get_query_string({"how": lookup.how})
        names = page.names_apart([lookup.described for lookup in changes.result_list])
        for lookup, name in zip(changes.result_list, names, strict=True):
            lookup.name = name
        # Called by the template where it offers the actions on all matches.
        changes.buttons = lambda: self._buttons(request, changes)
        return cast("ChangeList", changes)

    def _buttons(self, request: HttpRequest, changes: Any) -> list[tuple[str, str]]:
        """(action, text): what the person may do to all matches, with their number, counted up to MAX_COUNTED."""
        matches: LookupQuerySet = changes.queryset.filter(chosen_at=None, provider__in=providers.names()).order_by()
        found = []
        for action, text in self.on_all.items():
            if self.may(request, PERMISSIONS[action]):
                of_action = matches if action == ASK_AGAIN else single_candidates(matches)
                number = of_action[:MAX_COUNTED].count()
                shown = " all" if number == MAX_COUNTED else " 1" if number == 1 else f" all {thousands(number)}"
                found += [(action, text.format(shown))] if number else []
        return found

    on_all = {ASK_AGAIN: "Ask{} again…"}
    """Actions on all matches, and their buttons."""

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        action = request.POST.get("action", "")
        if action in PERMISSIONS and not self.may(request, PERMISSIONS[action]):
            raise PermissionDenied  # Django would only say that there is no such action
        if not all(re.fullmatch("[0-9]{1,18}", pk) for pk in request.POST.getlist(ACTION_CHECKBOX_NAME)):
            raise BadRequest("Invalid selection of lookups.")
        context = {
            "title": self.list_title,
            "empty_text": self.empty_text,
            "bulk_history": page.bulk_history(MAX_BULK_ACTIONS),
        }
        return super().changelist_view(request, context | (extra_context or {}))

    @admin.display(description="question")
    def question_(self, lookup: Any) -> str:
        return cut_short(lookup.name, MAX_ERROR)

    @admin.display(description="provider, kind")
    def kind_(self, lookup: Any) -> SafeString:
        """Adds itself to the filters that are set."""
        provider = str(page.provider_of(lookup) or plain(lookup.provider))
        return format_html('{}<br><a href="{}">{}</a>', provider, lookup.of_kind, plain(lookup.kind))

    @admin.display(description="status")
    def status_(self, lookup: Lookup) -> SafeString:
        return status_badge(lookup)

    @admin.display(description="result")
    def result(self, lookup: Any) -> SafeString | str:
        if lookup.last_error:
            return cut_short(plain(lookup.last_error), MAX_ERROR)
        rule = format_html('<a href="{}">{}</a>', lookup.of_rule, page.rule_of(lookup)) if lookup.how else ""
        answer = page.answer_card(lookup)
        named = cut_short(answer.name, MAX_ERROR) if answer else self.candidates_(lookup)
        return format_html_join(SafeString("<br>"), "{}", [[part] for part in (named, rule) if part])

    @admin.display(description="candidates")
    def candidates_(self, lookup: Lookup) -> str:
        names = [cut_short(name, 80) for name in page.names_apart(page.cards(lookup)[:MAX_NAMED])]
        more = len(lookup.candidates) - len(names)
        return " · ".join([*names, *([f"{more} more"] if more else [])])

    @admin.display(description="tries")
    def tries_(self, lookup: Lookup) -> str:
        return str(lookup.tries) if lookup.tries else ""

    @admin.display(description="asked")
    def asked(self, lookup: Lookup) -> SafeString | str:
        return format_html("{} ago", age(lookup.created_at))

    # Other pages.

    def get_urls(self) -> list[URLPattern]:
        name = f"{self.opts.app_label}_{self.opts.model_name}_choose"
        view = self.admin_site.admin_view(self.choose_view)
        return [path("<path:object_id>/choose/", view, name=name), *super().get_urls()]

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        self.require_safe_method(request)
        return lookup_page(self, request, object_id)

    def choose_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return decide(self, request, object_id)

    def history_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Part of the lookup's page, whatever list it was reached from."""
        address = self.url("change", unquote(object_id), query=self.get_preserved_filters(request))
        return HttpResponseRedirect(f"{address}#history")


class AmbiguousLookupAdmin(LookupAdmin):
    status = Lookup.Status.AMBIGUOUS
    actions = (ASK_AGAIN, ACCEPT)
    on_all = {ACCEPT: "Accept{} with one candidate…", ASK_AGAIN: "Ask{} again…"}
    list_display = ["question_", "kind_", "candidates_", "rule", "asked"]
    list_filter = [ProviderFilter, KindFilter, AskedFilter, HowFilter, OfUploadFilter]
    list_title = "Ambiguous lookups"
    empty_text = "Nothing to decide: no lookup has more than one likely answer."

    @admin.display(description="rule")
    def rule(self, lookup: Any) -> SafeString | str:
        return format_html('<a href="{}">{}</a>', lookup.of_rule, page.rule_of(lookup)) if lookup.how else ""
