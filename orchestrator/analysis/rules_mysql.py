"""The rules of MySQL and MariaDB. What needs a copy was measured on MariaDB 10.11 and MySQL 9.7, by asking for less."""

from __future__ import annotations

from orchestrator.analysis.rule import ERROR, WARN, Rule

_VERSIONS = "MySQL 8.0 to 9, MariaDB 10.5 to 11"
_META = "metadata lock of the table, for a moment"
_SHARED = "metadata lock; no writes (LOCK=SHARED)"
_COPIES = "copies the table (ALGORITHM=COPY)"


def _rule(
    code: str,
    title: str,
    level: str,
    lock: str,
    blocks: str,
    work: str,
    why: str,
    example: str,
    advice: str,
    *safe: str,
) -> Rule:
    files = tuple((f"{number}_change.up.sql", text) for number, text in enumerate(safe, 1))
    return Rule(code, title, level, lock, blocks, work, why, example, files, advice, _VERSIONS)


def _copy(code: str, title: str, why: str, example: str, advice: str, *safe: str) -> Rule:
    return _rule(code, title, ERROR, _SHARED, "writes, the whole time", _COPIES, why, example, advice, *safe)


MYSQL = (
    _rule(
        "MY101",
        "drops a table",
        ERROR,
        _META,
        "all, for a moment",
        "removes the table",
        "All rows are gone, and MySQL cannot roll that back. Programs that still use the table fail.",
        "DROP TABLE orders;",
        "First deploy programs that no longer use the table. Rename it, wait, then drop it.",
        "RENAME TABLE orders TO orders_unused;\n",
    ),
    _rule(
        "MY102",
        "drops a column",
        ERROR,
        _META,
        "all, for a moment",
        "nothing on MySQL 8.0.29 and MariaDB 10.4 or newer; before that a rebuild",
        "What is in the column is gone. Programs that still name it fail.",
        "ALTER TABLE orders DROP COLUMN note;",
        "First deploy programs that no longer use the column. On MySQL and MariaDB it can be made INVISIBLE before that.",
    ),
    _rule(
        "MY103",
        "empties a table or a partition",
        ERROR,
        _META,
        "all, for a moment",
        "makes the table anew",
        "All rows are gone. TRUNCATE commits by itself: nothing rolls it back.",
        "TRUNCATE TABLE orders;",
        "If it is meant, say so: -- orch: allow MY103 REASON",
    ),
    _rule(
        "MY104",
        "deletes every row of a table",
        ERROR,
        "every row, to the end of the file",
        "writes to the same rows",
        "writes every row",
        "A DELETE without a condition removes all rows, in one transaction.",
        "DELETE FROM orders;",
        "Add a WHERE. Where all rows shall go, TRUNCATE is quicker; say that it is meant with a permission.",
        "DELETE FROM orders WHERE created_at < '2020-01-01' LIMIT 10000;\n",
    ),
    _rule(
        "MY105",
        "drops a database",
        ERROR,
        _META,
        "all",
        "removes every table of the database",
        "Another database of the server is gone, with everything in it. Nothing that orch records tells of it.",
        "DROP DATABASE archive;",
        "Take the database out of databases.yaml (orch rm-db), and let an administrator drop it by hand.",
    ),
    _copy(
        "MY201",
        "changes the type of a column",
        "Another type, a shorter text, another character set, or a VARCHAR that passes 255 bytes needs a copy of the table. "
        "Longer within the same number of length bytes, and more values at the end of an ENUM, need none.",
        "ALTER TABLE orders MODIFY total bigint;",
        "Add a column of the new type, fill it in batches while programs write both, then use it instead. Or use a tool that "
        "copies the table beside its writers (gh-ost, pt-online-schema-change).",
        "ALTER TABLE orders ADD COLUMN total_new bigint;\n",
    ),
    _copy(
        "MY202",
        "drops the primary key",
        "InnoDB keeps the rows in the order of the primary key, so without one the table is copied.",
        "ALTER TABLE orders DROP PRIMARY KEY;",
        "Drop and add the key in one statement: then the table is rebuilt while programs write.",
        "ALTER TABLE orders DROP PRIMARY KEY, ADD PRIMARY KEY (id, customer_id);\n",
    ),
    _copy(
        "MY203",
        "converts a table to another character set",
        "Every text of the table is written anew.",
        "ALTER TABLE orders CONVERT TO CHARACTER SET utf8mb4;",
        "Change the default for new columns, and convert large tables with a tool that copies them beside their writers.",
        "ALTER TABLE orders DEFAULT CHARACTER SET utf8mb4;\n",
    ),
    _rule(
        "MY204",
        "builds a full-text or spatial index, or numbers the rows",
        ERROR,
        _SHARED,
        "writes, the whole time",
        "reads the table; the first full-text index and an AUTO_INCREMENT column rebuild it",
        "These are built in place, and nobody may write meanwhile: the server refuses LOCK=NONE.",
        "ALTER TABLE orders ADD FULLTEXT INDEX orders_note (note);",
        "Do it while few programs write, or beside them with a tool that copies the table.",
    ),
    _copy(
        "MY205",
        "adds a foreign key to a table that is in use",
        "With foreign_key_checks on, the server copies the table and checks every row.",
        "ALTER TABLE orders ADD CONSTRAINT orders_customer FOREIGN KEY (customer_id) REFERENCES customers (id);",
        "Look for rows without their parent first. With foreign_key_checks off the key is added in place, and old rows are not "
        "checked. That is right where the query finds none.",
        "-- orch: require SELECT count(*) = 0 FROM orders o LEFT JOIN customers c ON c.id = o.customer_id "
        "WHERE c.id IS NULL AND o.customer_id IS NOT NULL\n"
        "-- orch: allow MY205 foreign_key_checks is off, so nothing is copied\n"
        "SET foreign_key_checks = 0;\n"
        "ALTER TABLE orders ADD CONSTRAINT orders_customer FOREIGN KEY (customer_id) REFERENCES customers (id), "
        "ALGORITHM=INPLACE, LOCK=NONE;\n",
    ),
    _copy(
        "MY206",
        "rewrites a table while nobody can write to it",
        "A stored generated column, a CHECK constraint, another storage engine, ORDER BY, ALGORITHM=COPY and LOCK=SHARED stop "
        "writers until the table is done.",
        "ALTER TABLE orders ADD CONSTRAINT orders_total CHECK (total > 0);",
        "A VIRTUAL generated column needs no work, and an index on it is built beside writers.",
        "ALTER TABLE orders ADD COLUMN doubled int AS (total * 2) VIRTUAL, ALGORITHM=INSTANT;\n",
    ),
    _copy(
        "MY207",
        "distributes the rows of a table anew",
        "PARTITION BY, REORGANIZE, COALESCE and REMOVE PARTITIONING copy rows while nobody may write.",
        "ALTER TABLE orders PARTITION BY HASH (id) PARTITIONS 4;",
        "Make a partitioned table of another name, let programs write to it, and fill it in batches.",
    ),
    _rule(
        "MY401",
        "builds a unique index",
        WARN,
        _META,
        "nobody for long",
        "reads the table",
        "It fails at its end if two rows are alike, and programs that insert such rows meanwhile make it fail too.",
        "CREATE UNIQUE INDEX orders_number ON orders (number);",
        "Look for equal rows first: -- orch: require SELECT count(*) = 0 FROM (SELECT number FROM orders GROUP BY number "
        "HAVING count(*) > 1) twice",
    ),
    _rule(
        "MY402",
        "makes a column NOT NULL",
        WARN,
        _META,
        "nobody for long",
        "rebuilds the table in place",
        "It fails at its end if there is a NULL; without strict mode NULL becomes 0 or an empty text.",
        "ALTER TABLE orders MODIFY note text NOT NULL;",
        "Fill the column first, and say what is expected: -- orch: require SELECT count(*) = 0 FROM orders WHERE note IS NULL",
    ),
    _rule(
        "MY403",
        "asks for less than the change needs",
        ERROR,
        "none",
        "nobody",
        "nothing: the statement fails",
        "ALGORITHM=INSTANT, ALGORITHM=INPLACE and LOCK=NONE are promises: the server refuses the statement (1845, 1846) where it "
        "needs more. That is good to have in a file, but this file will fail.",
        "ALTER TABLE orders MODIFY total bigint, ALGORITHM=INSTANT;",
        "See the rule of the change itself.",
    ),
    _rule(
        "MY501",
        "renames a column",
        WARN,
        _META,
        "all, for a moment",
        "nothing",
        "Programs that are still running name the old column and fail.",
        "ALTER TABLE orders RENAME COLUMN note TO remark;",
        "Add a column, write both, read the new one, then drop the old one; or let a view show the new name.",
        "ALTER TABLE orders ADD COLUMN remark text;\n",
    ),
    _rule(
        "MY502",
        "renames a table",
        WARN,
        _META,
        "all, for a moment",
        "nothing",
        "Programs that are still running name the old table and fail.",
        "RENAME TABLE orders TO purchases;",
        "Make a view of the new name first, and rename the table when no program uses the old name.",
        "CREATE VIEW purchases AS SELECT * FROM orders;\n",
    ),
    _rule(
        "MY503",
        "adds a column that must be given",
        WARN,
        _META,
        "nobody for long",
        "nothing",
        "In strict mode every INSERT of a program that does not know the column fails: it has no default.",
        "ALTER TABLE orders ADD COLUMN state varchar(20) NOT NULL;",
        "Give it a default, which is dropped when all programs write it.",
        "ALTER TABLE orders ADD COLUMN state varchar(20) NOT NULL DEFAULT 'new';\n",
    ),
    _rule(
        "MY601",
        "rewrites every row of a table",
        WARN,
        "every row, to the end of the file",
        "writes to the same rows, until the file commits",
        "writes every row",
        "All rows are locked until the file commits; the undo log grows, and replicas lag by as much.",
        "UPDATE orders SET state = 'new';",
        "Update in batches, by ranges of the primary key or with LIMIT.",
        "UPDATE orders SET state = 'new' WHERE id BETWEEN 1 AND 10000;\n",
    ),
    _rule(
        "MY602",
        "rebuilds a table beside its writers",
        WARN,
        f"{_META} at the beginning and at the end",
        "all, while it waits for the metadata lock at its end",
        "writes the table anew in place; replicas begin when it is done",
        "Programs may write meanwhile. It takes as long as the table is large, needs its size on the disk once more, and at its "
        "end waits for every transaction that has read the table; whoever comes then waits behind it.",
        "ALTER TABLE orders FORCE;",
        "Do it while few programs write, with a short lock_timeout: orch tries again.",
    ),
    _rule(
        "MY701",
        "runs SQL that is put together while it runs",
        WARN,
        "whatever it turns out to be",
        "nobody knows before",
        "whatever it turns out to be",
        "Neither this command nor a reviewer can see what a PREPARE of a variable will do.",
        "SET @s = CONCAT('DROP TABLE ', 'orders');\nPREPARE p FROM @s;",
        "Write the statements out, or read them and allow it: -- orch: allow MY701 REASON",
    ),
)
