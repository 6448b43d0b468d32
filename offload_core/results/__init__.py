"""What is made of a run's events: the accounting of every test, the journal, the reports and the console."""
