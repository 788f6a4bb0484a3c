"""Compiling a denoiser: when it is wanted, when it cannot be, who compiles first, and that edits stay the same."""

from __future__ import annotations

import threading
from dataclasses import replace
from types import SimpleNamespace

import pytest

from edit_eval.core.errors import UserError
from edit_eval.core.types import EditRequest, HostContext, Sample
from edit_eval.editors import _compile
from edit_eval.editors._compile import (
    LEAST_STEPS,
    compile_blocks,
    compile_if_it_pays,
    first_alone,
    is_wanted,
    lacks,
)
from edit_eval.editors.diffusers import Diffusers, DiffusersParams
from edit_eval.editors.qwen_image_edit import QwenImageEdit, QwenImageEditParams

PARAMS = QwenImageEditParams(num_inference_steps=2, height=128, width=192, dtype="float32")
MOST_DIFFERENCE = 2.0


def request():
    from PIL import Image

    picture = Image.linear_gradient("L").resize((96, 64)).convert("RGB")
    return EditRequest(Sample("s", "make it red", ("s.png",)), "make it red", (picture,), 7)


def no_step(step, steps):
    """A step callback that does nothing."""


def distance(one, other):
    """Mean absolute difference of two images, 0..255."""
    from PIL import ImageChops, ImageStat

    return sum(ImageStat.Stat(ImageChops.difference(one, other)).mean) / 3


