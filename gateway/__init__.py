"""The gateway: HTTP requests in, commands out, replies by subscription, reads by invocation."""
