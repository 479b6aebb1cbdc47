[
  {
    "dropIndexes": "page_views",
    "index": "expire_at_ttl"
  },
  {
    "dropIndexes": "page_views",
    "index": "session_timestamp"
  },
  {
    "dropIndexes": "page_views",
    "index": "path_timestamp"
  },
  {
    "dropIndexes": "events",
    "index": "user_timestamp"
  },
  {
    "dropIndexes": "events",
    "index": "type_timestamp"
  }
]
