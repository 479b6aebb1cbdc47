[
  {
    "insert": "product_catalog",
    "documents": [
      {
        "productId": 1,
        "sku": "TS-001",
        "name": { "th": "เสื้อยืดคอกลม", "en": "Crew neck T-shirt" },
        "categories": ["clothing", "t-shirts"],
        "price": { "amount": { "$numberDecimal": "290.00" }, "currency": "THB" },
        "attributes": { "material": "cotton", "sizes": ["S", "M", "XL"] },
        "inventory": [
          { "warehouse": "Main Warehouse", "quantity": 100, "reserved": 10 }
        ],
        "status": "active",
        "createdAt": { "$date": "2024-12-24T00:00:00Z" }
      },
      {
        "productId": 2,
        "sku": "TS-002",
        "name": { "th": "เสื้อโปโล", "en": "Polo shirt" },
        "categories": ["clothing", "t-shirts"],
        "price": { "amount": { "$numberDecimal": "450.00" }, "currency": "THB" },
        "inventory": [],
        "status": "active",
        "createdAt": { "$date": "2024-12-24T00:00:00Z" }
      },
      {
        "productId": 3,
        "sku": "MG-001",
        "name": { "th": "แก้วเซรามิก", "en": "Ceramic mug" },
        "categories": ["home", "mugs"],
        "price": { "amount": { "$numberDecimal": "180.00" }, "currency": "THB" },
        "attributes": { "volumeMl": 350 },
        "inventory": [],
        "status": "active",
        "createdAt": { "$date": "2024-12-24T00:00:00Z" }
      }
    ]
  }
]
