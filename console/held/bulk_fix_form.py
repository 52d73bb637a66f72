"""The form that asks what is to be changed in many held records of one stream."""

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
NEEDED = {Operation.SET.value: ["value"], Operation.REPLACE.value: ["old", "value"]}


OLD = 'Only records that have exactly this value. In a field that is no text, 27 is the number and "27" the text.'


class Typed(forms.CharField):
    """A value as a person types it: nothing is taken from its ends."""

    def __init__(self, **named: Any) -> None:
        widget = forms.Textarea(attrs={"rows": 1, "spellcheck": "false", "autocomplete": "off"})
        super().__init__(required=False, strip=False, max_length=MAX_INPUT, widget=widget, **named)


class ChangeForm(forms.Form):
    operation = forms.ChoiceField(
        choices=Operation.choices, initial=Operation.SET, label="What to do", widget=forms.RadioSelect
    )
    field = forms.ChoiceField(label="Field", error_messages={"invalid_choice": "Select a field of the stream."})
    old = Typed(label="Old value", help_text=OLD)
    value = Typed(label="New value")
    written_as = forms.ChoiceField(
        choices=[
            ("text", "the field is: text as it stands, else 27, yes, Algebra; Physics"),
            ("json", 'JSON: 27, true, null, ["Algebra"], "text"'),
        ],
        initial="text",
        label="Values are written as",
        widget=forms.RadioSelect,
    )

    def __init__(self, data: Any = None, *, stream: Stream, at_fault: str = "") -> None:
        super().__init__(data, label_suffix="", initial={"field": at_fault})
        self.stream, self.readers = stream, readers_of(stream.schema, stream.known_items)
        rules = field_rules.rules(stream)
        self.fields["field"].choices = [(rule.name, rule.name) for rule in rules]  # type: ignore[attr-defined]

    def clean(self) -> dict[str, Any]:
        data = super().clean() or {}
        self.values = {name: self.read(name) for name in NEEDED.get(data.get("operation", ""), []) if name in data}
        if data.get("operation") == Operation.SET and data.get("field") == self.stream.key:
            self.add_error("field", "The key tells records apart: set on all of them they would be one.")
        if (
            data.get("operation") == Operation.REPLACE
            and not self.errors
            and self.values["old"] == self.values["value"]
        ):
            self.add_error("value", "That is the old value.")
        return data

    def read(self, name: str) -> str:
        """The value as JSON; empty, and an error of the form, where it is none."""
        text = self.cleaned_data[name]
        if self.cleaned_data.get("written_as") != "json":
            return self.read_as_field(name, text)
        try:
            return ascii_json(parse_json(text.encode()))
        except ParseError as error:
            self.add_error(name, f"{error} A text is written in quotation marks.")
            return ""

    def read_as_field(self, name: str, text: str) -> str:
        """As a cell of a CSV file is. The old value is what records have, wrong though it may be: "yes" in a field of
        true and false is a text.
        """
        reader = self.readers.get(self.cleaned_data.get("field", ""), read_text)
        if reader is read_text:
            return ascii_json(text)
        try:
            return ascii_json(parse_json((text if name == "old" else reader(text)).encode()))
        except ParseError:
            return ascii_json(text)

    def change(self) -> Change:
        """What is asked for, of a form that is valid."""
        return Change(operation=self.cleaned_data["operation"], field=self.cleaned_data["field"], **self.values)
