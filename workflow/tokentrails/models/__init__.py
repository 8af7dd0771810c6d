"""Bringing a checkpoint from where it lives into one folder of one form.

Whatever the source, the folder holds `config.json`, one `model.safetensors`, the tokenizer as
transformers saves it, and `provenance.json`. A kind of source is a row of `settings.SOURCE_KINDS`
and a module here.
"""
