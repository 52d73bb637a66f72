"""The forms of the page of personal data."""

from __future__ import annotations

from typing import Any

from django import forms

from enrichment.subjects.person import Person
from ingestion.subjects.mentions import subjects
from ingestion.text import strip_unstorable


class PersonForm(forms.Form):
    """Who is meant. `person` is set once it is valid."""

    kind = forms.ChoiceField(label="Kind", choices=lambda: [(kind, kind.capitalize()) for kind in subjects()])
    key = forms.CharField(
        label="ID",
        max_length=64,
        widget=forms.TextInput(attrs={"autocomplete": "off"}),
        help_text="The whole ID, as their record has it. To look it up by name or e-mail, use the search at the top.",
    )

    person: Person

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        if "kind" in cleaned and "key" in cleaned:
            try:
                self.person = Person.of(cleaned["kind"], cleaned["key"])
            except ValueError as error:
                self.add_error("key", str(error))
        return cleaned


class EraseForm(PersonForm):
    confirmation = forms.CharField(
        label="Type the ID once more", max_length=64, widget=forms.TextInput(attrs={"autocomplete": "off"})
    )
    reason = forms.CharField(
        max_length=1000,
        widget=forms.Textarea(attrs={"rows": 2}),
        help_text="Kept for the history: such as who asked for it, and when. Leave the name out.",
    )

    def clean_confirmation(self) -> str:
        confirmation: str = self.cleaned_data["confirmation"]
        if confirmation.strip() != self.cleaned_data.get("key"):
            raise forms.ValidationError("This is not the ID.")
        return confirmation

    def clean_reason(self) -> str:
        return strip_unstorable(self.cleaned_data["reason"])
