"""The Gateway: HTTP in, commands out, replies back by subscription, reads by service invocation."""
