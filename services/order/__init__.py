"""The Order Service: orders and what became of them."""
