[
  {
    "dropIndexes": "product_catalog",
    "index": "inventory_by_warehouse"
  },
  {
    "dropIndexes": "product_catalog",
    "index": "categories_status"
  },
  {
    "dropIndexes": "product_catalog",
    "index": "sku_unique"
  },
  {
    "dropIndexes": "product_catalog",
    "index": "product_id_unique"
  }
]
