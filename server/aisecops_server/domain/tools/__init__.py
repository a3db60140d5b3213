"""Which tools an agent may ask for, and how an HTTP request becomes a call of one."""
