"""Every view is a fold over the event stream; none asks the executor anything."""
