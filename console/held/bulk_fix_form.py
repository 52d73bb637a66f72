"""The form for one change to many failed records of a stream."""

from __future__ import annotations

from typing import Any

from django import forms

from console import field_rules
from enrichment.held.bulk_fix import Change, Operation
from ingestion.cells import read_text, readers_of
from ingestion.payloads import ParseError, ascii_json, parse_json
from ingestion.streams import Stream

MAX_INPUT = 10_000
"""Characters of a value."""
VALUES_OF = {Operation.SET.value: ["value"], Operation.REPLACE.value: ["old", "value"]}
"""Operation → the form's fields that it needs."""


class ValueField(forms.CharField):
    """Keeps spaces at either end."""

    def __init__(self, **options: Any) -> None:
        widget = forms.Textarea(attrs={"rows": 1, "spellcheck": "false", "autocomplete": "off"})
        super().__init__(required=False, strip=False, max_length=MAX_INPUT, widget=widget, **options)


class ChangeForm(forms.Form):
    operation = forms.ChoiceField(
        choices=Operation.choices, initial=Operation.SET, label="Operation", widget=forms.RadioSelect
    )
    field = forms.ChoiceField(label="Field", error_messages={"invalid_choice": "Choose a field of the stream."})
    old = ValueField(
        label="Old value",
        help_text='Only records with exactly this value are changed. If the field is not text, type "27" for a text.',
    )
    value = ValueField(label="New value")
    written_as = forms.ChoiceField(
        choices=[
            ("text", "same as the field (27, yes, Algebra; Physics)"),
            ("json", 'JSON (27, true, null, ["Algebra"], "text")'),
        ],
        initial="text",
        label="Value format",
        widget=forms.RadioSelect,
    )

    def __init__(self, data: Any = None, *, stream: Stream, suggested_field: str = "") -> None:
        super().__init__(data, label_suffix="", initial={"field": suggested_field})
        self.stream, self.readers = stream, readers_of(stream.schema, stream.known_items)
        rules = field_rules.rules(stream)
        self.fields["field"].choices = [(rule.name, rule.name) for rule in rules]  # type: ignore[attr-defined]

    def clean(self) -> dict[str, Any]:
        data = super().clean() or {}
        self.values = {name: self.read(name) for name in VALUES_OF.get(data.get("operation", ""), []) if name in data}
        if data.get("operation") == Operation.SET and data.get("field") == self.stream.key:
            self.add_error("field", "The ID identifies a record: it cannot be set to the same value for all of them.")
        if (
            data.get("operation") == Operation.REPLACE
            and not self.errors
            and self.values["old"] == self.values["value"]
        ):
            self.add_error("value", "The new value is the same as the old value.")
        return data

    def read(self, name: str) -> str:
        """The value as JSON; empty, with an error on the form, where it cannot be read."""
        text = self.cleaned_data[name]
        if self.cleaned_data.get("written_as") != "json":
            return self.read_as_field(name, text)
        try:
            return ascii_json(parse_json(text.encode()))
        except ParseError as error:
            self.add_error(name, f"{error} Put text in quotation marks.")
            return ""

    def read_as_field(self, name: str, text: str) -> str:
        """As a cell of a CSV file is read. The old value is taken literally, since it may be of the wrong type:
        "yes" in a field of true and false is a text.
        """
        reader = self.readers.get(self.cleaned_data.get("field", ""), read_text)
        if reader is read_text:
            return ascii_json(text)
        try:
            return ascii_json(parse_json((text if name == "old" else reader(text)).encode()))
        except ParseError:
            return ascii_json(text)

    def change(self) -> Change:
        """Of a valid form."""
        return Change(operation=self.cleaned_data["operation"], field=self.cleaned_data["field"], **self.values)
