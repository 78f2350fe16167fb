"""Hugging Face's Trainer on text: a small BERT learns which library a sentence is from; the doubtful sentences are shown."""

from __future__ import annotations

import inspect
import logging

import numpy as np
import scipy.special
import scipy.stats
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    DataCollatorWithPadding,
    PreTrainedTokenizerFast,
    Trainer,
    TrainingArguments,
)

from thresher import Recorder
from thresher.data import Indexed
from thresher.integrations.transformers import attach
from thresher.scorers import AUM, TDDS


def sentences(*modules: object) -> list[str]:
    """Return paragraphs of 5 to 20 words from the docstrings of these modules' functions."""
    docs = [getattr(module, name).__doc__ for module in modules for name in dir(module) if name[0] != "_"]
    parts = {" ".join(part.split()) for doc in docs if isinstance(doc, str) for part in inspect.cleandoc(doc).split("\n\n")}
    return sorted(part for part in parts if part[:1].isupper() and part.endswith(".") and 5 <= len(part.split()) <= 20)[:250]


logging.getLogger("transformers").setLevel(logging.ERROR)
libraries = {"NumPy": sentences(np, np.linalg, np.fft), "SciPy": sentences(scipy.special, scipy.stats)}
lines = [(line, label) for label, found in enumerate(libraries.values()) for line in found]

words = Tokenizer(models.WordLevel(unk_token="[UNK]"))
words.pre_tokenizer = pre_tokenizers.Whitespace()
words.train_from_iterator([line for line, _ in lines], trainers.WordLevelTrainer(special_tokens=["[PAD]", "[UNK]"]))
tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, pad_token="[PAD]", unk_token="[UNK]")
train_set = Indexed([{**tokenizer(line), "label": label} for line, label in lines])  # a column "sample_id" is added

torch.manual_seed(0)
size = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64, "num_labels": 2}
model = BertForSequenceClassification(BertConfig(vocab_size=len(tokenizer), pad_token_id=tokenizer.pad_token_id, **size))
arguments = TrainingArguments(
    output_dir="runs", num_train_epochs=6, per_device_train_batch_size=32, learning_rate=5e-3, use_cpu=True, report_to=[],
    disable_tqdm=True, save_strategy="no", logging_strategy="no", dataloader_pin_memory=False,
)  # fmt: skip
trainer = Trainer(model, arguments, train_dataset=train_set, data_collator=DataCollatorWithPadding(tokenizer))

recorder = Recorder(len(train_set), 2, scorers={"aum": AUM(), "tdds": TDDS(window=5)})
attach(trainer, recorder)
trainer.train()

aum = recorder.scores()["aum"].values
print(f"{len(lines)} sentences, {recorder.epoch} epochs; mean margin {aum.mean():.2f}")
print("The least typical of their library:")
for row in np.argsort(aum)[:5]:
    print(f"  {aum[row]:+.2f}  {list(libraries)[lines[row][1]]}: {lines[row][0]}")
