"""The User Service: who is registered, one user an e-mail address."""
