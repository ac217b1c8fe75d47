"""What makes, measures and checks this repository; see README.md."""
