"""The documentation page of `orch lint`, written from the rules."""

from __future__ import annotations

from orchestrator.analysis.rules import rules
from orchestrator.views.lint import rule_markdown

_HEAD = """\
# orch lint

`orch lint` judges the up files of PostgreSQL, MongoDB and MySQL migrations before they run: what loses data, what stops readers
or writers for long, what will fail, and what breaks programs that are still running.
Of SQLite files it tells what loses data. It asks no server and needs no credentials.

```sh
orch lint                          # every file, as if all before it were applied
orch lint orders --since 12        # the files of orders after version 12, as one plan
orch lint --changed origin/main    # the files that differ from where this branch began
orch lint --explain PG203          # a rule, and the safe way
orch lint --stats sizes.json       # weighed by the sizes of tables
orch lint orders --trace           # what the pending files really do, in a scratch database
```

The exit code is 1 if there is an error, and 0 if there are warnings alone or nothing. Formats: `--output text`, `json`, `sarif`,
`github`, `gitlab` (code quality), `junit`.

It reads all files of a database in their order, so it knows which tables exist, who made them, types of columns,
constraints and whether
they are valid, domains, functions and indexes. What a plan creates itself is harmless: nobody uses it yet. Where a table or a
function is made elsewhere, a finding says "may" and is a warning. A file is one transaction for orch: a lock is kept to its end.

`orch plan`, `orch apply` and `orch rollback` mark risky statements by the same rules. Down files are judged by
`orch rollback` alone.

## Permissions

Above the first statement of a file, each with a reason:

```sql
-- orch: allow PG203 the table has ten rows
CREATE INDEX ON states (name);
```

MongoDB files have no comments; there it stands in the command, and holds for this command:

```json
[{"drop": "old", "comment": {"orch": {"allow": {"MG101": "nobody has read it for a year"}}}}]
```

golang-migrate runs both as they are. A permission without a reason allows nothing; one that is not used is told.

## Levels

In `databases.yaml`, for all databases and for one:

```yaml
lint:
  server_version: 15            # PostgreSQL 12 to 18, MongoDB 4 to 8
  codes: {PG601: error, PG503: off}
databases:
  - {name: archive, server: main, lint: {codes: {PG203: off}}}
```

`--server-version 15` goes before both.

## Large and small tables

`orch stats -o sizes.json` writes rows, bytes and writes a second of every PostgreSQL table, and documents and bytes of every
MongoDB collection; whoever may look at the servers runs it. `orch lint --stats sizes.json` judges with these numbers, and
`--live` asks the servers itself. What a rule says of locks and work (PG2xx, PG3xx, PG6xx, MG2xx, MG6xx) is a warning for a
table of at most 20,000 rows and 10 MB that is written to at most 50 times a second, and an error for one of 5 million rows or
1 GB. Lost data is never weighed, and a table that is not in the file changes nothing.

## What really happens

`orch lint --trace` runs the pending files, or those after `--since`, in a scratch database beside the real one, which it only
asks what is pending. It shows for every statement which locks it took, which tables it rewrote and read, what the rules say of
it, and where these differ; with `--stats` or `--live` also how large the real table is.
The scratch database has no rows but those of migrations: locks, rewrites and reads are those of the real one, times are not. A
statement outside of transactions (CONCURRENTLY) is looked at every two milliseconds while it runs.
Sizes weigh the findings beside a trace, and do not change what it measures. Which locks a change of a table takes, and whether
it rewrites or reads the table, does not depend on statistics. Only the planner looks at them, for UPDATE and DELETE, and it
multiplies them by the pages that a table really has: with the statistics of a table of 5 million rows on the empty copy it
expects no row, and reads the whole table where the real one would use an index. So the statistics of the real server are not
copied: they would make the trace less true.
What reaches beyond its database is refused, as by `orch verify`. MongoDB and SQLite keep no locks to look at until a commit,
so their files are not traced; the waits that the MongoDB rules tell were measured once, on 6.0.

## How good the rules are

On 285 files whose expectations come from the rules of squawk and strong_migrations, the manuals and measured locks
(`tests/unit/data/lint_corpus*.txt`), precision was 0.954 and recall 0.992 when the PostgreSQL cases were judged for the first
time. Then rules were corrected on these files, and a few expectations too; both are 1 now, which says nothing of other files.
Every case that can run alone is also run on a PostgreSQL server, in each run of the tests. The server does what is expected in
all but two: `timestamp` to `timestamptz` rewrites nothing in UTC, and REFRESH CONCURRENTLY takes long and stops nobody. 22 of 326
cases of the first two sets failed there: 6 are expected to fail, 9 fail by the few rows of the test or for want of an extension,
6 because a view shows the column, which was missing in the expectations and is the rule PG408 now, and one statement was wrong.

A second set of 147 files came later, written from the same sources by somebody who had not read the code of the rules, but
knew the table of rules and the design notes (`lint_corpus_more.txt`, `lint_corpus_mongo_more.txt`). First judged, precision
was 0.891 and recall 0.934 for PostgreSQL (129 files), 1 and 0.8 for MongoDB (18). Two expectations were wrong (a server said
so of one); all others were made rules: a search_path that a file sets, EXPLAIN ANALYZE, MERGE, batches by LIMIT, DROP OWNED,
CONCURRENTLY on partitioned tables, types of columns with a CHECK, documents that expire. Both are 1 on these files too, after
the rules were corrected on the same files.

A third set of 79 files has expectations from the manuals of PostgreSQL, MongoDB and MySQL and the measured locks, written down
before the rules judged them (`lint_corpus_third.txt`, `lint_corpus_mongo_third.txt`, `lint_corpus_mysql.txt`). Their author
had read a part of the rules before, and most of the files are everyday migrations. The first time, the rules gave no false
alarm and missed one of 55 dangers: a new type for a column that a view shows. The server refused it (PostgreSQL: precision 1,
recall 0.976; MongoDB and MySQL: 1 and 1).
Inputs that were meant to deceive the rules did better: of 135 that were written to hide a
loss of data, about 45 were not told at first. These are in `test_lost_data.py` now, or named under "Before something is lost".

Noise, on the public estates of Concourse, Supabase Auth, HashiCorp Boundary, Authelia and Ory Kratos (1,977 files for PostgreSQL,
MySQL and SQLite; none could not be read): each file on its own, 1,748 findings (88 a hundred files; most were written for tables
that were small or not used yet); as one plan for a new installation 146 (7 a hundred). Of 34 findings of the first two estates,
drawn at random, 33 were right; the other, DROP INDEX IF EXISTS of an index that no file makes, is no longer told. Of 30 of the
other estates all were true. Three of them said little: two told of the lock on a table that the next line drops (no longer
told), one of a table of SQLite whose rows an earlier file had copied. Both findings of the new PG408 were wrong: the name that
a view gives to an expression was taken for a column. After these corrections there are 1,731 findings, and 140 as one plan.

The PostgreSQL files of five more public estates (Ente, Svix, Quickwit, Lemmy and crates.io: 795 files) ran on
PostgreSQL 15 one after the other, and the locks, rewrites and scans of every statement were compared with what the
rules say of it. Of 1,753 findings, 44 were wrong or useless. The rules missed 24 locks of other tables and two indexes that
are rebuilt. All of this is corrected. The only remaining differences are statements that had nothing to do (DROP … IF EXISTS).

## How long it takes

Measured in CPU time, which two processes share where there are two cores: 10,000 small files of one or two statements take 2.8
seconds. 10,000 files as large as those of the estates above, 1.8 KB on average and all different, take 8.3 seconds (0.8 ms a
file, half of it to read statements into facts). 10,000 files of the five estates (1.1 KB on average), as one database, take
9 seconds, with 22,800 findings: one process judges all files of a database.
Files with the same text, as the members of a fleet have them, are read once:
10,000 files that are copies take 5.7 seconds, and members that share a directory are judged once. For a single change there are
`--changed` and `--since`.

## Fixes

`orch lint --fix` changes only what keeps its meaning: in the newest migration each CONCURRENTLY gets a file of its own
(PG405), with the numbers that follow. A down file is shared out if it undoes each index by name. The servers are asked first:
a migration that any database with this directory has run, wholly or in part, is left as it is, and so is a file with
directives, session settings or transactions of its own; the reason is told.

## Before something is lost

On a terminal, `orch apply` asks before it runs a statement that loses data, and shows it. The manifest says so for each kind of
risk, for all databases and for one:

```yaml
risks:
  loses-data: ask         # PG1xx, MG1xx, MY1xx; the default. allow, ask or refuse
  blocks-writes: allow    # PG2xx, PG6xx, and the same of MG and MY; the default
  breaks-readers: allow   # PG5xx, MG5xx, MY5xx; the default
databases:
  - {name: ledger, server: main, risks: {loses-data: refuse}}
```

`ask` asks only where there is a terminal (not in CI), and not with `--yes`; else the plan runs. `refuse` stops `orch apply`
and `orch plan` with exit code 5 before anything runs, also with `--yes`. A permission with a reason in the file counts for both.
What a database loses that the plan itself creates is no risk. `orch rollback` always asks, and is never refused. `orch redo`
always asks; if `refuse` forbids the files that it would run again, it stops before it rolls back.
What runs in a function counts if one
of the files creates the function and a SELECT or a CALL of another calls it. SQL that is put together while it runs (PG701,
MY701) cannot be judged, and asks nobody. An UPDATE that overwrites every row is `blocks-writes` (PG601). A code that is off
under `lint` is no risk, unless it loses data.

## Rules

The locks were measured on PostgreSQL 15 and 18, and the waits of clients on MongoDB 6.0. What a change of a
table needs on MySQL 9.7 and MariaDB 10.11 was measured by asking for less (`ALGORITHM=INPLACE, LOCK=NONE`), which they refuse.
"""


def lint_page() -> str:
    """Return docs/lint.md."""
    rows = ["| code | level | what |", "|---|---|---|"]
    rows += [f"| {rule.code} | {rule.level} | {rule.title} |" for rule in rules().values()]
    return "\n".join([_HEAD, *rows, "", *(rule_markdown(rule) for rule in rules().values())]).rstrip() + "\n"
