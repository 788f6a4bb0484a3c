"""What torch's compiler lacks, in words."""

from __future__ import annotations

from edit_eval.worker.compiler import compiler_lacks


def test_a_gpu_needs_triton_and_all_need_a_c_compiler(monkeypatch):
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    monkeypatch.setattr("shutil.which", lambda name: None)
    assert compiler_lacks("cuda:0").endswith("-m pip install triton")
    assert compiler_lacks("cpu") == "a C compiler, and there is none (cc, gcc, clang)"
    monkeypatch.setattr("importlib.util.find_spec", lambda name: object())
    assert compiler_lacks("cuda").startswith("a C compiler")
    monkeypatch.setenv("CC", "gcc")
    assert compiler_lacks("cuda") == ""
