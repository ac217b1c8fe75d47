"""What can be looked at beyond labels: what is alike, what a score rests on, a whole run at a glance."""
