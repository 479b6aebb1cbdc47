[
  {
    "create": "events",
    "validator": {
      "$jsonSchema": {
        "bsonType": "object",
        "required": ["type", "timestamp"],
        "properties": {
          "type": {
            "bsonType": "string",
            "enum": ["signup", "login", "search", "add_to_cart", "checkout", "purchase"]
          },
          "timestamp": {
            "bsonType": "date"
          },
          "userId": {
            "bsonType": ["int", "long"]
          },
          "sessionId": {
            "bsonType": "string"
          },
          "properties": {
            "bsonType": "object"
          }
        }
      }
    }
  },
  {
    "create": "page_views",
    "validator": {
      "$jsonSchema": {
        "bsonType": "object",
        "required": ["path", "timestamp", "sessionId"],
        "properties": {
          "path": {
            "bsonType": "string",
            "pattern": "^/"
          },
          "timestamp": {
            "bsonType": "date"
          },
          "sessionId": {
            "bsonType": "string"
          },
          "userId": {
            "bsonType": ["int", "long"]
          },
          "referrer": {
            "bsonType": "string"
          },
          "durationMs": {
            "bsonType": ["int", "long"],
            "minimum": 0
          },
          "expireAt": {
            "bsonType": "date"
          }
        }
      }
    }
  }
]
