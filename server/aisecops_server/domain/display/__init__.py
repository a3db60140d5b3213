"""What people see: words, marks and colours, and foreign text made safe to show."""
