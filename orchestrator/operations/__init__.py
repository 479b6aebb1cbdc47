"""One use case a module: plain options in, a result out."""
