"""How each architecture turns a Hugging Face config into layers and tensors."""
