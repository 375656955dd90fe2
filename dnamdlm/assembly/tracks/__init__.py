"""One room of the package; see ARCHITECTURE.md."""
