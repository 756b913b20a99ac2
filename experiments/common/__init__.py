"""What all experiments share: equal contenders, timed trainings in processes of their own, the report."""
