[
  {
    "dropIndexes": "product_catalog",
    "index": ["inventory_by_warehouse", "categories_status", "sku_unique", "product_id_unique"]
  }
]
