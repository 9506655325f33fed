"""Modules that only the environment of install.sh can import."""

collect_ignore = ["hf_config.py", "kv_oracle.py", "parsers.py", "pretend_gpu.py"]
