"""What the tests stand on: real servers, a provider, a browser made of HTTP requests, and tokens."""
