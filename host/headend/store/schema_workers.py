"""Tables of processes that share a database: who works on what until when, and who may speak at a broker."""
