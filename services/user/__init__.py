"""The User Service: registered users, one per e-mail address."""
