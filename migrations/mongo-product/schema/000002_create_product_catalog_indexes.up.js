[
  {
    "createIndexes": "product_catalog",
    "indexes": [
      {
        "key": { "productId": 1 },
        "name": "product_id_unique",
        "unique": true
      },
      {
        "key": { "sku": 1 },
        "name": "sku_unique",
        "unique": true
      },
      {
        "key": { "categories": 1, "status": 1 },
        "name": "categories_status"
      },
      {
        "key": { "inventory.warehouse": 1, "inventory.quantity": 1 },
        "name": "inventory_by_warehouse"
      }
    ]
  }
]
