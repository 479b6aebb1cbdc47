[
  {
    "create": "products",
    "validator": {"$jsonSchema": {"required": ["sku", "price"], "properties": {"price": {"bsonType": "decimal"}}}}
  },
  {"createIndexes": "products", "indexes": [{"key": {"sku": 1}, "name": "sku", "unique": true}]}
]
