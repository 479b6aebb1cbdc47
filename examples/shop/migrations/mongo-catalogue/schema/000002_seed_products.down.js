[{"delete": "products", "deletes": [{"q": {"sku": {"$in": ["tea", "cup"]}}, "limit": 0}]}]
