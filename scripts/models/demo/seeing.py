"""Hold the trained model that sees: read it from a checkpoint or from its two files, and ask it."""

from __future__ import annotations

from pathlib import Path

import gguf
import torch
from tokenizers import Tokenizer
from transformers import Qwen3VLForConditionalGeneration

import gguf_export
import projector_export
import vision_model
from evaluate import dequantized, read
from looking import Case
from skills import Turn
from train import WEIGHT_TYPE
from vision_data import IMAGE, Encoder, image_patches, spread


class Seeing:
    """A model with its tokenizer."""

    def __init__(self, model: Qwen3VLForConditionalGeneration, tokenizer: Tokenizer) -> None:
        self.model, self.tokenizer = model.eval(), tokenizer
        self.encoder = Encoder(tokenizer)
        self.end = tokenizer.token_to_id("<|im_end|>")

    @classmethod
    def of_checkpoint(cls, path: Path, stored: bool = True) -> Seeing:
        """Read a checkpoint; `stored`: with its weights as they are stored in the files."""
        state = torch.load(path, weights_only=True)
        tokenizer = Tokenizer.from_str(state["tokenizer"])
        model = vision_model.for_images(vision_model.new_model(tokenizer))
        model.load_state_dict(state["model"])
        if stored:
            tensors = projector_export.stored_tensors(model.model.visual, WEIGHT_TYPE)
            values = {tensor.gguf_name: gguf.dequantize(tensor.data, tensor.type) for tensor in tensors}
            projector_export.use_stored_weights(model.model.visual, values)
            model = gguf_export.with_stored_weights(model, WEIGHT_TYPE)
        return cls(model, tokenizer)

    @classmethod
    def of_files(cls, text: Path, projector: Path) -> Seeing:
        """Read the two files."""
        model, tokenizer = read(text)
        visual = vision_model.for_images(model).model.visual
        projector_export.use_stored_weights(visual, dequantized(gguf.GGUFReader(projector)))
        return cls(model, tokenizer)

    def ask(self, case: Case) -> str:
        """Return the greedy answer to a question about pictures."""
        patches = [image_patches(picture.image) for picture in case.pictures]
        shown = IMAGE * len(patches)
        if case.step is not None:
            shown = spread(list(case.pictures), [1] * len(patches), case.step)[1]
        turn = Turn(shown + case.look.question, "")
        prompt = self.encoder.prompt(case.look.system, [turn], [grid for _, grid in patches])
        answer = vision_model.generate(self.model, prompt, patches, self.end)
        return self.tokenizer.decode(answer)
