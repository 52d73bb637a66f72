"""Whose fault an error is (P10): one table, by SQLSTATE."""

import enum

from django.db import DatabaseError, InterfaceError, OperationalError
from django_q.exceptions import TimeoutException

from enrichment.models import HeldRecord

Code = HeldRecord.Code


class Fault(enum.Enum):
    """Whose fault an error is."""

    RECORD = "record"
    """The record can never be stored as it is: dead at once."""
    REFERENCE = "reference"
    """A record it refers to is not (or no longer) there: waiting."""
    STORE = "store"
    """The database is unavailable, busy or full: retried without limit, with growing pauses (retry.py)."""
    CODE = "code"
    """A bug: retried like the store's, and health is degraded."""


# The longest prefix of the SQLSTATE decides.
BY_SQLSTATE = {
    "22": Fault.RECORD,
    "23": Fault.RECORD,
    "23503": Fault.REFERENCE,
    "54000": Fault.RECORD,  # a value over a limit of the program, such as an index row's size
    "08": Fault.STORE,
    "25P03": Fault.STORE,
    "25P04": Fault.STORE,
    "40001": Fault.STORE,
    "40P01": Fault.STORE,
    "53": Fault.STORE,
    "55P03": Fault.STORE,
    "57": Fault.STORE,
    "58": Fault.STORE,
}
BY_SQLITE_NAME = {
    "SQLITE_CONSTRAINT_FOREIGNKEY": Fault.REFERENCE,
    "SQLITE_CONSTRAINT": Fault.RECORD,
    "SQLITE_MISMATCH": Fault.RECORD,
    "SQLITE_TOOBIG": Fault.RECORD,
    "SQLITE_BUSY": Fault.STORE,
    "SQLITE_LOCKED": Fault.STORE,
    "SQLITE_FULL": Fault.STORE,
    "SQLITE_IOERR": Fault.STORE,
    "SQLITE_CANTOPEN": Fault.STORE,
    "SQLITE_NOMEM": Fault.STORE,
    "SQLITE_INTERRUPT": Fault.STORE,
}
TIMED_OUT = ("57014", "55P03", "25P03", "25P04")
"""A timeout: of a statement, of a lock, of a transaction, or of being idle in one."""


def classify(error: BaseException) -> Fault:
    """Whose fault `error`, raised while a batch was stored, is."""
    if isinstance(error, (UnicodeEncodeError, OverflowError)):
        return Fault.RECORD
    if isinstance(error, TimeoutException):
        return Fault.STORE
    if not isinstance(error, (DatabaseError, InterfaceError)):
        return Fault.RECORD if _is_nul(error) else Fault.CODE
    name = sqlite_name(error)
    table, state = (BY_SQLITE_NAME, name) if name else (BY_SQLSTATE, sqlstate(error))
    fits = [prefix for prefix in table if state.startswith(prefix)]
    if fits:
        return table[max(fits, key=len)]
    if state:
        return Fault.CODE
    # Raised by the driver itself: a lost connection, or a value that it cannot send.
    if isinstance(error, (OperationalError, InterfaceError)):
        return Fault.STORE
    return Fault.RECORD if type(error).__name__ in ("DataError", "IntegrityError") else Fault.CODE


def code_of(error: BaseException) -> HeldRecord.Code:
    """The code of the dead letter, for an error that is the record's."""
    state, name = sqlstate(error), sqlite_name(error)
    if state == "23505" or name in ("SQLITE_CONSTRAINT_UNIQUE", "SQLITE_CONSTRAINT_PRIMARYKEY"):
        return Code.CONFLICT
    if state.startswith("23") or name.startswith("SQLITE_CONSTRAINT"):
        return Code.CONSTRAINT
    return Code.UNSTORABLE


def timed_out(error: BaseException) -> bool:
    return isinstance(error, TimeoutException) or sqlstate(error) in TIMED_OUT


def sqlstate(error: BaseException) -> str:
    return getattr(error.__cause__ or error, "sqlstate", None) or ""


def sqlite_name(error: BaseException) -> str:
    return getattr(error.__cause__ or error, "sqlite_errorname", None) or ""


def _is_nul(error: BaseException) -> bool:
    return isinstance(error, ValueError) and "NUL" in str(error)
