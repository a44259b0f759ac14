"""The Notification Service: e-mails to users about their orders."""
