"""The page of `orch report`: the estate as one document, and that document as one HTML file."""
