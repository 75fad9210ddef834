"""Tests of the core, module by module, without any host."""
