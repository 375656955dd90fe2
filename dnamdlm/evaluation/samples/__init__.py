"""Quality of generated DNA, compared with real sequence and with reference samples."""
