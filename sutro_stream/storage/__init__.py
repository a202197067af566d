"""Where bytes are: files, addresses, buckets; read, listed, and written whole."""
