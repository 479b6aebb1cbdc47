[{"drop": "products"}]
