"""The script that measures an edit: what it computes, and that it runs anywhere."""

from __future__ import annotations

import json

import pytest
from perf_scripts import PERF, run_script


@pytest.fixture
def kernels(monkeypatch):
    monkeypatch.syspath_prepend(str(PERF))
    import edit_kernels

    return edit_kernels


def test_flop_of_a_step_of_the_released_model(kernels):
    shape = kernels.Shape(image=8192, texts=(280, 220), width=3072, heads=24, blocks=60)
    total = shape.matmul_flop() + shape.attention_flop()
    assert total == pytest.approx(3.3e14, rel=0.05)  # two passes of about 1.67e14


def test_time_in_which_something_runs(kernels):
    assert kernels.busy([(0, 1), (0.5, 2), (3, 4)]) == (3.0, 4.0)
    assert kernels.busy([(3, 4), (0, 10)]) == (10.0, 10.0)
    assert kernels.busy([]) == (0.0, 0.0)


def test_kinds_of_kernels(kernels):
    names = {
        "nvjet_tst_128x256_64x4_1x2_h_bz_coopA_NTN": "matmul",
        "sm90_xmma_gemm_bf16bf16_bf16f32_f32_tn_n": "matmul",
        "cudnn_generated_fort_native_sdpa_sm90_flash_fprop_wgmma_f16": "attention",
        "void pytorch_flash::flash_fwd_kernel<...>": "attention",
        "triton_red_fused_add_native_layer_norm_3": "fused by the compiler",
        "Memcpy DtoH (Device -> Pageable)": "copies",
        "void at::native::vectorized_elementwise_kernel<4, ...>": "other elementwise",
        "sm80_xmma_fprop_implicit_gemm_bf16": "convolution",
    }
    for name, kind in names.items():
        assert dict(kernels.kinds_of([(name, 1.0)])) == {kind: 1.0}, name
    lines = kernels.kernel_lines([(name, 0.001) for name in names for _ in range(2)], steps=2)
    assert "8.0 ms a step" in lines[0]
    assert any("1 x  nvjet" in line for line in lines)


@pytest.mark.models
@pytest.mark.long
@pytest.mark.timeout(1800)
def test_ours_is_measured_beside_plain_diffusers(tmp_path):
    arguments = ["--tiny", "--steps", "3", "--repeats", "1", "--ways", "qkv", "--json", "found.json"]
    run_script("edit.py", tmp_path, *arguments, timeout_s=1700)
    found = json.loads((tmp_path / "found.json").read_text())
    assert found["difference"] <= 2
    assert found["plain_step_s"] > 0 < found["our_step_s"]
    assert found["way_qkv"]["difference"] <= 2
    assert set(found["ours_beside"]) == {"seconds", "share"}
    assert found["parts_s"]["VAE decode"] > 0
