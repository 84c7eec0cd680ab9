"""Reality: measure, calibrate and compare what was predicted with what happened."""
