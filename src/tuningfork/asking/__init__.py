"""Questions to language models, a local one or an OpenAI-compatible endpoint; every reply is kept and paid for once."""
