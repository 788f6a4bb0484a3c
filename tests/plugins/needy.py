"""An editor whose library is not installed."""

from edit_eval.core.errors import ModelError
from edit_eval.core.types import HostContext
from edit_eval.editors import Editor


class NeedyEditor(Editor):
    def __init__(self, params: object, context: HostContext) -> None:
        super().__init__(params, context)
        raise ModelError("this interpreter lacks torch: pip install torch")

    def edit(self, request, step):
        raise NotImplementedError("it never loads")
