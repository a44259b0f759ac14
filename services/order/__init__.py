"""The Order Service: orders and the outcomes of their payments."""
