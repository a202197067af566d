"""One HTTP exchange, bytes out and bytes in: the contract, and two clients."""
