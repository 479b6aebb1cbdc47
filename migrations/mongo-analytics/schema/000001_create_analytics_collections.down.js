[
  {
    "drop": "page_views"
  },
  {
    "drop": "events"
  }
]
