"""The types that streams' schemas are made of (the conventions of the API: typed JSON, ISO 8601 times, no NUL).

Validation is strict: a number is never read from text (the cells of a CSV file are typed before). The validation
context is `{"now": <aware datetime>}`.
"""

import re
import unicodedata
from datetime import UTC, date, datetime, timedelta
from typing import Annotated, Any

from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.utils import timezone
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainValidator,
    ValidationInfo,
    WithJsonSchema,
)
from pydantic_core import PydanticCustomError

MIN_TIME = datetime(1970, 1, 1, tzinfo=UTC)
MAX_TIME = datetime(2100, 1, 1, tzinfo=UTC)
CLOCK_TOLERANCE = timedelta(minutes=5)
MINUTE = timedelta(minutes=1)
MAX_IDENTIFIER = 64
"""Characters."""
_INVISIBLE = re.compile("[\u00ad\u061c\u180e\u200b\u200e\u200f\u202a-\u202e\u2060-\u2064\u2066-\u206f\ufeff]")
_DATE_AND_TIME = re.compile(r"[0-9]{4}(-?[0-9]{2}-?[0-9]{2}|-?W[0-9]{2}(-?[0-9])?)([Tt ].*)?")
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", re.ASCII)
_PLAIN_EMAIL = re.compile(
    r"[A-Za-z0-9_+-]+(\.[A-Za-z0-9_+-]+)*@([A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)+[A-Za-z]{2,63}", re.ASCII
)
"""Most addresses; Django takes them, and others, in five times the time."""
RESERVED_IDENTIFIERS = (".", "..", "batch")
LAST_DAY = date(2100, 12, 31)
MAX_OFFSET = timedelta(hours=16)
"""PostgreSQL reads no time with this offset or more; the world has -12 to +14 hours."""


class Record(BaseModel):
    """Base of every stream's schema: unknown fields are ignored; null is absent where a field is optional.

    A line of text below a field describes it to clients.
    """

    model_config = ConfigDict(
        extra="ignore",
        frozen=True,
        allow_inf_nan=False,
        hide_input_in_errors=True,
        use_attribute_docstrings=True,  # they become the descriptions of the fields in the API's documentation
    )


def check_storable(value: str) -> str:
    if value.isprintable():  # as most are: neither of them is
        return value
    if "\0" in value:
        raise PydanticCustomError("nul", "contains an invalid character (NUL)")
    try:
        value.encode()
    except UnicodeEncodeError:  # pydantic looks into a text only where it has to, as for its length
        raise PydanticCustomError("surrogate", "contains an invalid character (lone surrogate)") from None
    return value


def identifier(value: str) -> str:
    if not value.isprintable() or value != value.strip() or "/" in value or value in RESERVED_IDENTIFIERS:
        raise PydanticCustomError(
            "identifier",
            "must be 1 to 64 printable characters without '/', without leading or trailing spaces,"
            " and not '.', '..' or 'batch'",
        )
    return normalized(value)


def normalized(identifier: str) -> str:
    """In Unicode's form NFC, as identifiers are stored and compared: é typed as one character or as two is one key.

    What is too long for an identifier stays as it is: of a long run of accents the time grows with the square.
    """
    if identifier.isascii() or len(identifier) > MAX_IDENTIFIER:
        return identifier
    return unicodedata.normalize("NFC", identifier)


def stripped(value: Any) -> Any:
    return value.strip() if type(value) is str else value


def tidy(value: Any) -> Any:
    """A text without surrounding white space and invisible characters; joiners stay: scripts and emoji use them."""
    if type(value) is not str:
        return value
    return value.strip() if value.isprintable() else _INVISIBLE.sub("", value).strip()


def whole_number(value: Any) -> Any:
    return int(value) if type(value) is float and value.is_integer() else value


def parse_time(value: Any) -> datetime:
    """An ISO 8601 time; naive ones are of TIME_ZONE. Raises PydanticCustomError, a ValueError.

    Read here from end to end, and quickly: a session has five times.
    """
    if type(value) is not str or value.isdigit() or not value.isascii() or "\0" in value:  # some pass fromisoformat()
        raise PydanticCustomError("time", "must be an ISO 8601 time such as 2025-03-01T15:00:00Z")
    try:
        if value[10:11] != "T" and not _DATE_AND_TIME.fullmatch(value):  # it takes any character between them
            raise ValueError
        moment = datetime.fromisoformat(value.replace("z", "Z"))
    except ValueError:
        raise PydanticCustomError("time", "must be an ISO 8601 time such as 2025-03-01T15:00:00Z") from None
    if moment.tzinfo is not UTC:
        moment = _with_offset(moment)
    if not MIN_TIME.year < moment.year < MAX_TIME.year - 1:
        _check_range(moment)
    return moment


