[
  {
    "insert": "events",
    "documents": [
      {
        "type": "login",
        "timestamp": { "$date": "2024-12-24T01:00:00Z" },
        "userId": 1,
        "sessionId": "seed-session-1"
      },
      {
        "type": "add_to_cart",
        "timestamp": { "$date": "2024-12-24T01:02:30Z" },
        "userId": 1,
        "sessionId": "seed-session-1",
        "properties": { "productId": 1, "quantity": 2 }
      },
      {
        "type": "purchase",
        "timestamp": { "$date": "2024-12-24T01:05:00Z" },
        "userId": 1,
        "sessionId": "seed-session-1",
        "properties": { "orderNumber": "SO-2024-000001", "total": { "$numberDecimal": "760.00" } }
      }
    ]
  },
  {
    "insert": "page_views",
    "documents": [
      {
        "path": "/",
        "timestamp": { "$date": "2024-12-24T01:00:05Z" },
        "sessionId": "seed-session-1",
        "userId": 1,
        "referrer": "https://www.example.com/",
        "durationMs": 4200
      },
      {
        "path": "/products/1",
        "timestamp": { "$date": "2024-12-24T01:01:00Z" },
        "sessionId": "seed-session-1",
        "userId": 1,
        "durationMs": 61000
      },
      {
        "path": "/products/3",
        "timestamp": { "$date": "2024-12-24T03:00:00Z" },
        "sessionId": "seed-session-2",
        "expireAt": { "$date": "2099-12-31T00:00:00Z" }
      }
    ]
  }
]
