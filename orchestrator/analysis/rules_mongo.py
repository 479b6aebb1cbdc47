"""The MongoDB rules. How long clients waited was measured on mongod 6.0 with 300,000 documents."""

from __future__ import annotations

from orchestrator.analysis.rule import ERROR, WARN, Rule

_VERSIONS = "MongoDB 4.4 to 8"


def _rule(
    code: str, title: str, level: str, blocks: str, work: str, why: str, example: str, advice: str, *safe: str
) -> Rule:
    files = tuple((f"{number}_change.up.json", text) for number, text in enumerate(safe, 1))
    return Rule(code, title, level, "an intent lock, or none", blocks, work, why, example, files, advice, _VERSIONS)


MONGO = (
    _rule(
        "MG101",
        "drops a collection and what is in it",
        ERROR,
        "nobody for long",
        "nothing",
        "All documents and indexes are gone. Programs that still read the collection find nothing; those that write make it anew.",
        '[{"drop": "orders"}]',
        "First deploy programs that no longer use the collection. Rename it, wait, then drop it.",
        '[{"renameCollection": "shop.orders", "to": "shop.orders_unused"}]\n',
        '[{"drop": "orders_unused"}]\n',
    ),
    _rule(
        "MG103",
        "deletes every document of a collection",
        ERROR,
        "writes to the same documents",
        "removes every document",
        "A delete without a condition removes all documents.",
        '[{"delete": "orders", "deletes": [{"q": {}, "limit": 0}]}]',
        "Add a condition to q, or drop the collection and say with a permission that it is meant.",
    ),
    _rule(
        "MG104",
        "replaces a collection by the result of an aggregation",
        ERROR,
        "nobody for long",
        "writes a new collection and puts it in the place of the old one",
        "$out drops what was in its collection. $merge into another database overwrites documents that others wrote there.",
        '[{"aggregate": "orders", "pipeline": [{"$match": {"state": "new"}}, {"$out": "orders"}], "cursor": {}}]',
        "Use $merge in the same database, which keeps what it does not match, or write to a collection of its own. Where documents "
        'of another database must stay as they are, say whenMatched: "keepExisting" or "fail".',
    ),
    _rule(
        "MG105",
        "makes a collection capped and drops what does not fit",
        ERROR,
        "writes, the whole time",
        "copies the collection without its oldest documents beyond the limit",
        "The oldest documents beyond the limit are gone, now and with every later insert.",
        '[{"convertToCapped": "log", "size": 1000000}]',
        "Delete old documents by a condition, from time to time; or make a capped collection of another name.",
        '[{"create": "log_latest", "capped": true, "size": 1000000}]\n',
    ),
    _rule(
        "MG106",
        "lets old documents expire",
        WARN,
        "nobody",
        "deletes documents in the background, within a minute, and from then on",
        "All documents that are older than expireAfterSeconds are gone a minute later. They cannot be restored.",
        '[{"createIndexes": "log", "indexes": [{"key": {"at": 1}, "name": "at_1", "expireAfterSeconds": 2592000}]}]',
        "Count first how many documents are older, and say with a permission that it is meant.",
    ),
    _rule(
        "MG201",
        "copies a collection while nobody can write to it",
        ERROR,
        "writes, the whole time (measured: 1.9 of 1.9 s)",
        "copies the collection",
        "convertToCapped stops writers until the copy is whole, drops what does not fit, and drops the indexes.",
        '[{"convertToCapped": "log", "size": 1000000}]',
        "Make a capped collection of another name, let programs write to it, and drop the old one later.",
        '[{"create": "log_capped", "capped": true, "size": 1000000}]\n',
    ),
    _rule(
        "MG202",
        "checks a collection while nobody can write to it",
        ERROR,
        "writes, nearly the whole time (measured: 443 of 455 ms)",
        "reads every document and index",
        "validate holds a lock that stops writers.",
        '[{"validate": "orders", "full": true}]',
        "Run it on a secondary, outside of a migration.",
    ),
    _rule(
        "MG401",
        "makes an index unique, which fails if two documents are alike",
        WARN,
        "nobody for long",
        "reads every document",
        "The command fails with DuplicateKey (11000) if the collection has two documents with the same key.",
        '[{"createIndexes": "orders", "indexes": [{"key": {"number": 1}, "name": "number_1", "unique": true}]}]',
        "Look for duplicates first, and remove them in an earlier migration.",
    ),
    _rule(
        "MG402",
        "adds a validator that old documents may fail",
        WARN,
        "nobody for long",
        "nothing: old documents are not checked now",
        "The next update of an old document that does not fit fails with DocumentValidationFailure (121).",
        '[{"collMod": "orders", "validator": {"total": {"$type": "number"}}}]',
        "validationLevel moderate leaves old documents that do not fit alone.",
        '[{"collMod": "orders", "validator": {"total": {"$type": "number"}}, "validationLevel": "moderate"}]\n',
    ),
    _rule(
        "MG403",
        "reIndex runs on a standalone server only",
        ERROR,
        "reads and writes",
        "builds every index anew",
        "A replica set refuses it (IllegalOperation, 20).",
        '[{"reIndex": "orders"}]',
        "Drop and create the index that is damaged.",
    ),
    _rule(
        "MG501",
        "renames what running programs use",
        WARN,
        "nobody for long",
        "nothing",
        "Programs of the previous release use the old name: they find nothing, and their writes make the old collection anew.",
        '[{"renameCollection": "shop.orders", "to": "shop.sales"}]',
        "Copy with $merge, let programs write both, then drop the old one.",
    ),
    _rule(
        "MG502",
        "drops indexes that queries may need",
        WARN,
        "nobody for long",
        "nothing",
        "Queries that used the index read the whole collection from then on.",
        '[{"dropIndexes": "orders", "index": "number_1"}]',
        "Hide the index first, and drop it when nobody has missed it.",
        '[{"collMod": "orders", "index": {"name": "number_1", "hidden": true}}]\n',
        '[{"dropIndexes": "orders", "index": "number_1"}]\n',
    ),
    _rule(
        "MG601",
        "changes every document of a collection",
        WARN,
        "writes to the same documents (measured: 273 ms at most)",
        "writes every document anew",
        "The command runs for as long as the collection is large, and replicas fall behind.",
        '[{"update": "orders", "updates": [{"q": {}, "u": {"$set": {"state": "new"}}, "multi": true}]}]',
        "Change documents in pieces, by ranges of _id.",
    ),
)
