"""The mails of the Notification Service: sent by SMTP, at least once."""
