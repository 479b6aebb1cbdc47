[
  {
    "delete": "product_catalog",
    "deletes": [
      {
        "q": { "sku": { "$in": ["TS-001", "TS-002", "MG-001"] } },
        "limit": 0
      }
    ]
  }
]
