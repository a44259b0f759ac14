-- The image runs this file when it creates the database. with-logins writes the other one.
\i /tmp/logins.sql
