[
  {
    "drop": "product_catalog"
  }
]
