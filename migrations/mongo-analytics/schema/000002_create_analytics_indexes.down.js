[
  {
    "dropIndexes": "page_views",
    "index": ["expire_at_ttl", "session_timestamp", "path_timestamp"]
  },
  {
    "dropIndexes": "events",
    "index": ["user_timestamp", "type_timestamp"]
  }
]
