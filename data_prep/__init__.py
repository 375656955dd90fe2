"""Scripts that download data: the only place of the project that downloads."""
