"""What tests stand on: real parts, put together once for many of them."""
