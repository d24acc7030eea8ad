"""Models that make data for other models: a local one, or an OpenAI-compatible endpoint. Every reply is paid for once."""