class TestDecision:
    def test_by_size_on_a_gpu(self):
        assert is_wanted("auto", {"edits": LEAST_STEPS // 40}, 40, "cuda:0")
        assert not is_wanted("auto", {"edits": LEAST_STEPS // 40 - 1}, 40, "cuda:0")
        assert not is_wanted("auto", {"edits": 10_000}, 40, "cpu")
        assert not is_wanted("auto", {}, 40, "cuda:0")

    def test_as_the_run_has_begun(self):
        assert not is_wanted("auto", {"edits": 10_000, "compile": "off"}, 40, "cuda:0")
        assert is_wanted("auto", {"edits": 1, "compile": "on"}, 40, "cuda:0")

    @pytest.mark.parametrize("earlier", ["on", "off", None])
    def test_the_user_has_the_last_word(self, earlier):
        assert is_wanted("on", {"compile": earlier}, 1, "cpu")
        assert not is_wanted("off", {"compile": earlier, "edits": 10_000}, 40, "cuda:0")


class TestLacks:
    def test_no_repeated_blocks(self):
        assert "repeated blocks" in lacks(SimpleNamespace(), "cpu")
        assert "repeated blocks" in lacks(None, "cpu")

    def test_no_compiler(self, monkeypatch):
        denoiser = SimpleNamespace(_repeated_blocks=["Block"], compile_repeated_blocks=lambda: None)
        monkeypatch.delenv("CC", raising=False)
        monkeypatch.setattr("shutil.which", lambda name: None)
        assert "C compiler" in lacks(denoiser, "cpu")
        monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
        assert "triton" in lacks(denoiser, "cuda:0")


@pytest.fixture
def shared_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(_compile, "_kind_of", str)
    monkeypatch.setattr(_compile, "_POLL_S", 0.01)
    return tmp_path


class TestTurns:
    def test_one_fills_the_cache_while_others_wait(self, shared_cache):
        order = []
        inside, go_on = threading.Event(), threading.Event()

        def first():
            with first_alone("a"):
                inside.set()
                go_on.wait(10)
                order.append("first")

        def second():
            with first_alone("a"):
                order.append("second")

        one, two = threading.Thread(target=first), threading.Thread(target=second)
        one.start()
        inside.wait(10)
        two.start()
        with first_alone("b"):  # another denoiser waits for nobody
            assert order == []
        go_on.set()
        one.join(10)
        two.join(10)
        assert order == ["first", "second"]

    def test_with_a_filled_cache_nobody_waits(self, shared_cache):
        with first_alone("a"):
            pass
        with first_alone("a"), first_alone("a", wait_s=0):
            assert (shared_cache / "edit-eval-a").exists()

    def test_waiting_ends(self, shared_cache):
        with first_alone("a"), first_alone("a", wait_s=0.05):
            assert not (shared_cache / "edit-eval-a").exists()

    def test_who_failed_leaves_the_turn_to_the_next(self, shared_cache):
        with pytest.raises(RuntimeError), first_alone("a"):
            raise RuntimeError("does not compile")
        assert not (shared_cache / "edit-eval-a").exists()
        with first_alone("a", wait_s=0):
            pass

    def test_what_fails_within_is_not_taken_for_the_caches_fault(self, shared_cache, capsys):
        for _ in range(2):  # the cache is filled the second time
            with pytest.raises(OSError, match="no such file"), first_alone("a"):
                raise OSError("no such file")
            (shared_cache / "edit-eval-a").touch()
        assert capsys.readouterr().err == ""

    def test_a_cache_that_cannot_be_written_is_not_shared(self, shared_cache, monkeypatch, capsys):
        monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", "/proc/nowhere")
        with first_alone("a"):
            pass
        assert "not shared" in capsys.readouterr().err


class OutOfMemoryError(RuntimeError):
    """As torch's is called."""


class TestTrial:
    @pytest.fixture
    def told(self, shared_cache, monkeypatch):
        """Have nothing compiled; what is done to the blocks is noted."""
        told = []
        blocks = SimpleNamespace(
            take_back=lambda: told.append("taken back"), bear_more_sizes=lambda: told.append("any size")
        )
        monkeypatch.setattr(_compile, "compile_blocks", lambda denoiser, fullgraph: blocks)
        monkeypatch.setattr(_compile, "lacks", lambda denoiser, device: "")
        monkeypatch.setattr(_compile, "free_memory", lambda: told.append("freed"))
        return told

    def trial(self, choice, error=None):
        def try_out():
            if error is not None:
                raise error

        return compile_if_it_pays("denoiser", choice, {"edits": 10_000}, 40, "cuda:0", try_out)

    def test_after_it_blocks_bear_any_size(self, told):
        assert self.trial("auto")["compile"] == "on"
        assert told == ["any size"]

    @pytest.mark.parametrize(
        "error",
        [
            OutOfMemoryError("2 GiB"),
            ValueError("no such size"),
            OSError("no ptxas"),
            RuntimeError("no such luck"),
        ],
    )
    def test_what_fails_in_it_leaves_edits_plain(self, told, capsys, error):
        assert self.trial("auto", error) == {"compile": "off"}
        assert told == ["taken back", "freed"]
        said = f"a trial with the denoiser compiled failed: {type(error).__name__}: {error}"
        assert capsys.readouterr().err == f"edits are made without compiling: {said}\n"
        with pytest.raises(UserError) as refused:
            self.trial("on", error)
        assert str(refused.value) == f"editor.params.compile: {said}; set it to auto or off"

    def test_blocks_that_are_not_found_leave_edits_plain(self, told, capsys, monkeypatch):
        def compile_none(denoiser, fullgraph):
            raise ValueError("Regional compilation failed")

        monkeypatch.setattr(_compile, "compile_blocks", compile_none)
        assert self.trial("auto") == {"compile": "off"}
        assert told == ["freed"]
        assert "ValueError: Regional compilation failed" in capsys.readouterr().err


@pytest.mark.models
@pytest.mark.usefixtures("one_thread")
def test_more_sizes_than_are_compiled_run_plain(monkeypatch, tmp_path):
    import torch

    class Block(torch.nn.Module):
        def forward(self, x):
            return x + 1

    class Denoiser(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.blocks = torch.nn.ModuleList([Block(), Block()])

        def compile_repeated_blocks(self, **options):
            for one in self.blocks:
                one.compile(**options)

        def forward(self, x):
            return self.blocks[1](self.blocks[0](x))

    graphs = []
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(_compile, "_RECOMPILES", 2)
    denoiser = Denoiser()
    numbers = [torch.ones(2, dtype=getattr(torch, name)) for name in ("float32", "float64", "int32", "int64")]
    with torch._dynamo.config.patch(recompile_limit=2):
        blocks = compile_blocks(denoiser, backend=lambda graph, inputs: graphs.append(graph) or graph)
        denoiser(numbers[0])
        blocks.bear_more_sizes()
        assert [denoiser(one).tolist() for one in numbers] == [[3, 3]] * 4
    assert len(graphs) == 2
    blocks.take_back()
    assert not any(one._compiled_call_impl for one in denoiser.blocks)


def eager_backend(monkeypatch):
    """Have blocks traced, and run as traced: what torch's compiler does to a graph takes a minute."""
    monkeypatch.setattr(
        _compile,
        "compile_blocks",
        lambda denoiser, **options: compile_blocks(denoiser, **options, backend="eager"),
    )


@pytest.fixture
def small(monkeypatch, tmp_path):
    """Have the pipeline look at sources of 128 x 128 pixels in area, not of 1024 x 1024."""
    module = pytest.importorskip("diffusers.pipelines.qwenimage.pipeline_qwenimage_edit_plus")
    monkeypatch.setattr(module, "VAE_IMAGE_SIZE", 128 * 128)
    monkeypatch.setattr(module, "CONDITION_IMAGE_SIZE", 56 * 56)
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))


@pytest.mark.models
@pytest.mark.usefixtures("one_thread", "small")
@pytest.mark.filterwarnings(
    "ignore:Dynamo detected a call to a `functools.lru_cache`:UserWarning"
)  # diffusers 0.36
class TestEdits:
    def test_traced_blocks_give_the_same_edit(self, tiny, monkeypatch):
        eager_backend(monkeypatch)
        context = HostContext(model=str(tiny("qwen-image-edit-plus")))
        plain = QwenImageEdit(PARAMS, context)
        assert plain.facts() == {"compile": "off"}
        before = plain.edit(request(), no_step)
        compiled = QwenImageEdit(replace(PARAMS, compile="on"), context)
        assert compiled.facts()["compile"] == "on"
        after = compiled.edit(request(), no_step)
        assert distance(before, after) <= MOST_DIFFERENCE

    def test_what_does_not_compile_runs_plain_or_is_refused(self, tiny, monkeypatch, capsys):
        def broken(graph, inputs):
            raise RuntimeError("no such luck")

        monkeypatch.setattr(
            _compile,
            "compile_blocks",
            lambda denoiser, **options: compile_blocks(denoiser, **options, backend=broken),
        )
        context = HostContext(model=str(tiny("qwen-image-edit-plus")), options={"compile": "on"})
        editor = QwenImageEdit(PARAMS, context)
        assert editor.facts() == {"compile": "off"}
        assert "no such luck" in capsys.readouterr().err
        editor.edit(request(), no_step)
        with pytest.raises(
            UserError,
            match=r"^editor.params.compile: a trial with the denoiser compiled failed: .*no such luck",
        ):
            QwenImageEdit(replace(PARAMS, compile="on"), context)

    def test_steps_of_any_pipeline(self, tiny):
        editor = Diffusers(DiffusersParams(dtype="float32"), HostContext(model=str(tiny("instruct-pix2pix"))))
        assert editor.steps() == 100
        editor.params = replace(editor.params, call={"num_inference_steps": 7})
        assert editor.steps() == 7

    @pytest.mark.long
    def test_compiled_blocks_give_the_same_edit(self, tiny, monkeypatch):
        context = HostContext(model=str(tiny("qwen-image-edit-plus")))
        before = QwenImageEdit(PARAMS, context).edit(request(), no_step)
        compiled = QwenImageEdit(replace(PARAMS, compile="on"), context)
        assert compiled.facts()["compile"] == "on"
        assert distance(before, compiled.edit(request(), no_step)) <= MOST_DIFFERENCE


@pytest.mark.models
@pytest.mark.usefixtures("one_thread")
class TestRotary:
    @pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
    def test_real_numbers_turn_as_complex_ones(self, dtype):
        import torch
        from diffusers.models.transformers.transformer_qwenimage import apply_rotary_emb_qwen

        from edit_eval.editors._rotary import as_table, rotate

        torch.manual_seed(0)
        x = torch.randn(2, 5, 3, 8).to(getattr(torch, dtype))
        freqs = torch.polar(torch.ones(5, 4), torch.randn(5, 4))
        expected = apply_rotary_emb_qwen(x, freqs, use_real=False)
        turned = rotate(x, as_table(freqs))
        assert turned.dtype == expected.dtype
        torch.testing.assert_close(turned, expected, rtol=1e-5 if dtype == "float32" else 1e-2, atol=1e-6)

    def test_taken_back(self, tiny, monkeypatch):
        from diffusers.models.transformers import transformer_qwenimage as module

        from edit_eval.editors._rotary import _functions, real_rotary

        before = _functions()[1]  # an editor that another test has compiled keeps its own in place
        monkeypatch.setattr(module, "apply_rotary_emb_qwen", before)
        editor = QwenImageEdit(PARAMS, HostContext(model=str(tiny("qwen-image-edit-plus"))))
        back = real_rotary(editor.pipeline.transformer)
        assert module.apply_rotary_emb_qwen is not before
        back()
        assert module.apply_rotary_emb_qwen is before
        assert not editor.pipeline.transformer.pos_embed._forward_hooks
        real_rotary(None)()  # another denoiser
