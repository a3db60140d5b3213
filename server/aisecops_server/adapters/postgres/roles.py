"""What a role of the database may do beyond its log: what is found is refused before anything is entrusted to it.

Judged is everything that a statement could turn itself into, which is every role that the session's is a member of,
whether or not it has that role's rights at once: ``SET ROLE`` is one statement, and ``set_config`` a part of one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from aisecops_server.adapters.postgres.place import OF_TENANT, SCHEMA

if TYPE_CHECKING:
    from aisecops_server.adapters.postgres.connection import PostgresConnection

_ROLE = """
    SELECT bool_or(r.rolsuper OR r.rolbypassrls), bool_or(r.oid IN (c.relowner, n.nspowner)),
        bool_or(has_table_privilege(r.oid, c.oid, 'DELETE, TRUNCATE, TRIGGER')
            OR has_any_column_privilege(r.oid, c.oid, 'UPDATE')),
        bool_or(has_schema_privilege(r.oid, n.oid, 'CREATE'))
    FROM pg_roles AS r, pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
    WHERE pg_has_role(session_user, r.oid, 'MEMBER') AND n.nspname = ? AND c.relname = 'event'
    GROUP BY c.oid"""
_WHO = "SELECT session_user::text, current_user::text"
# The database's owner is a member of ``pg_database_owner``; others of these read every table, every file or every
# session's statements, or end sessions.
_BEYOND = """
    SELECT r.rolname::text FROM pg_roles AS r
    WHERE pg_has_role(session_user, r.oid, 'MEMBER')
        AND (r.rolsuper OR r.rolbypassrls OR r.rolcreaterole OR r.rolcreatedb OR r.rolreplication
            OR starts_with(r.rolname::text, 'pg_')
            OR has_database_privilege(r.oid, current_database(), 'CREATE'))
    ORDER BY 1"""
_OTHERS = """
    SELECT DISTINCT n.nspname::text FROM pg_namespace AS n
    JOIN pg_roles AS r ON pg_has_role(session_user, r.oid, 'MEMBER')
    WHERE n.nspname <> ? AND (n.nspname = ? OR starts_with(n.nspname::text, ?))
        AND (r.oid = n.nspowner OR has_schema_privilege(r.oid, n.oid, 'USAGE, CREATE')
            OR EXISTS (SELECT FROM pg_class AS c WHERE c.relnamespace = n.oid AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
                AND (r.oid = c.relowner OR has_any_column_privilege(r.oid, c.oid, 'SELECT, INSERT, UPDATE, REFERENCES')
                    OR has_table_privilege(r.oid, c.oid, 'DELETE, TRUNCATE, TRIGGER'))))
    ORDER BY 1"""


def role_problems(connection: PostgresConnection) -> list[str]:
    """Return what speaks against entrusting the log to the role of this connection."""
    place, found = connection.place, []
    session, acting = connection.execute(_WHO).get
    if session != acting:
        found.append(f"the session is {session}'s and a statement could act as {session} again; log in as {acting}")
    if (role := connection.execute(_ROLE, (place.schema,)).get) is not None:
        is_super, is_owner, may_change, may_make = role
        if is_super or is_owner:
            # Every other thing that it may do as well follows from this one.
            return [*found, f"the role owns the log or all of the server; use one that has been given {place.writer}"]
        if may_change:
            found.append("the role may change or delete events; take that away from it")
        if may_make:
            # What it makes there would be found by name, also by the owner who migrates.
            found.append(f"the role may make things in the schema {place.schema}; take CREATE away from it")
    if others := [name for (name,) in connection.execute(_OTHERS, (place.schema, SCHEMA, OF_TENANT))]:
        found.append(f"the role may use what is not its own: {', '.join(others)}; take that away from it")
    if place.tenant and (beyond := [name for (name,) in connection.execute(_BEYOND)]):
        found.append(f"the role may do more on the server than a tenant's may, as {', '.join(beyond)}; take that away")
    return found
