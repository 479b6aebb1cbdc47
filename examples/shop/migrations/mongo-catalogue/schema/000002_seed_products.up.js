[
  {
    "insert": "products",
    "documents": [
      {"sku": "tea", "price": {"$numberDecimal": "120.00"}},
      {"sku": "cup", "price": {"$numberDecimal": "85.50"}}
    ]
  }
]
