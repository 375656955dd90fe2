"""Scripts that bring data onto the disk: the only place of the project that downloads."""
