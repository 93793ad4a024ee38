"""Which of a table's rules a refused statement broke."""

import apsw


def is_duplicate(error: apsw.ConstraintError) -> bool:
    """Tell whether what was to be stored is there already."""
    return _code(error) in (apsw.SQLITE_CONSTRAINT_UNIQUE, apsw.SQLITE_CONSTRAINT_PRIMARYKEY)


def is_missing_parent(error: apsw.ConstraintError) -> bool:
    """Tell whether a row that was referred to does not exist."""
    return _code(error) == apsw.SQLITE_CONSTRAINT_FOREIGNKEY


def _code(error: apsw.ConstraintError) -> int:
    # apsw's exceptions have it, its type stubs don't.
    return int(getattr(error, "extendedresult", 0))
