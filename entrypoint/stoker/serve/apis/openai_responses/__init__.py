"""OpenAI's Responses API: its requests become chat requests, and the events of the answer its own."""
