[
  {
    "create": "product_catalog",
    "validator": {
      "$jsonSchema": {
        "bsonType": "object",
        "required": ["productId", "sku", "name", "price", "status", "createdAt"],
        "properties": {
          "productId": {
            "bsonType": ["int", "long"],
            "minimum": 1
          },
          "sku": {
            "bsonType": "string",
            "minLength": 1
          },
          "name": {
            "bsonType": "object",
            "required": ["th"],
            "properties": {
              "th": {
                "bsonType": "string"
              },
              "en": {
                "bsonType": "string"
              }
            }
          },
          "categories": {
            "bsonType": "array",
            "items": {
              "bsonType": "string"
            }
          },
          "price": {
            "bsonType": "object",
            "required": ["amount", "currency"],
            "properties": {
              "amount": {
                "bsonType": "decimal"
              },
              "currency": {
                "bsonType": "string",
                "minLength": 3,
                "maxLength": 3
              }
            }
          },
          "attributes": {
            "bsonType": "object"
          },
          "inventory": {
            "bsonType": "array",
            "items": {
              "bsonType": "object",
              "required": ["warehouse", "quantity"],
              "properties": {
                "warehouse": {
                  "bsonType": "string"
                },
                "quantity": {
                  "bsonType": "int",
                  "minimum": 0
                },
                "reserved": {
                  "bsonType": "int",
                  "minimum": 0
                }
              }
            }
          },
          "status": {
            "bsonType": "string",
            "enum": ["draft", "active", "archived"]
          },
          "createdAt": {
            "bsonType": "date"
          },
          "updatedAt": {
            "bsonType": "date"
          }
        }
      }
    }
  }
]