def _with_offset(moment: datetime) -> datetime:
    offset = moment.utcoffset()
    if offset is None:
        return _in_default_zone(moment)
    if offset.seconds % 60 or offset.microseconds or abs(offset) >= MAX_OFFSET:
        raise PydanticCustomError("time", "must have a UTC offset in whole minutes, below 16 hours")
    return moment


def _in_default_zone(moment: datetime) -> datetime:
    """The moment a naive time stands for, with an offset of its own.

    With the zone itself Python would compare and subtract by the wall clock, which jumps twice a year.
    """
    _check_year(moment)
    offset = moment.replace(tzinfo=timezone.get_default_timezone()).utcoffset() or timedelta(0)
    minutes, seconds = divmod(offset, MINUTE)  # seconds: Liberia until 1972
    return moment.replace(tzinfo=timezone.get_fixed_timezone(minutes)) - seconds


def _check_range(moment: datetime) -> None:
    """Raises unless 1970 ≤ moment < 2100, by UTC."""
    _check_year(moment)
    if not MIN_TIME <= moment < MAX_TIME:
        raise PydanticCustomError("time_range", "must be between 1970 and 2099")


def _check_year(moment: datetime) -> None:
    """Raises when the year is beyond doubt out of range: near the years 1 and 9999 there is no UTC everywhere."""
    if not MIN_TIME.year - 1 <= moment.year <= MAX_TIME.year:
        raise PydanticCustomError("time_range", "must be between 1970 and 2099")


def not_after(moment: datetime, limit: timedelta, info: ValidationInfo, message: str) -> datetime:
    """`moment`, unless it is more than `limit` after the `now` of the validation context: then an error."""
    if moment > info.context["now"] + limit:  # type: ignore[index]
        raise PydanticCustomError("future", "{message}", {"message": message})
    return moment


def past_time(value: Any, info: ValidationInfo) -> datetime:
    return not_after(parse_time(value), CLOCK_TOLERANCE, info, "must not be more than 5 minutes in the future")


def parse_day(value: Any) -> date:
    try:
        if type(value) is not str or not _DAY.fullmatch(value):
            raise ValueError
        day = date.fromisoformat(value)
    except ValueError:
        raise PydanticCustomError("day", "must be an ISO 8601 date such as 2025-03-01") from None
    if day > LAST_DAY:
        raise PydanticCustomError("day_range", "must be between the years 1 and 2100")
    return day


def _email(value: str) -> str:
    if _PLAIN_EMAIL.fullmatch(value):
        return value
    if not value.isprintable():
        raise PydanticCustomError("email", "must be a valid e-mail address, without invisible characters")
    try:
        validate_email(value)
    except ValidationError:
        raise PydanticCustomError("email", "must be a valid e-mail address") from None
    return value


def false_for_null(value: bool | None) -> bool:
    return value is True


class DefaultForNull:
    def __init__(self, default: str) -> None:
        self.default = default

    def __call__(self, value: str | None) -> str:
        return self.default if value is None else value


def default_for_null(default: str) -> AfterValidator:
    """Makes null `default`, as an absent field: Annotated[str | None, default_for_null("x")] = "x"."""
    return AfterValidator(DefaultForNull(default))


_time_schema = WithJsonSchema({"type": "string", "format": "date-time"})
Tidy = BeforeValidator(tidy)
"""For names and other short texts. Put it last, as WholeNumber."""
Stripped = BeforeValidator(stripped)
"""For long texts, in which invisible characters may have a meaning. Put it last."""
StorableText = AfterValidator(check_storable)
"""A text that PostgreSQL can store: Annotated[str, Field(max_length=…), StorableText]."""
Text50 = Annotated[str, Field(max_length=50), StorableText, Tidy]
Text100 = Annotated[str, Field(max_length=100), StorableText, Tidy]
Text255 = Annotated[str, Field(max_length=255), StorableText, Tidy]
Email = Annotated[str, Field(max_length=254, json_schema_extra={"format": "email"}), AfterValidator(_email)]
Identifier = Annotated[str, Field(min_length=1, max_length=MAX_IDENTIFIER), AfterValidator(identifier)]
WholeNumber = BeforeValidator(whole_number)
"""60.0 is 60. Put it last, Annotated[int, Field(ge=…, le=…), WholeNumber], or the JSON schema lacks the bounds."""
Flag = Annotated[bool | None, AfterValidator(false_for_null)]
"""True or false; absent and null are false."""
Time = Annotated[datetime, PlainValidator(parse_time), _time_schema]
"""An aware datetime with the offset it was sent with; naive times get TIME_ZONE, a date alone its midnight."""
Day = Annotated[date, PlainValidator(parse_day), WithJsonSchema({"type": "string", "format": "date"})]
"""A date without a time, of the years 1 to 2100."""
PastTime = Annotated[datetime, PlainValidator(past_time), _time_schema]
"""A time of something past: at most 5 minutes ahead of now."""
