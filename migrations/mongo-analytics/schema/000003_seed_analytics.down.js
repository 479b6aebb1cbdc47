[
  {
    "delete": "page_views",
    "deletes": [
      {
        "q": { "sessionId": { "$in": ["seed-session-1", "seed-session-2"] } },
        "limit": 0
      }
    ]
  },
  {
    "delete": "events",
    "deletes": [
      {
        "q": { "sessionId": "seed-session-1" },
        "limit": 0
      }
    ]
  }
]
