"""The PostgreSQL rules about locks that last: PG2xx, and PG3xx for other tables. Measured on 15 and 18."""

from __future__ import annotations

from orchestrator.analysis.rule import ERROR, OFF, WARN, Rule

_AE = "ACCESS EXCLUSIVE"
_ALL = "reads and writes"

LOCKS = (
    Rule(
        "PG201",
        "rewrites a table while nobody can read it",
        ERROR,
        _AE,
        _ALL,
        "writes every row and every index anew",
        "Every row is written anew under a lock that stops readers too. This holds for a volatile default (clock_timestamp(), "
        "gen_random_uuid(), random(), nextval(), a PL/pgSQL function that is not declared STABLE or IMMUTABLE), serial, identity, "
        "GENERATED … STORED, a domain with a CHECK (even without a default), most changes of TYPE, SET LOGGED, SET UNLOGGED, "
        "SET TABLESPACE, CLUSTER and VACUUM FULL. A constant default, now(), varchar to a longer varchar or to text, and numeric "
        "with more digits of the same scale rewrite nothing.",
        "ALTER TABLE orders ADD COLUMN token uuid NOT NULL DEFAULT gen_random_uuid();",
        (
            (
                "1_orders_token.up.sql",
                "ALTER TABLE orders ADD COLUMN token uuid;\nALTER TABLE orders ALTER COLUMN token SET DEFAULT gen_random_uuid();\n",
            ),
            (
                "2_orders_token_fill.up.sql",
                "-- Repeat for ranges of the key, each in a file or a job of its own.\n"
                "UPDATE orders SET token = gen_random_uuid() WHERE token IS NULL AND id BETWEEN 1 AND 10000;\n",
            ),
            (
                "3_orders_token_check.up.sql",
                "ALTER TABLE orders ADD CONSTRAINT orders_token_set CHECK (token IS NOT NULL) NOT VALID;\n",
            ),
            ("4_orders_token_valid.up.sql", "ALTER TABLE orders VALIDATE CONSTRAINT orders_token_set;\n"),
            (
                "5_orders_token_required.up.sql",
                "ALTER TABLE orders ALTER COLUMN token SET NOT NULL;\nALTER TABLE orders DROP CONSTRAINT orders_token_set;\n",
            ),
        ),
        "For a change of TYPE: add a second column, write both in the program, fill the old rows in pieces, then switch.",
    ),
    Rule(
        "PG202",
        "checks a table while nobody can read it",
        ERROR,
        _AE,
        _ALL,
        "reads every row",
        "All rows are read under a lock that stops readers too: SET NOT NULL, ADD CHECK, ADD COLUMN … CHECK, a primary key over an "
        "index of a nullable column, ATTACH PARTITION without a CHECK that says the same as the bound, and any new partition beside "
        "a default partition with rows. SET NOT NULL reads nothing where a validated CHECK (column IS NOT NULL) stands.",
        "ALTER TABLE orders ALTER COLUMN total SET NOT NULL;",
        (
            (
                "1_orders_total_check.up.sql",
                "ALTER TABLE orders ADD CONSTRAINT orders_total_set CHECK (total IS NOT NULL) NOT VALID;\n",
            ),
            ("2_orders_total_valid.up.sql", "ALTER TABLE orders VALIDATE CONSTRAINT orders_total_set;\n"),
            (
                "3_orders_total_required.up.sql",
                "ALTER TABLE orders ALTER COLUMN total SET NOT NULL;\nALTER TABLE orders DROP CONSTRAINT orders_total_set;\n",
            ),
        ),
        "Each step is a file of its own: a file is one transaction, and keeps its strongest lock to its end.",
    ),
    Rule(
        "PG203",
        "builds an index while its table is locked",
        ERROR,
        f"SHARE; {_AE} for UNIQUE, PRIMARY KEY and EXCLUDE",
        "writes; reads too for a constraint",
        "reads every row and sorts it",
        "CREATE INDEX stops writers until the index is built, ADD UNIQUE and ADD PRIMARY KEY stop readers as well. So do REINDEX, and "
        "a change of COLLATE of an indexed column.",
        "CREATE INDEX orders_customer ON orders (customer_id);",
        (
            ("1_orders_customer.up.sql", "CREATE INDEX CONCURRENTLY orders_customer ON orders (customer_id);\n"),
            ("2_orders_number.up.sql", "CREATE UNIQUE INDEX CONCURRENTLY orders_number_key ON orders (number);\n"),
            (
                "3_orders_number_key.up.sql",
                "ALTER TABLE orders ADD CONSTRAINT orders_number_key UNIQUE USING INDEX orders_number_key;\n",
            ),
        ),
        "CREATE INDEX CONCURRENTLY stands alone in its file. Files 2 and 3 are the way to a UNIQUE constraint.",
    ),
    Rule(
        "PG204",
        "checks a foreign key while nobody can write to both tables",
        ERROR,
        "SHARE ROW EXCLUSIVE on both tables",
        "writes",
        "reads every row of the table and looks each up in the referenced one",
        "ADD FOREIGN KEY reads the whole table while nobody can write to it, or to the referenced table. ADD COLUMN with a default and "
        "REFERENCES does so under ACCESS EXCLUSIVE.",
        "ALTER TABLE orders ADD CONSTRAINT orders_customer_fk FOREIGN KEY (customer_id) REFERENCES customers (id);",
        (
            (
                "1_orders_customer_fk.up.sql",
                "ALTER TABLE orders ADD CONSTRAINT orders_customer_fk FOREIGN KEY (customer_id) REFERENCES customers (id) NOT VALID;\n",
            ),
            ("2_orders_customer_fk_valid.up.sql", "ALTER TABLE orders VALIDATE CONSTRAINT orders_customer_fk;\n"),
        ),
        "VALIDATE takes SHARE UPDATE EXCLUSIVE, which stops neither readers nor writers.",
    ),
    Rule(
        "PG205",
        "checks every table that uses a domain",
        ERROR,
        "SHARE on every table with a column of the domain",
        "writes",
        "reads every row of all of them",
        "ALTER DOMAIN … ADD CONSTRAINT, VALIDATE CONSTRAINT and SET NOT NULL read every table that has a column of the domain, while nobody "
        "can write to any of them.",
        "ALTER DOMAIN email ADD CONSTRAINT has_at CHECK (VALUE LIKE '%@%');",
        (("1_email.up.sql", "ALTER DOMAIN email ADD CONSTRAINT has_at CHECK (VALUE LIKE '%@%') NOT VALID;\n"),),
        "NOT VALID takes no lock, and holds for all new rows. There is no way to validate without the scan: do it in a quiet hour.",
    ),
    Rule(
        "PG206",
        "NOT VALID and VALIDATE in one transaction",
        ERROR,
        f"{_AE} for CHECK; SHARE ROW EXCLUSIVE on both tables for a foreign key",
        "reads and writes; writes for a foreign key",
        "reads every row",
        "The lock that ADD CONSTRAINT … NOT VALID takes is held to the end of the transaction, so VALIDATE in the same file reads "
        "the table under it and nothing is gained. A file is one transaction.",
        "ALTER TABLE orders ADD CONSTRAINT positive CHECK (total > 0) NOT VALID;\nALTER TABLE orders VALIDATE CONSTRAINT positive;",
        (
            ("1_orders_positive.up.sql", "ALTER TABLE orders ADD CONSTRAINT positive CHECK (total > 0) NOT VALID;\n"),
            ("2_orders_positive_valid.up.sql", "ALTER TABLE orders VALIDATE CONSTRAINT positive;\n"),
        ),
        "Two files are two transactions.",
    ),
    Rule(
        "PG207",
        "fills a materialized view while nobody can read it",
        ERROR,
        _AE,
        _ALL,
        "runs the query of the view and writes its result",
        "Nobody can read the view until its query is done.",
        "REFRESH MATERIALIZED VIEW sales;",
        (("1_sales.up.sql", "REFRESH MATERIALIZED VIEW CONCURRENTLY sales;\n"),),
        "CONCURRENTLY needs a unique index on the view.",
    ),
    Rule(
        "PG208",
        "locks a table by LOCK",
        WARN,
        "the one that is named",
        "as the mode says",
        "nothing",
        "The lock is held to the end of the file, whatever else the file does.",
        "LOCK TABLE orders;",
        (),
        "Leave it out: each statement takes the lock that it needs. If it must be, put it into a file with little work.",
    ),
    Rule(
        "PG301",
        "locks the referenced table too",
        WARN,
        f"{_AE} on the referenced table",
        _ALL,
        "nothing: the lock is short, but it waits for every open transaction",
        "Dropping a foreign key, or a table or a column that has one, takes ACCESS EXCLUSIVE on the table that it refers to. So does another "
        "type for a column of a foreign key, at either end: PostgreSQL makes the key anew. While the statement waits for that lock, all "
        "readers of the other table wait behind it.",
        "ALTER TABLE orders DROP CONSTRAINT orders_customer_fk;",
        (
            (
                "1_orders_customer_fk.up.sql",
                "-- orch: lock_try=500ms\nALTER TABLE orders DROP CONSTRAINT orders_customer_fk;\n",
            ),
        ),
        "Let it stand alone in its file; lock_try bounds how long readers wait behind it.",
    ),
    Rule(
        "PG302",
        "locks the partitioned table",
        WARN,
        f"{_AE} on the partitioned table",
        _ALL,
        "nothing: the lock is short, but it waits for every open transaction",
        "CREATE TABLE … PARTITION OF, DETACH PARTITION and DROP TABLE of a partition take ACCESS EXCLUSIVE on the partitioned table.",
        "CREATE TABLE orders_2027 PARTITION OF orders FOR VALUES FROM ('2027-01-01') TO ('2028-01-01');",
        (
            (
                "1_orders_2027.up.sql",
                "CREATE TABLE orders_2027 (LIKE orders INCLUDING ALL);\n"
                "ALTER TABLE orders ATTACH PARTITION orders_2027 FOR VALUES FROM ('2027-01-01') TO ('2028-01-01');\n",
            ),
            ("2_orders_2019.up.sql", "ALTER TABLE orders DETACH PARTITION orders_2019 CONCURRENTLY;\n"),
            ("3_orders_2019_drop.up.sql", "DROP TABLE orders_2019;\n"),
        ),
        "ATTACH takes SHARE UPDATE EXCLUSIVE, which stops nobody. DETACH … CONCURRENTLY stands alone in its file (PostgreSQL 14 and later).",
    ),
    Rule(
        "PG303",
        "locks the referenced table against writes for a moment",
        OFF,
        "SHARE ROW EXCLUSIVE on the referenced table",
        "writes",
        "nothing: the lock is short",
        "CREATE TABLE with a foreign key, ADD COLUMN … REFERENCES and ADD FOREIGN KEY … NOT VALID stop writers of the referenced table for "
        "milliseconds, and wait for its open transactions first.",
        "CREATE TABLE orders (customer_id bigint REFERENCES customers (id));",
        (),
        "Nothing has to be done where transactions are short.",
    ),
    Rule(
        "PG304",
        "locks several tables in one transaction",
        WARN,
        "SHARE ROW EXCLUSIVE or stronger on all of them",
        _ALL,
        "nothing",
        "A file is one transaction. It keeps the lock on the first table while it waits for the second: a program that uses them in the "
        "other order makes a deadlock, and readers of the first wait for those of the second.",
        "ALTER TABLE orders ADD COLUMN a int;\nALTER TABLE customers ADD COLUMN a int;",
        (
            ("1_orders_a.up.sql", "ALTER TABLE orders ADD COLUMN a int;\n"),
            ("2_customers_a.up.sql", "ALTER TABLE customers ADD COLUMN a int;\n"),
        ),
        "One file for each table.",
    ),
)
