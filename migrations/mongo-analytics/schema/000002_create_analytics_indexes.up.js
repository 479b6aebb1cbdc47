[
  {
    "createIndexes": "events",
    "indexes": [
      {
        "key": { "type": 1, "timestamp": -1 },
        "name": "type_timestamp"
      },
      {
        "key": { "userId": 1, "timestamp": -1 },
        "name": "user_timestamp",
        "sparse": true
      }
    ]
  },
  {
    "createIndexes": "page_views",
    "indexes": [
      {
        "key": { "path": 1, "timestamp": -1 },
        "name": "path_timestamp"
      },
      {
        "key": { "sessionId": 1, "timestamp": 1 },
        "name": "session_timestamp"
      },
      {
        "key": { "expireAt": 1 },
        "name": "expire_at_ttl",
        "expireAfterSeconds": 0
      }
    ]
  }
]
