"""The rules by which `reach` finds what reaches beyond its database, held against statements as `spelling` writes them."""

from __future__ import annotations

import re

from orchestrator.engines.base import Reach

_SHARED = (
    "pg_authid|pg_auth_members|pg_database|pg_db_role_setting|pg_parameter_acl|pg_replication_origin|pg_shadow"
    "|pg_shdepend|pg_shdescription|pg_shseclabel|pg_subscription|pg_tablespace|pg_user|pg_roles|pg_group"
)
_TO = r"(?:(?! on )[^;])*?"
_OWN_SETTING = (
    "name the database that it runs in: DO $$ BEGIN EXECUTE format('… DATABASE %I …', current_database()); END $$"
)
_OTHER_ROLE = (
    "change roles outside of migrations, or for this database alone (ALTER ROLE … IN DATABASE, with current_database())"
)
# The indexes of the server's own tables, too; a name can only be that of the database in which it runs.
_REINDEX = r"reindex (?:\( [^()]* \) )?(?:system\b|database (?:concurrently )?(?!;|$|concurrently ))"
OUTSIDE = "do this outside of migrations"
RULES = tuple(
    (re.compile(rule), reach, hint)
    for rule, reach, hint in (
        (r"create (?:role|user(?! mapping\b)|group)\b", Reach.SERVER, ""),
        (rf"grant {_TO} to\b", Reach.SERVER, ""),
        (rf"revoke {_TO} from\b", Reach.OTHER, _OTHER_ROLE),
        (r"(?:alter|drop) (?:role|user(?! mapping\b)|group)\b", Reach.OTHER, _OTHER_ROLE),
        (r"(?:create|alter|drop) database\b", Reach.OTHER, _OWN_SETTING),
        (r"(?:grant|revoke) [^;]*? on (?:database|tablespace|parameter)\b", Reach.OTHER, _OWN_SETTING),
        (r"comment on (?:database|role|tablespace|subscription)\b", Reach.OTHER, _OWN_SETTING),
        (r"security label (?:for \S+ )?on (?:database|role|tablespace|subscription)\b", Reach.OTHER, _OWN_SETTING),
        (r"(?:create|alter|drop) (?:tablespace|subscription)\b", Reach.OTHER, OUTSIDE),
        (r"alter system\b", Reach.OTHER, OUTSIDE),
        (r"(?:drop|reassign) owned\b", Reach.OTHER, OUTSIDE),
        (_REINDEX, Reach.OTHER, "write REINDEX SCHEMA or REINDEX TABLE"),
        (r"(?:create|alter) server\b", Reach.OTHER, OUTSIDE),
        (r"create foreign table\b", Reach.OTHER, OUTSIDE),
        (r"import foreign schema\b", Reach.OTHER, OUTSIDE),
        (r"copy [^;]*? (?:to|from) program\b", Reach.OTHER, OUTSIDE),
        (r"copy [^;]*? to '' ", Reach.OTHER, OUTSIDE),
        (r"copy [^;]*? from '' ", Reach.MAY, ""),
        (r"checkpoint\b", Reach.MAY, ""),
        (r"load '' ", Reach.MAY, ""),
    )
)
WRITES_SHARED = re.compile(
    r"\b(?:insert into|merge into|update|delete from|truncate|lock|alter table|vacuum|reindex|cluster)\b"
    r"(?: table| only| if exists| full| \( [^()]*\))*"
    rf' (?:(?:"?pg_catalog"? \. )?"?(?:{_SHARED})|"?cron"? \. "?job)"?(?![\w$"])'
)
_FORBIDDEN = (
    "dblink(?:_[a-z_]+)?|pg_terminate_backend|pg_cancel_backend|(?:be_)?lo_export|pg_file_(?:write|sync|rename|unlink)"
    "|pg_reload_conf|pg_rotate_logfile(?:_v2|_old)?|pg_promote|pg_switch_(?:wal|xlog)|pg_create_restore_point"
    "|pg_(?:start|stop)_backup|pg_backup_(?:start|stop)|pg_(?:wal|xlog)_replay_(?:pause|resume)"
    "|pg_(?:create|copy)_(?:logical|physical)_replication_slot(?:_[abc])?|pg_drop_replication_slot"
    "|pg_replication_slot_advance|pg_sync_replication_slots|pg_logical_slot_get(?:_binary)?_changes"
    "|pg_replication_origin_(?:create|drop|advance|session_[a-z]+|xact_[a-z]+)"
    "|pg_stat_reset_(?:shared|slru|replication_slot|subscription_stats|backend_stats)"
    "|pg_(?:stat_statements|stat_kcache|stat_monitor|wait_sampling|qualstats)_reset(?:_[a-z]+)?"
    "|pg_log_standby_snapshot|pg_log_backend_memory_contexts"
)
# They call other servers.
_OF_EXTENSIONS = (
    r'"?(?:(?:net"? \. "?http_|aws_(?:s3|lambda)"? \. "?|(?:pglogical|bdr)"? \. "?(?:create|alter|drop)_)[a-z0-9_]+'
    "|http_(?:get|post|put|patch|delete|head))"
)
CALLS = tuple(
    (re.compile(rf'(?<![\w$"]){names}"? (?=\()'), reach)
    for names, reach in (
        (f'"?(?:{_FORBIDDEN})', Reach.OTHER),
        (r'"?cron"? \. "?(?:schedule|schedule_in_database|unschedule|alter_job)', Reach.OTHER),
        (_OF_EXTENSIONS, Reach.OTHER),
        ('"?(?:lo_import|pg_read_(?:binary_)?file|pg_stat_file|pg_ls_[a-z_]+|pg_logdir_ls)', Reach.MAY),
    )
)
FORBIDDEN_NAME = re.compile(rf"(?i)(?<![\w$])(?:{_FORBIDDEN}|(?:to|from) program)(?![\w$])")
