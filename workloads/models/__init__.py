"""Models: functions from sizes to the workload of one step, without torch."""
