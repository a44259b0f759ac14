"""The simulation: the services of a project under seeded schedules of crashes and lost events."""
